"""Records that cannot become documents, and what to do with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from nestling._util.value import Value

__all__ = ["BadRecord", "OnBadRecord"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BadRecord(Value):
    """A record that was left out.

    Attributes:
        source: The file, or "documents" for those of a call.
        line: Its line in the file, from 1; its row in a .parquet file or its position in a call,
            from 0; None if it is a whole file.
        reason: What is wrong with it.

    Example:
        >>> BadRecord("corpus.jsonl", 3, "no field 'text'").line
        3
    """

    source: str
    line: int | None
    reason: str


OnBadRecord: TypeAlias = "Literal['error', 'skip'] | Callable[[BadRecord], object]"
