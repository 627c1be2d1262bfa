"""The partition of an index into cells, and how many of them a search probes."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, replace
from typing import Final

from nestling.errors import ArgumentError

__all__ = ["Cells"]

MAX_LINKS: Final = 256
_DIMS: Final = 256  # most dimensions of the partitioned prefix by default


def _whole(name: str, value: int) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ArgumentError(f"{name} of cells must be a whole number, not {value!r}") from None


def _finite(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ArgumentError(f"{name} of cells must be a finite number, not {value!r}")
    return float(value)


@dataclass(frozen=True, slots=True)
class Cells:
    """A partition of an index: rows whose prefixes lie near one centroid are stored together.

    Centroids are those of spherical k-means (Dhillon and Modha 2001) on normalised prefixes. A
    search scores only the rows of the cells that it probes, those whose centroids are nearest to
    the query. Rows that are added later are scored by every search until `Index.compact` puts them
    into cells.

    Attributes:
        count: Cells. Eight times the square root of the number of rows is a good choice.
        probes: Cells that a search probes by default. Default: a 64th of them.
        adaptive: Whether a search goes on, `probes` cells first, then as many again as it has
            probed, until a round brings no row into the best k; at most 16 times `probes`.
        spill: Whether each row is also kept in a second cell, which doubles the memory of its codes
            and halves the cells that have to be probed. The second cell is chosen as in SOAR (Sun
            et al. 2023, "SOAR: Improved Indexing for Approximate Nearest Neighbor Search").
        dims: Length of the prefix that is partitioned. Default: the whole embedding, at most 256.
        links: Near neighbours that each row refers to, 4 bytes each; 0 for none. A search scores
            those of its best rows too, which finds most of the hits in cells that it does not
            probe. There are none in an index whose funnel has a single stage.
        typical: The k-th best score, by the first stage, of a query that probes `probes` cells.
        halving: By how much this score must be better for half as many probes; where it is worse by
            as much, a search probes twice as many. So it ends early where the hits are near, and
            goes on where they are far and so lie in many cells: it probes an eighth of `probes` (or
            4) at least and 4 times as many at most. 0: as many for all. `Index.tune` finds both.
            With the metric "ip", scores are divided by the length of the query.

    Raises:
        ArgumentError: A value is out of range or has a wrong type.

    Example:
        >>> index = nestling.Index(8, funnel="8@4:10 > 8@16")
        >>> _ = index.add(np.random.default_rng(0).standard_normal((100, 8)))
        >>> index.rebuild(cells=Cells(10, probes=3))
        >>> index.cells == Cells(10, probes=3, dims=8)
        True
    """

    count: int
    probes: int = 0
    adaptive: bool = False
    spill: bool = True
    dims: int = 0
    links: int = 10
    typical: float = 0.0
    halving: float = 0.0

    def __post_init__(self) -> None:
        for name in ("count", "probes", "dims", "links"):
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        for name in ("adaptive", "spill"):
            if not isinstance(getattr(self, name), bool):
                raise ArgumentError(f"{name} must be True or False, not {getattr(self, name)!r}")
        if not 1 <= self.count <= 2**24:
            raise ArgumentError(f"count of cells must be 1 to {2**24:,}, not {self.count}")
        if self.probes == 0:
            object.__setattr__(self, "probes", max(1, self.count // 64))
        if not 1 <= self.probes <= self.count:
            raise ArgumentError(
                f"probes must be 1 to {self.count}, the number of cells, not {self.probes}"
            )
        for name in ("typical", "halving"):
            object.__setattr__(self, name, _finite(name, getattr(self, name)))
        if self.halving < 0:
            raise ArgumentError(f"halving must be at least 0, not {self.halving}")
        if self.adaptive and self.halving > 0:
            raise ArgumentError("give either adaptive=True or halving=, not both")
        if not 0 <= self.links <= MAX_LINKS:
            raise ArgumentError(f"links must be 0 to {MAX_LINKS}, not {self.links}")
        if self.dims < 0:
            raise ArgumentError(f"dims must be at least 1, not {self.dims}")

    def stored(self, count: int) -> Cells | None:
        """Returns these settings for the `count` cells that exist; None for 0.

        Example:
            >>> Cells(64, probes=16).stored(10).probes
            10
        """
        return replace(self, count=count, probes=min(self.probes, count)) if count else None

    @classmethod
    def of(cls, cells: Cells | int | None, dim: int) -> Cells | None:
        """Returns `cells`, or that many cells, for an index of `dim` dimensions.

        Returns:
            The cells, with `dims` set; None if `cells` is None or 0.

        Example:
            >>> Cells.of(100, 384) == Cells(100, probes=1, dims=256)
            True
        """
        if cells is None or cells == 0:
            return None
        chosen = cells if isinstance(cells, Cells) else cls(cells)
        return replace(chosen, dims=chosen.dims or min(dim, _DIMS))
