"""FAISS: flat, quantised and inverted lists with a re-rank, and a graph.

`IndexRefineFlat` re-ranks the hits of a coarser index in float32: `k_factor` times k rows. Prefixes
are made by `RemapDimensionsTransform` and normalised again, like nestling's prefixes.
Inverted lists number 4 to 8 times the root of the rows, as its wiki advises up to a million rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestling.bench.peers.engine import Configuration, Engine, Setting, Shape, rerank, sweep

__all__ = ["configurations"]

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Make = Callable[[], Any]

_FACTORS = (1, 2, 3, 4, 6, 10, 20, 40, 100)
_EF_CONSTRUCTION = 200  # the default, 40, has lower recall at any speed
_BEAMS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)
_INDEX = "index"
_POINTS_A_LIST = 39  # FAISS warns below


def configurations(shape: Shape) -> list[Configuration]:
    """Returns flat scans, scans of prefixes, inverted lists, and HNSW."""
    dim, half, threads = shape.dim, shape.dim // 2, shape.threads
    lists = _lists(shape.rows)
    probes = [n for n in (4, 8, 16, 32, 64, 128, 256, 512, 1024) if n <= max(4, lists // 2)]
    refined = sweep(k_factor=_FACTORS)
    inverted = sweep(nprobe=probes, k_factor=(2, 4, 10, 40))

    def flat(code: str, settings: list[Setting]) -> Configuration:
        make = partial(_factory, dim, f"{code},RFlat")
        return Configuration(f"{code} + refine", partial(_Refined, make, threads), settings)

    def lists_of(code: str) -> Configuration:
        make = partial(_factory, dim, f"IVF{lists},{code},RFlat")
        name = f"IVF{lists},{code} + refine"
        return Configuration(name, partial(_Refined, make, threads), inverted)

    def prefix(code: str) -> Configuration:
        make = partial(_prefix, dim, half, code)
        return Configuration(
            f"prefix {half} {code} + refine", partial(_Refined, make, threads), refined
        )

    found = [
        Configuration("Flat", partial(_Plain, partial(_factory, dim, "Flat"), threads), [{}]),
        flat("SQ8", refined[:2]),
        Configuration("SQ8 signed + re-rank", partial(_Signed, threads), sweep(keep=(10, 20, 50))),
        flat("RaBitQfs", refined),
        flat("RaBitQfs4", refined[:4]),
        flat(f"PQ{half}x4fs", refined),
        flat(f"PQ{half // 2}x4fs", refined),
        lists_of(f"PQ{half}x4fs"),
        lists_of(f"PQ{half // 2}x4fs"),
        lists_of("RaBitQfs"),
        prefix("SQ8"),
        prefix("RaBitQfs"),
        prefix(f"PQ{half // 2}x4fs"),
        Configuration(
            f"HNSW32_SQ8 + refine, efConstruction {_EF_CONSTRUCTION}",
            partial(_Graph, partial(_factory, dim, "HNSW32_SQ8,RFlat"), threads),
            [*sweep(ef=_BEAMS), *sweep(ef=_BEAMS[5:], k_factor=(2,))],
            kept=True,
        ),
    ]
    # Product codes cut the dimensions into equal parts.
    return [c for c in found if dim % 8 == 0 or "PQ" not in c.name]


def _lists(rows: int) -> int:
    lists = 1 << int(np.log2(8 * np.sqrt(rows)))
    return max(1, min(lists, rows // _POINTS_A_LIST))


def _factory(dim: int, code: str) -> Any:
    import faiss

    return faiss.index_factory(dim, code, faiss.METRIC_INNER_PRODUCT)


def _prefix(dim: int, prefix: int, code: str) -> Any:
    import faiss

    base = faiss.IndexPreTransform(
        faiss.NormalizationTransform(prefix, 2.0), _factory(prefix, code)
    )
    base.prepend_transform(faiss.RemapDimensionsTransform(dim, prefix, False))
    return faiss.IndexRefineFlat(base)


class _Plain(Engine):
    """An index without settings."""

    def __init__(self, make: Make, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        self._index = make()
        self._searched = self._index
        self._parameters: Any = None

    def build(self, rows: Floats) -> None:
        self._index.train(rows)
        self._index.add(rows)

    def use(self, setting: Setting) -> None:
        del setting

    def search(self, queries: Floats, k: int) -> Ids:
        ids: Ids = self._searched.search(queries, k, params=self._parameters)[1]
        return ids

    def size(self) -> int:
        return _serialised(self._index)


class _Refined(_Plain):
    """A coarser index and a re-rank of its hits; `nprobe` inverted lists are read."""

    def use(self, setting: Setting) -> None:
        import faiss

        lists = None
        if "nprobe" in setting:
            lists = faiss.SearchParametersIVF(nprobe=setting["nprobe"])
        self._parameters = faiss.IndexRefineSearchParameters(
            k_factor=setting["k_factor"], base_index_params=lists
        )


class _Graph(_Plain):
    """HNSW over 8-bit codes; with a `k_factor`, float32 re-ranks its hits."""

    def build(self, rows: Floats) -> None:
        import faiss

        graph = faiss.downcast_index(self._index.base_index)
        graph.hnsw.efConstruction = _EF_CONSTRUCTION
        super().build(rows)

    def save(self, folder: Path) -> None:
        import faiss

        faiss.write_index(self._index, str(folder / _INDEX))

    def load(self, folder: Path, rows: Floats) -> None:
        import faiss

        del rows  # the index has them
        self._index = faiss.read_index(str(folder / _INDEX))

    def use(self, setting: Setting) -> None:
        import faiss

        self._parameters = faiss.SearchParametersHNSW(efSearch=setting["ef"])
        self._searched = self._index.base_index
        if "k_factor" in setting:
            self._searched = self._index
            self._parameters = faiss.IndexRefineSearchParameters(
                k_factor=setting["k_factor"], base_index_params=self._parameters
            )


class _Signed(Engine):
    """Rows rounded to signed bytes, the fastest 8-bit scan FAISS has, and a re-rank outside it."""

    def __init__(self, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        self._keep = 0

    def build(self, rows: Floats) -> None:
        import faiss

        self._rows = np.array(rows)
        self._scale = np.float32(127 / np.abs(self._rows).max())
        self._index = faiss.IndexScalarQuantizer(
            rows.shape[1],
            faiss.ScalarQuantizer.QT_8bit_direct_signed,
            faiss.METRIC_INNER_PRODUCT,
        )
        self._index.add(self._rounded(self._rows))

    def use(self, setting: Setting) -> None:
        self._keep = setting["keep"]

    def search(self, queries: Floats, k: int) -> Ids:
        ids: Ids = self._index.search(self._rounded(queries), self._keep)[1]
        return ids if self._keep == k else rerank(self._rows, queries, ids, k)

    def size(self) -> int:
        return _serialised(self._index) + self._rows.nbytes

    def _rounded(self, values: Floats) -> Floats:
        rounded: Floats = np.clip(np.rint(values * self._scale), -127, 127)
        return rounded


def _serialised(index: Any) -> int:
    import faiss

    written = 0

    def count(block: bytes) -> int:
        nonlocal written
        written += len(block)
        return len(block)

    faiss.write_index(index, faiss.PyCallbackIOWriter(count))
    return written
