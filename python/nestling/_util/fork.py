"""Locks and connections in the child of a fork: another thread of the parent may have held them."""

from __future__ import annotations

import os
import weakref
from typing import Final, Protocol

__all__ = ["Forkable", "reset_after_fork"]


class Forkable(Protocol):
    """What has something that a child must not take over."""

    def after_fork(self) -> None:
        """Called in the child, before anything else uses the object."""


_objects: Final[weakref.WeakSet[Forkable]] = weakref.WeakSet()


def reset_after_fork(thing: Forkable) -> None:
    """Sees to it that `thing.after_fork()` is called in every child, as long as it is alive."""
    _objects.add(thing)


def _in_child() -> None:
    for thing in list(_objects):
        thing.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
