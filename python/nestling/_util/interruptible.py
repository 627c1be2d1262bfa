"""Native calls that Ctrl-C can end, although they never return to the interpreter meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["interruptible"]

_T = TypeVar("_T")


def interruptible(call: Callable[[], _T]) -> _T:
    """Runs a function without side effects in another thread, and waits for it.

    An interrupt ends the wait at once. The call goes on until it returns, and its result is
    dropped.

    Example:
        >>> interruptible(lambda: sum(range(4)))
        6
    """
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="nestling-native", daemon=True).start()
    return future.result()
