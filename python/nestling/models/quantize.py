"""Int8 versions of float32 graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import onnx

__all__ = ["save_int8"]

# What ONNX Runtime's own preprocessing leaves; without it quantize_dynamic advises on the root
# logger to run that first, which these graphs do not need: their constants are folded already.
_PREPROCESSED: Final = {"onnx.quant.pre_process": "onnxruntime.quant"}


def save_int8(model: onnx.ModelProto, path: Path) -> None:
    """Writes `model` to `path` with int8 weights, one scale per output channel of each MatMul.

    Activations are quantized while the model runs, with one scale for a whole tensor; so what a
    text becomes depends on the texts that share its batch, which is why the encoder gives such
    graphs one text at a time.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    onnx.helper.set_model_props(model, _PREPROCESSED)
    quantize_dynamic(
        model,
        path,
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=["MatMul"],
        extra_options={"MatMulConstBOnly": True},  # attention's products stay in float32
    )
