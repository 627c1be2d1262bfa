"""Encoders for commands: opened by name, and what they truncated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestling._util.console import notify
from nestling.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nestling.encoder import Encoder
    from nestling.runtime.folder import Precision

__all__ = [
    "notify_long_question",
    "notify_truncated",
    "open_encoder",
    "query_vector",
]


def open_encoder(
    name: str,
    *,
    precision: Precision | None = None,
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

    return Encoder(name, precision=precision or "int8", threads=threads, nested=nested)


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
