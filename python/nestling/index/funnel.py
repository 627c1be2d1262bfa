"""Funnels: what each stage of a search reads, and how many rows it keeps.

A funnel is written `"64@4:1000 > 128@16:100 > 384@16"`: scan 64 dimensions at 4 bits and keep 1000
rows, re-rank them by 128 dimensions at 16 bits and keep 100, re-rank those by all 384. This is the
funnel retrieval of Kusupati et al. 2022, "Matryoshka Representation Learning". Codes of 1 bit are
signs with a scale per row that makes the row's product with its own code exact, as in RaBitQ (Gao
and Long 2024).

A stage may also keep by score: `"96@4:3000~1.25 > 384@16"` keeps, of the 3000 best rows, those
whose score s satisfies 1 - s <= 1.25 * (1 - s_k), where s_k is the k-th best score of that stage.
An easy query then keeps few rows and a hard one many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from nestling.errors import FunnelError

__all__ = ["Funnel", "Stage", "default_funnel"]

COARSE_BITS: Final = (1, 2, 4, 8, 16, 32)
RERANK_BITS: Final = (4, 8, 16, 32)
MAX_STAGES: Final = 8
MAX_DIM: Final = 32_768

LARGEST_MARGIN: Final = 1000.0

# Of default funnels: rows that the scan and the last re-rank keep, dimensions that a scan reads.
_KEPT_BY_SCAN: Final = 1000
_KEPT_LAST: Final = 200
_LEAST_SCAN: Final = 48
_NESTED_SCAN: Final = 128
_LONGEST_SCAN: Final = 512

_STAGE = re.compile(r"\s*(\d+)\s*@\s*(\d+)\s*(?::\s*(\d+)\s*(?:~\s*(\d+(?:\.\d+)?)\s*)?)?")


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a funnel.

    Attributes:
        dims: Length of the prefix that this stage scores, in dimensions.
        bits: Precision of the stored values: 1, 2, 4 or 8 (integer codes with a scale per row),
            16 (float16) or 32 (float32). A re-rank reads at least 4.
        keep: Rows that survive this stage; None for the last stage, which keeps the `k` of the
            search.
        margin: Of those rows, only those stay whose score s satisfies
            1 - s <= margin * (1 - s_k), where s_k is the k-th best score; 1 to 1000, for cosines
            only. None for no such limit.

    Raises:
        FunnelError: A value is out of range.

    Example:
        >>> print(Stage(64, 4, keep=1000, margin=1.25))
        64@4:1000~1.25
    """

    dims: int
    bits: int
    keep: int | None = None
    margin: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.dims <= MAX_DIM:
            raise FunnelError(f"stage {self}: dims must be 1 to {MAX_DIM}")
        if self.bits not in COARSE_BITS:
            raise FunnelError(f"stage {self}: bits must be one of {COARSE_BITS}")
        if self.keep is not None and self.keep < 1:
            raise FunnelError(f"stage {self}: keep must be at least 1")
        if self.margin is not None:
            object.__setattr__(self, "margin", float(self.margin))
            if self.keep is None:
                raise FunnelError(f"stage {self}: a margin needs a keep that bounds it")
            if not 1 <= self.margin <= LARGEST_MARGIN:
                raise FunnelError(f"stage {self}: margin must be 1 to {LARGEST_MARGIN:g}")

    def __str__(self) -> str:
        keep = "" if self.keep is None else f":{self.keep}"
        margin = "" if self.margin is None else f"~{self.margin!r}".removesuffix(".0")
        return f"{self.dims}@{self.bits}{keep}{margin}"


class _Kept:
    """Room for what `stage_specs` makes of a funnel; not a part of its value."""

    __slots__ = ("_specs",)
    _specs: Any


