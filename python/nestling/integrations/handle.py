"""The collection behind a store of another library: opened, closed, and its folder."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from nestling.collection import Collection, TextEncoder, is_collection
from nestling.errors import ArgumentError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["CollectionBacked", "CollectionHandle"]


class CollectionHandle:
    """A collection, and its folder if that is a temporary one.

    A new collection does not split its documents: other libraries split them beforehand.

    Args:
        path: The folder. None: a temporary one, which is removed with this object, or when the
            process ends.
        encoder: As for `Collection`.
        options: Other arguments of `Collection`.

    Raises:
        FormatError, EncoderMismatchError, StorageError, ArgumentError: As for `Collection`.

    Example:
        >>> handle = CollectionHandle(None, dim=2)
        >>> len(handle.collection)
        0
        >>> handle.close()
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
        cls,
        path: str | os.PathLike[str] | None,
        dim: int | None,
        encoder: TextEncoder | None = None,
        **options: Any,
    ) -> CollectionHandle:
        """Returns a collection of documents that come with their embeddings.

        Args:
            path: As for the class.
            dim: Dimensions of the embeddings.
            encoder: What made them, to be compared; None if it is not known.
            options: Other arguments of `Collection`.

        Raises:
            ArgumentError: There is no collection yet, and neither `dim` nor an encoder.
        """
        is_new = path is None or not is_collection(Path(path))
        if is_new and dim is None and encoder is None:
            raise ArgumentError("a new collection needs dim, the dimensions of its embeddings")
        return cls(path, encoder, dim=dim, **options)

    def close(self) -> None:
        """Closes the collection and removes a temporary folder; closing again does nothing."""
        self._release()


class CollectionBacked:
    """The base of stores that keep their documents in a collection and close it with themselves."""

    _handle: CollectionHandle

    @property
    def collection(self) -> Collection:
        """The collection itself, for everything that the other library does not offer."""
        return self._handle.collection

    def close(self) -> None:
        """Closes the collection, and removes it if it has no path.

        Example:
            >>> handle = CollectionHandle(None, dim=2)
            >>> handle.close()
        """
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
    if os.getpid() == process:  # the folder belongs to the parent of a forked child
        _remove(temporary)


def _remove(temporary: Path | None) -> None:
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)
