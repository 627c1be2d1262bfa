"""The number of threads that a call may use; the only place that reads NESTLING_THREADS."""

from __future__ import annotations

import operator
import os

from nestling import _core
from nestling.errors import ArgumentError, SettingError

__all__ = ["thread_count"]

_VARIABLE = "NESTLING_THREADS"


def thread_count(threads: int | None) -> int:
    """Returns the number of threads to use.

    Args:
        threads: The caller's choice. None: the environment variable NESTLING_THREADS, or, if it is
            unset or empty, every core that the scheduler grants to this process.

    Raises:
        ArgumentError: `threads` is not a whole number of at least 1.
        SettingError: NESTLING_THREADS is used and is not such a number.

    Example:
        >>> thread_count(3)
        3
    """
    if threads is not None:
        try:
            count = operator.index(threads)
        except TypeError:
            raise ArgumentError(f"threads must be a whole number, not {threads!r}") from None
        if count < 1:
            raise ArgumentError(f"threads must be at least 1, not {count}")
        return count
    named = os.environ.get(_VARIABLE)
    if not named:
        return _core.default_threads()
    # int() also accepts "1_0" and "+1", which are typing errors in a shell.
    if not named.strip().isdecimal() or int(named) < 1:
        raise SettingError(f"{_VARIABLE} must be a whole number of at least 1, not {named!r}")
    return int(named)