@dataclass(frozen=True, slots=True)
class Funnel(_Kept):
    """An ordered tuple of 1 to 8 stages; each reads more dimensions, or the same at more bits.

    Example:
        >>> Funnel.parse("64@4:1000 > 384@16").stages[0].keep
        1000

    Raises:
        FunnelError: A stage is out of order, lacks a keep, or is the last and has one.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))
        if not 1 <= len(self.stages) <= MAX_STAGES:
            raise FunnelError(f"a funnel has 1 to {MAX_STAGES} stages, not {len(self.stages)}")
        for before, after in zip(self.stages, self.stages[1:], strict=False):
            if before.keep is None:
                raise FunnelError(
                    f"stage {before} is not the last, so it needs a keep: {before}:1000"
                )
            if after.keep is not None and after.keep > before.keep:
                raise FunnelError(f"stage {after} keeps more rows than {before} before it")
            if after.bits not in RERANK_BITS:
                raise FunnelError(f"stage {after} re-ranks: its bits must be one of {RERANK_BITS}")
            grows = after.dims > before.dims or after.bits > before.bits
            if after.dims < before.dims or after.bits < before.bits or not grows:
                raise FunnelError(
                    f"stage {after} must read more than {before}: more dimensions, or more bits, "
                    "and never fewer of either"
                )
        if self.stages[-1].keep is not None:
            raise FunnelError(
                f"the last stage keeps the k of the search: write it {self.stages[-1].dims}"
                f"@{self.stages[-1].bits}"
            )

    @classmethod
    def parse(cls, text: str) -> Funnel:
        """Reads the string form, `"dims@bits:keep > … > dims@bits"`.

        Raises:
            FunnelError: The text has another form, or the stages do not make a funnel.

        Example:
            >>> [stage.keep for stage in Funnel.parse("64@4:1000 > 128@16:100 > 384@16").stages]
            [1000, 100, None]
        """
        stages = []
        for part in text.split(">"):
            match = _STAGE.fullmatch(part)
            if match is None:
                raise FunnelError(
                    f"cannot read the stage {part.strip()!r} of {text!r}: expected dims@bits:keep "
                    "or dims@bits:keep~margin, as in '64@4:1000 > 384@16'"
                )
            dims, bits, keep, margin = match.groups()
            stages.append(
                Stage(
                    int(dims),
                    int(bits),
                    None if keep is None else int(keep),
                    None if margin is None else float(margin),
                )
            )
        return cls(tuple(stages))

    @classmethod
    def of(cls, funnel: str | Funnel) -> Funnel:
        """Returns `funnel` itself, or parses it if it is a string.

        Raises:
            FunnelError: It is neither a `Funnel` nor a string, or it is malformed.

        Example:
            >>> Funnel.of("64@16") == Funnel.of(Funnel((Stage(64, 16),)))
            True
        """
        if isinstance(funnel, Funnel):
            return funnel
        if isinstance(funnel, str):
            return _parsed(funnel)
        raise FunnelError(f"a funnel must be a Funnel or a string, not {type(funnel).__name__}")

    def __str__(self) -> str:
        return " > ".join(map(str, self.stages))


@lru_cache(maxsize=256)  # a search may be given the same text each time
def _parsed(text: str) -> Funnel:
    return Funnel.parse(text)


def default_funnel(dim: int, nesting: Iterable[int] = ()) -> Funnel:
    """Returns the funnel that an index of `dim` dimensions has by default.

    A quarter of the dimensions at 4 bits finds 1,000 rows, half of the dimensions at 16 bits keeps
    200 of them, and all dimensions order those. Codes of 1 and 2 bits would be faster, but they
    lose much recall on embeddings whose mean is far from zero, unless they are centred. A scan
    reads at most 512 dimensions, 256 bytes a row, of however long an embedding.

    With nesting dims, the scan reads the longest of 48 to 128 dimensions, or the shortest one where
    all are longer, and those that are at least twice as long as the one before re-rank: at 8 bits
    up to a third of the dimensions, else at 16, as each change of bits stores a prefix once more.

    Args:
        dim: Dimensions of the vectors.
        nesting: Prefix lengths that the model was trained for, where it was.

    Example:
        >>> print(default_funnel(384))
        96@4:1000 > 192@16:200 > 384@16
        >>> print(default_funnel(768, nesting=(8, 16, 48, 256, 768)))
        48@4:1000 > 256@8:200 > 768@16
    """
    if dim <= 64:
        return Funnel((Stage(dim, 8, _KEPT_BY_SCAN), Stage(dim, 16)))
    prefixes = sorted({length for length in nesting if _LEAST_SCAN <= length < dim})
    scanned = [length for length in prefixes if length <= _NESTED_SCAN]
    if scanned:
        return _nested_funnel(dim, scanned[-1], prefixes)
    if prefixes and prefixes[0] <= _LONGEST_SCAN:
        return _nested_funnel(dim, prefixes[0], prefixes)
    if dim <= 128:
        return Funnel((Stage(64, 4, _KEPT_BY_SCAN), Stage(dim, 16)))
    coarse = min(max(64, -(-dim // 32) * 8), _LONGEST_SCAN)
    return Funnel(
        (Stage(coarse, 4, _KEPT_BY_SCAN), Stage(2 * coarse, 16, _KEPT_LAST), Stage(dim, 16))
    )


def _nested_funnel(dim: int, coarse: int, prefixes: Sequence[int]) -> Funnel:
    """Returns the funnel that scans `coarse` dimensions and re-ranks by the longer prefixes."""
    lengths = [coarse]
    for length in prefixes:
        if length >= 2 * lengths[-1] and 3 * length <= 2 * dim:  # else hardly less than all
            lengths.append(length)
    reranks = lengths[1 : MAX_STAGES - 1]
    # The last of them keeps 200, those before it geometrically more: 1000, 400, 200.
    step = (_KEPT_LAST / _KEPT_BY_SCAN) ** (1 / max(1, len(reranks)))
    keeps = [round(_KEPT_BY_SCAN * step**i / 100) * 100 for i in range(1, len(reranks) + 1)]
    stages = [Stage(coarse, 4, _KEPT_BY_SCAN)]
    stages += [
        Stage(length, 8 if 3 * length <= dim else 16, keep)
        for length, keep in zip(reranks, keeps, strict=True)
    ]
    return Funnel((*stages, Stage(dim, 16)))
