"""The collection that a store of another library owns: opened, closed, and where it lies."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from nestling.collection import Collection, TextEncoder, is_collection

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CollectionBacked", "CollectionHandle"]


class CollectionHandle:
    """A collection, and its folder where that is a temporary one.

    A new collection does not split its documents: other libraries split them beforehand.

    Args:
        path: The folder. None: a temporary one, which is removed with this object, or when the
            process ends.
        encoder: As for `Collection`.
        options: Other arguments of `Collection`.

    Raises:
        FormatError, EncoderMismatchError, StorageError, ValueError: As for `Collection`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        encoder: str | os.PathLike[str] | TextEncoder | None = None,
        **options: Any,
    ) -> None:
        temporary = Path(tempfile.mkdtemp(prefix="nestling-")) if path is None else None
        folder = temporary or Path(os.fspath(path or ""))
        if not is_collection(folder):
            options.setdefault("passages", None)
        try:
            self.collection = Collection(folder, encoder, **options)
        except BaseException:
            _remove(temporary)
            raise
        self._release = weakref.finalize(self, _close, self.collection, temporary, os.getpid())

    @classmethod
    def of_vectors(
        cls, path: str | os.PathLike[str] | None, dim: int | None, **options: Any
    ) -> CollectionHandle:
        """Returns a collection of documents that come with their embeddings.

        Raises:
            ValueError: There is none yet, and no `dim`.
        """
        if dim is None and (path is None or not is_collection(Path(path))):
            raise ValueError("a new collection needs dim, the dimensions of its embeddings")
        return cls(path, dim=dim, **options)

    def close(self) -> None:
        """Closes the collection, and removes a temporary folder; once is enough."""
        self._release()


class CollectionBacked:
    """What the stores share: a collection that they own, closed at the end of a `with`."""

    _handle: CollectionHandle

    @property
    def collection(self) -> Collection:
        """The collection itself, for all that the other library has no words for."""
        return self._handle.collection

    def close(self) -> None:
        """Closes the collection, and removes it where it has no path."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _close(collection: Collection, temporary: Path | None, process: int) -> None:
    collection.close()
    if os.getpid() == process:  # a forked child leaves its parent's folder alone
        _remove(temporary)


def _remove(temporary: Path | None) -> None:
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)
