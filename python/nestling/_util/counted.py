"""Numbers of things, in words."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, thing: str) -> str:
    """Returns a number of things, in words that agree.

    Example:
        >>> counted(1, "segment"), counted(1200, "row"), counted(0, "query")
        ('1 segment', '1,200 rows', '0 queries')
    """
    many = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{number:,} {thing if number == 1 else many}"
