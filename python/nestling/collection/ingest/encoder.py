"""The encoder of a collection: opened when it is first needed, and checked to be the same one."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nestling._util.fork import reset_after_fork
from nestling.errors import EncoderMismatchError, VectorError
from nestling.runtime.text_encoder import TextEncoder, encoder_name

if TYPE_CHECKING:
    from nestling.encoder import Encoder
    from nestling.runtime.folder import Precision

__all__ = ["EncoderIdentity", "EncoderSlot", "canonical_model_name"]


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """What a collection stores about its encoder.

    Attributes:
        name: Built-in name, folder, hub id, or the encoder's own `name`.
        dim: Dimensions of its embeddings.
        precision: "int8" or "float32"; None for an encoder that is not nestling's.
        nested: Whether it is the nested form of a built-in model.
        fingerprint: Digest of the model's files; None if the encoder has none.

    Example:
        >>> EncoderIdentity("minilm", dim=384, precision="int8").as_dict()["dim"]
        384
    """

    name: str
    dim: int
    precision: str | None = None
    nested: bool = True
    fingerprint: str | None = None

    @classmethod
    def of(cls, encoder: TextEncoder, name: str | None = None) -> EncoderIdentity:
        """Returns the identity of an encoder.

        Args:
            encoder: The encoder.
            name: The name that it was opened by. Default: its `name`, or that of its class.

        Example:
            >>> class Zeros:
            ...     dim = 4
            ...     def encode(self, texts):
            ...         return np.zeros((len(texts), 4), np.float32)
            ...     encode_queries = encode
            >>> EncoderIdentity.of(Zeros())
            EncoderIdentity(name='Zeros', dim=4, precision=None, nested=True, fingerprint=None)
        """
        return cls(
            name or encoder_name(encoder),
            encoder.dim,
            getattr(encoder, "precision", None),
            bool(getattr(encoder, "nested", True)),
            getattr(encoder, "fingerprint", None),
        )

    def as_dict(self) -> dict[str, Any]:
        """Returns the identity as JSON values.

        Example:
            >>> EncoderIdentity("letters", dim=2).as_dict()["name"]
            'letters'
        """
        return asdict(self)

    def check(self, encoder: TextEncoder, where: str) -> None:
        """Raises an error unless `encoder` has this identity.

        Args:
            encoder: The encoder.
            where: What the error calls the collection.

        Raises:
            EncoderMismatchError: Its dimensions or its fingerprint differ.

        Example:
            >>> class Zeros:
            ...     dim = 4
            ...     def encode(self, texts):
            ...         return np.zeros((len(texts), 4), np.float32)
            ...     encode_queries = encode
            >>> EncoderIdentity("zeros", dim=4).check(Zeros(), "notes")
        """
        other = EncoderIdentity.of(encoder, self.name)
        if other.dim != self.dim:
            raise EncoderMismatchError(
                f"{where} holds embeddings of {self.name!r} with {self.dim} dimensions, but this "
                f"encoder makes {other.dim}: use the encoder that made the collection"
            )
        if self.fingerprint and other.fingerprint and self.fingerprint != other.fingerprint:
            raise EncoderMismatchError(
                f"{where} was made with another {self.name!r} (fingerprint {self.fingerprint}, not "
                f"{other.fingerprint}): embeddings of two models cannot be compared. Use the one "
                "that made the collection, or encode again: nestling export --no-vectors, then add"
            )


class EncoderSlot:
    """The encoder of a collection, opened by the first call that needs it.

    Args:
        identity: What the collection stores about it; None if it holds bare vectors.
        encoder: The encoder, if it is open already.
        threads: Threads that an encoder opened here may use.
        where: What errors call the collection.
    """

    def __init__(
        self,
        identity: EncoderIdentity | None,
        encoder: TextEncoder | None,
        *,
        threads: int | None,
        where: str,
    ) -> None:
        self.identity = identity
        self._encoder = encoder
        self._threads = threads
        self._where = where
        self._opening = threading.Lock()
        reset_after_fork(self)

    def get(self) -> TextEncoder:
        """Returns the encoder.

        Raises:
            VectorError: The collection has none.
            EncoderMismatchError: Its name now leads to another model.
            ModelError: It cannot be loaded.
        """
        if self._encoder is not None:
            return self._encoder
        if self.identity is None:
            raise VectorError(
                f"{self._where} has no encoder: give vectors with documents and queries"
            )
        with self._opening:
            if self._encoder is None:
                encoder = _open_encoder(self.identity, self._threads)
                self.identity.check(encoder, self._where)
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

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns the embeddings of queries, (n, dim) float32.

        Raises:
            VectorError: There is no encoder, or it returned a wrong shape, NaN or infinity.
        """
        return self._checked(self.get().encode_queries(texts), len(texts))

    def _checked(self, vectors: Any, count: int) -> NDArray[np.float32]:
        array = np.asarray(vectors, np.float32)
        dim = self.get().dim
        if array.shape != (count, dim):
            raise VectorError(
                f"the encoder returned shape {array.shape} for {count} texts; expected "
                f"({count}, {dim})"
            )
        if not np.isfinite(array).all():
            raise VectorError("the encoder returned NaN or infinity; every value must be finite")
        return array


def canonical_model_name(encoder: str | os.PathLike[str]) -> str:
    """Returns a model's name that stays valid in another working folder: paths become absolute."""
    from nestling.models import BUILT_IN

    if isinstance(encoder, str) and encoder in BUILT_IN:
        return encoder
    folder = Path(encoder).expanduser()
    return str(folder.resolve()) if folder.is_dir() else os.fspath(encoder)


def _open_encoder(identity: EncoderIdentity, threads: int | None) -> Encoder:
    """Opens the encoder that an identity names."""
    from nestling.encoder import Encoder

    precision: Precision = "float32" if identity.precision == "float32" else "int8"
    return Encoder(identity.name, precision=precision, threads=threads, nested=identity.nested)
