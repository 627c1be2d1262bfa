"""What a server needs of what it serves: a collection, or a cluster that is searched like one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from nestling.collection import DocumentHits, EncoderIdentity
from nestling.index.funnel import Funnel

__all__ = ["Searchable"]


class Searchable(Protocol):
    """Documents that can be searched: `Collection`, or `nestling.cluster.Cluster`."""

    @property
    def path(self) -> str | os.PathLike[str]:
        """Where they are; its last part names them in errors."""

    @property
    def dim(self) -> int:
        """Dimensions of an embedding."""

    @property
    def funnel(self) -> Funnel:
        """How a search runs by default."""

    @property
    def encoder(self) -> EncoderIdentity | None:
        """Identity of the encoder; None for bare vectors."""

    @property
    def search(self) -> Callable[..., DocumentHits | list[DocumentHits]]:
        """Finds documents, as `Collection.search`."""

    def info(self) -> Any:
        """Returns a dataclass of facts."""

    def close(self) -> None:
        """Lets go of what is open."""
