"""The encoder of a collection: opened when it is first needed, and checked to be the same one."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nestling._util.fork import reset_after_fork
from nestling._util.lease import locked
from nestling.collection.ingest.identity import EncoderIdentity
from nestling.errors import ModelNotFoundError, VectorError
from nestling.runtime.text_encoder import TextEncoder

if TYPE_CHECKING:
    from nestling.encoder import Encoder
    from nestling.runtime.folder import Precision

__all__ = ["EncoderSlot", "open_query_encoder"]


class EncoderSlot:
    """The encoder of a collection, opened by the first call that needs it.

    Args:
        identity: What the collection stores about it; None if it holds bare vectors.
        encoder: The encoder, if it is open already.
        threads: Threads that an encoder opened here may use.
        where: What errors call the collection.
        queries: A query encoder that imitates the encoder; None for none.

    Attributes:
        identity: As given.
        queries: As given.
    """

    def __init__(
        self,
        identity: EncoderIdentity | None,
        encoder: TextEncoder | None,
        *,
        threads: int | None,
        where: str,
        queries: Encoder | None = None,
    ) -> None:
        self.identity = identity
        self.queries = queries
        self._encoder = encoder
        self._threads = threads
        self._where = where
        self._opening = threading.Lock()
        reset_after_fork(self)

    def get(self) -> TextEncoder:
        """Returns the encoder.

        Raises:
            VectorError: The collection has none.
            ModelNotFoundError: It is an encoder of the caller's own, and was not given.
            EncoderMismatchError: Its name now leads to another model.
            ModelError: It cannot be loaded.
        """
        if self._encoder is not None:
            return self._encoder
        if self.identity is None:
            raise VectorError(
                f"{self._where} has no encoder: give vectors with documents and queries"
            )
        if not self.identity.is_model:
            raise ModelNotFoundError(
                f"{self._where} was made with an encoder of your own, {self.identity.class_path}: "
                "give it when you open the collection, as in Collection(path, encoder), or search "
                "with vectors or by words (mode='lexical')"
            )
        with locked(self._opening):
            if self._encoder is None:
                encoder = self.identity.open(self._threads)
                self.identity.check(EncoderIdentity.of(encoder), self._where)
                self._encoder = encoder
        return self._encoder

    def after_fork(self) -> None:
        """Renews the lock, which another thread of the parent may hold."""
        self._opening = threading.Lock()

    @property
    def truncated(self) -> int:
        """Texts that the encoder has truncated so far; 0 if it does not count them."""
        count = getattr(self._encoder, "truncated", 0)
        return count if isinstance(count, int) else 0

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns the embeddings of passages, (n, dim) float32.

        Raises:
            VectorError: There is no encoder, or it returned a wrong shape, NaN or infinity.
        """
        return self._checked(self.get().encode(texts), len(texts))

    def encode_queries(self, texts: Sequence[str], *, exact: bool = False) -> NDArray[np.float32]:
        """Returns the embeddings of queries, (n, dim) float32.

        Args:
            texts: The queries.
            exact: Whether to use the encoder itself though there is a query encoder.

        Raises:
            VectorError: There is no encoder, or it returned a wrong shape, NaN or infinity.
        """
        if not exact and self.queries is not None:
            return self.queries.encode_queries(texts)  # one of ours: what it returns fits
        return self._checked(self.get().encode_queries(texts), len(texts))

    def _checked(self, vectors: Any, count: int) -> NDArray[np.float32]:
        array = np.asarray(vectors, np.float32)
        assert self.identity is not None  # else there was no encoder to call
        dim = self.identity.dim
        if array.shape != (count, dim):
            raise VectorError(
                f"the encoder returned shape {array.shape} for {count} texts; expected "
                f"({count}, {dim})"
            )
        if not np.isfinite(array).all():
            raise VectorError("the encoder returned NaN or infinity; every value must be finite")
        return array


def open_query_encoder(
    query_encoder: str | os.PathLike[str] | Encoder,
    identity: EncoderIdentity | None,
    *,
    threads: int | None,
    where: str,
) -> Encoder:
    """Returns a query encoder, opened, that imitates the encoder of a collection.

    Args:
        query_encoder: Its name, its folder, or itself.
        identity: The identity of the collection's encoder; None for bare vectors.
        threads: Threads that an encoder opened here may use.
        where: What errors call the collection.

    Raises:
        EncoderMismatchError: It imitates another encoder, or none.
        ModelError: It cannot be loaded.
    """
    from nestling.encoder import Encoder

    queries = query_encoder
    if not isinstance(queries, Encoder):
        precision: Precision = "int8"
        if identity is not None and identity.precision == "float32":
            precision = "float32"
        queries = Encoder(queries, precision=precision, threads=threads)
    fingerprint = None
    if identity is not None and identity.is_model:
        fingerprint = identity.fingerprint
    queries.check_teacher(fingerprint, where)
    return queries
