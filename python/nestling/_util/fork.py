"""Objects whose locks and connections a forked child must not inherit."""

from __future__ import annotations

import os
import weakref
from typing import Final, Protocol

__all__ = ["Forkable", "reset_after_fork"]


class Forkable(Protocol):
    """An object that holds something which another thread of the parent may have locked."""

    def after_fork(self) -> None:
        """Called in the child before anything else uses the object."""


_objects: Final[weakref.WeakSet[Forkable]] = weakref.WeakSet()


def reset_after_fork(instance: Forkable) -> None:
    """Calls `instance.after_fork()` in every forked child for as long as the object is alive."""
    _objects.add(instance)


def _in_child() -> None:
    for instance in list(_objects):
        instance.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
