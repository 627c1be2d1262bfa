"""The systems that are compared: prefixes, coarse codes and funnels, each with a separate index.

Every system is a funnel. A single stage, `64@4`, searches the codes of a prefix only; `64@32`
searches the prefix exactly. A funnel whose last stage reads p dimensions has an index of the first
p, so its bytes per row are what that system needs. Scores are cosines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.progress import ProgressBar
from nestling._util.timing import interleave, seconds
from nestling.errors import FunnelError
from nestling.index import Index, default_funnel
from nestling.index.funnel import Funnel, Stage
from nestling.index.hits import Hits

__all__ = [
    "DEFAULT_BITS",
    "EXACT_BITS",
    "System",
    "build_systems",
    "default_dims",
    "plan_systems",
    "time_systems",
]

DEFAULT_BITS: Final = (32, 8, 4, 2, 1)
EXACT_BITS: Final = 32
_LEAST_DIMS: Final = (
    32  # shorter prefixes of a model that was not trained for them are of little use
)
_ROUND: Final = 0.02  # seconds: shorter measurements are mostly noise

Floats = NDArray[np.float32]


def default_dims(dim: int, nesting: Iterable[int] = ()) -> tuple[int, ...]:
    """Returns the prefix lengths to measure: those that a model was trained for, or halves.

    Example:
        >>> default_dims(256, [64, 128]), default_dims(384)
        ((64, 128, 256), (48, 96, 192, 384))
    """
    trained = {dims for dims in nesting if dims < dim}
    if not trained:
        half = dim // 2
        while half >= _LEAST_DIMS:
            trained.add(half)
            half //= 2
    return (*sorted(trained), dim)


def plan_systems(
    dim: int,
    *,
    dims: Iterable[int] | None = None,
    bits: Iterable[int] = DEFAULT_BITS,
    funnels: Iterable[str | Funnel] | None = None,
    nesting: Iterable[int] = (),
) -> list[Funnel]:
    """Lists the systems to compare, each once; the exact search of all dimensions is the first.

    Args:
        dim: Dimensions of the embeddings.
        dims: Prefix lengths. Default: `default_dims(dim)`.
        bits: Precisions of each prefix: 32 is exact, 1, 2, 4 and 8 are codes.
        funnels: Whole funnels. Default: `default_funnel(dim, nesting)`.
        nesting: Prefix lengths that the model was trained for, for the default funnel.

    Raises:
        FunnelError: A system is malformed, or reads more dimensions than there are.

    Example:
        >>> [str(funnel) for funnel in plan_systems(64, dims=[32], bits=[4], funnels=[])]
        ['64@32', '32@4']
    """
    chosen, precisions = [Funnel((Stage(dim, EXACT_BITS),))], tuple(bits)
    lengths = default_dims(dim) if dims is None else sorted(set(dims), reverse=True)
    for length in sorted(lengths, reverse=True):
        chosen += [Funnel((Stage(length, precision),)) for precision in precisions]
    chosen += map(Funnel.of, [default_funnel(dim, nesting)] if funnels is None else funnels)
    for funnel in chosen:
        if funnel.stages[-1].dims > dim:
            raise FunnelError(f"{funnel} reads more than the {dim} dimensions of the embeddings")
    return list(dict.fromkeys(chosen))


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """One system and its index.

    Attributes:
        funnel: The funnel.
        index: An index of prefixes as long as the last stage reads.

    Example:
        >>> system = System.build(Funnel.parse("4@32"), np.eye(3, 8, dtype=np.float32))
        >>> system.bytes_per_row, system.search(np.eye(1, 8, dtype=np.float32), 1).ids
        (16.0, array([[0]]))
    """

    funnel: Funnel
    index: Index

    @classmethod
    def build(cls, funnel: Funnel, documents: Floats, *, threads: int | None = None) -> System:
        """Indexes the prefixes of `documents`, (n, dim) float32, for a funnel."""
        dims = funnel.stages[-1].dims
        index = Index(dims, funnel=funnel, threads=threads)
        index.add(documents[:, :dims])
        return cls(funnel, index)

    @property
    def bytes_per_row(self) -> float:
        """Bytes of memory per row: codes, scales, shells and norms."""
        return sum(self.index.memory.values()) / len(self.index)

    def search(self, queries: Floats, k: int) -> Hits:
        """Searches with the prefixes of `queries`, (m, dim) float32."""
        return self.index.search(queries[:, : self.index.dim], k=k)


def build_systems(
    funnels: Sequence[Funnel], documents: Floats, *, threads: int | None
) -> Iterator[System]:
    """Yields a system for each funnel, with a progress bar.

    Example:
        >>> rows = np.eye(3, 8, dtype=np.float32)
        >>> [len(system.index) for system in build_systems([Funnel.parse("8@4")], rows, threads=1)]
        [3]
    """
    with ProgressBar("Building and searching", total=len(funnels)) as bar:
        for funnel in funnels:
            yield System.build(funnel, documents, threads=threads)
            bar.advance()


def time_systems(
    systems: Sequence[System], queries: Floats, k: int, *, rounds: int
) -> list[list[NDArray[np.float64]]]:
    """Times a batch of all `queries` on each system, in rounds that take turns.

    A batch of less than 20 ms is repeated within its round.

    Returns:
        For each system, the seconds of a batch: one array per round.

    Example:
        >>> rows = np.eye(3, 8, dtype=np.float32)
        >>> times = time_systems([System.build(Funnel.parse("8@4"), rows)], rows, 1, rounds=2)
        >>> len(times), len(times[0])
        (1, 2)
    """

    def measured(system: System, rows: Floats) -> NDArray[np.float64]:
        times = [seconds(partial(system.index.search, rows, k=k))]
        while np.sum(times) < _ROUND:
            times.append(seconds(partial(system.index.search, rows, k=k)))
        return np.concatenate(times)

    tasks = {
        str(system.funnel): partial(
            measured, system, np.ascontiguousarray(queries[:, : system.index.dim])
        )
        for system in systems
    }
    return list(interleave(tasks, rounds=rounds, title="Timing").values())
