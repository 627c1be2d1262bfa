"""Says whether an installed nestling works: it is imported and searches. Needs no test framework.

Wheels are tried with it after they are built, on emulated old CPUs too: `python tests/smoke.py`.
"""

from __future__ import annotations

import tempfile
from importlib import metadata
from pathlib import Path

import numpy as np

import nestling
from nestling import _core


def main() -> None:
    assert nestling.__version__ == metadata.version("nestling") == _core.__version__
    rng = np.random.default_rng(0)
    decay = np.arange(1, 65) ** -0.5  # the first dimensions carry most
    vectors = (rng.standard_normal((3_000, 64)) * decay).astype(np.float32)
    cosines = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = (cosines[:20] @ cosines.T).tolist()
    # Not by numpy's argsort: it goes wrong on CPUs with AVX2 that QEMU 7.2 emulates.
    expected = [sorted(range(len(row)), key=row.__getitem__, reverse=True)[:10] for row in scores]

    index = nestling.Index(dim=64, funnel="32@4:500 > 64@16")
    index.add(vectors)
    found = index.search(vectors[:20], k=10).ids
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, expected, strict=True)])
    assert recall > 0.99, recall

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "smoke.nest"
        index.save(path)
        assert np.array_equal(nestling.Index.load(path).search(vectors[:20], k=10).ids, found)

        with nestling.Collection(Path(folder) / "smoke", dim=64) as collection:
            texts = [f"document {i}" for i in range(100)]
            collection.add(texts, vectors=vectors[:100], progress=False)
            (hit,) = collection.search("document 42", k=1, mode="lexical")
            assert hit.text == "document 42", hit
            (hit,) = collection.search(vectors[7], k=1)
            assert hit.text == "document 7", hit

    print(f"nestling {nestling.__version__} works; kernels: {_core.isa()} of", end=" ")
    print(", ".join(_core.available_isas()))


if __name__ == "__main__":
    main()
