"""Int8 versions of float32 graphs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import onnx

__all__ = ["save_int8"]


def save_int8(model: onnx.ModelProto, path: Path) -> None:
    """Writes `model` to `path` with int8 weights, one scale per output channel of each MatMul.

    Activations are quantized while the model runs, with one scale for a whole tensor. The embedding
    of a text would depend on the texts in its batch, so the encoder runs such graphs one text at a
    time.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            model,
            path,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul"],
            extra_options={"MatMulConstBOnly": True},  # attention's products stay in float32
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps ONNX Runtime's quantizer from writing to the root logger, and from configuring it."""
    root = logging.getLogger()
    handler = logging.NullHandler()  # without a handler, its first message would add a real one

    def from_others(record: logging.LogRecord) -> bool:
        return "quantization" not in Path(record.pathname).parts

    root.addHandler(handler)
    root.addFilter(from_others)
    try:
        yield
    finally:
        root.removeFilter(from_others)
        root.removeHandler(handler)
