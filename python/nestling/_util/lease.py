"""What a block of code holds, released whatever interrupts the block."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nestling import _core

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

__all__ = ["Lease", "locked"]

_Value = TypeVar("_Value", covariant=True)


class Lease(_core.Lease, Generic[_Value]):
    """A context manager whose entry and exit no interrupt can tear apart.

    Ctrl-C, a signal handler that raises, and an exception that another thread sets
    (`PyThreadState_SetAsyncExc`) strike between two instructions of Python's evaluation loop:
    after `lock.acquire()` has returned and before its result is stored, between `__enter__` and the
    block, in the middle of `__exit__` or of a `finally`. So no context manager that is written in
    Python can promise to release what it acquired. This one can, because it is written in C++,
    where none of them strikes:

    - A thing is acquired and registered in one call: `acquire`, `enter`.
    - `with` calls `__enter__` and `__exit__` directly, without an instruction in between at which
      an interrupt is handled (CPython 3.10 to 3.14).
    - The exit releases everything, the last thing first, even if one release raises an error.
    - An error within `acquire`, the function given, releases what it has registered so far.
    - Only the `with` statement refers to the lease. If the block is left in any other way, such as
      an exception from a trace function at the line of `with`, the lease dies with the stack of its
      frame, and its death releases. A traceback keeps the frame's variables, but not its stack.

    What is registered must itself be acquired and released by functions written in C, such as those
    of `threading.Lock`, `sqlite3.Connection`, `list.append` or `_core.FileLock`. A function of
    Python may be deferred if nothing is lost when it does not run to its end.

    Args:
        acquire: Called on entry with the lease; registers what the block holds, and returns the
            value of the `with` statement.
        translate: Returns the exception to raise in place of one that leaves the block; None for
            the exception itself.

    Example:
        >>> import threading
        >>> lock = threading.Lock()
        >>> with Lease(lambda lease: lease.acquire(lock)) as locked:
        ...     locked, lock.locked()
        (True, True)
        >>> lock.locked()
        False
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def __init__(
            self,
            acquire: Callable[[Lease[Any]], _Value],
            translate: Callable[[BaseException], BaseException | None] | None = None,
        ) -> None: ...

        def __enter__(self) -> _Value: ...

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> None: ...

        def enter(self, manager: AbstractContextManager[_Entered]) -> _Entered:
            """Enters a context manager, and registers its exit."""

        def acquire(self, lock: Any, arguments: tuple[Any, ...] = ()) -> bool:
            """Calls `lock.acquire(*arguments)`; registers `lock.release` if that returned True."""

        def defer(self, call: Callable[..., Any], arguments: tuple[Any, ...] = ()) -> None:
            """Registers a call."""

        def lend(self, thing: Any, pool: list[Any]) -> None:
            """Registers that `thing` is appended to `pool`, or closed if the block raised."""

        def release(self) -> None:
            """Releases everything now, as at the end of the block."""


if TYPE_CHECKING:
    _Entered = TypeVar("_Entered")


def locked(lock: Any) -> Lease[bool]:
    """Returns a lease of a lock of `threading`, for a `with` block.

    Example:
        >>> import threading
        >>> lock = threading.Lock()
        >>> with locked(lock):
        ...     lock.locked()
        True
    """
    return Lease(partial(_acquired, lock))


def _acquired(lock: Any, lease: Lease[bool]) -> bool:
    return lease.acquire(lock)
