"""Encoders for commands: opened by name, remembered by name, and what they truncated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nestling._util.console import notify
from nestling.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nestling.encoder import Encoder
    from nestling.runtime.folder import Precision

__all__ = [
    "NamedEncoder",
    "notify_long_question",
    "notify_truncated",
    "open_encoder",
    "open_named_encoder",
    "query_vector",
]


@dataclass(frozen=True, slots=True)
class NamedEncoder:
    """An encoder, and the name by which a collection will find it again.

    An encoder from a folder calls itself by the folder's last part; a collection must remember the
    whole path. To a collection this is a `TextEncoder`.

    Attributes:
        name: A built-in name, an absolute folder, or a hub id.
        encoder: The encoder itself.
    """

    name: str
    encoder: Encoder

    @property
    def dim(self) -> int:
        """Dimensions of an embedding."""
        return self.encoder.dim

    @property
    def precision(self) -> str:
        """Of the model's weights: "int8" or "float32"."""
        return self.encoder.precision

    @property
    def nested(self) -> bool:
        """Whether a built-in model is used with its adaptor."""
        return bool(getattr(self.encoder, "nested", True))

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify the model's files."""
        return self.encoder.fingerprint

    @property
    def truncated(self) -> int:
        """How many texts the encoder has truncated so far."""
        return self.encoder.truncated

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encodes documents: (n, dim) float32."""
        return self.encoder.encode(texts)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encodes questions: (n, dim) float32."""
        return self.encoder.encode_queries(texts)


def open_encoder(
    name: str,
    *,
    precision: Precision = "int8",
    threads: int | None = None,
    nested: bool = True,
) -> Encoder:
    """Opens an encoder; imports ONNX Runtime only now.

    Raises:
        ModelError: The model does not exist, cannot be fetched or cannot be used.

    Example:
        >>> open_encoder("minilm").dim  # doctest: +SKIP
        384
    """
    from nestling.encoder import Encoder

    return Encoder(name, precision=precision, threads=threads, nested=nested)


def open_named_encoder(
    name: str, *, precision: Precision | None, threads: int | None
) -> NamedEncoder:
    """Opens the encoder of a new collection, under the name that the collection will remember.

    Raises:
        ModelError: The model does not exist, cannot be fetched or cannot be used.
    """
    from nestling.collection.ingest.encoder import canonical_model_name

    encoder = open_encoder(name, precision=precision or "int8", threads=threads)
    return NamedEncoder(canonical_model_name(name), encoder)


def query_vector(encoder: Encoder, question: str, dim: int) -> NDArray[np.float32]:
    """Encodes one question: (dim,) float32, a prefix where the index holds prefixes.

    Raises:
        ModelError: The encoder's embeddings have fewer than `dim` dimensions.
    """
    if encoder.dim < dim:
        raise ModelError(
            f"the index holds vectors of {dim} dimensions, but {encoder.name} makes {encoder.dim}; "
            "name the model that made them with --model"
        )
    before = encoder.truncated
    vector: NDArray[np.float32] = encoder.encode_queries([question], dim=dim)[0]
    if encoder.truncated > before:
        notify_long_question()
    return vector


def notify_long_question() -> None:
    """Says that a question was longer than the encoder reads."""
    notify("The question is longer than the encoder reads; only its start was used.")


def notify_truncated(encoder: Encoder) -> None:
    """Says how many texts the encoder truncated, if any."""
    if encoder.truncated:
        notify(f"{encoder.truncated:,} texts are longer than {encoder.name} reads; they were cut.")
