"""Tensors of safetensors files, as float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.errors import ModelError

__all__ = ["FLOATS", "as_float32", "read_tensors"]

#: The types of floats in a file, and how numpy reads them. It has no bfloat16: these are its bits.
FLOATS: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def as_float32(values: NDArray[Any], kind: str) -> NDArray[np.float32]:
    """Returns values of one of the types `FLOATS` as float32; the same array if they are.

    Example:
        >>> as_float32(np.array([0x3F80], np.uint16), "BF16")
        array([1.], dtype=float32)
    """
    if kind == "BF16":  # the upper half of a float32
        wide = values.astype(np.uint32)
        wide <<= 16
        return wide.view(np.float32)
    return values.astype(np.float32, copy=False)


def read_tensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Returns every tensor of a file of floats (64, 32 or 16 bits, or bfloat16) by its name.

    Raises:
        ModelError: The file is absent, malformed, or holds another type.

    Example:
        >>> from safetensors.numpy import save_file
        >>> save_file({"bias": np.ones(2, np.float16)}, "some.safetensors")
        >>> read_tensors(Path("some.safetensors"))
        {'bias': array([1., 1.], dtype=float32)}
    """
    import safetensors  # most folders need none

    try:
        entries = safetensors.deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    tensors = {}
    for name, entry in entries:
        kind = entry["dtype"]
        if kind not in FLOATS:
            raise ModelError(f"{path} holds {name!r} as {kind}, but weights should be floats")
        values = np.frombuffer(entry["data"], FLOATS[kind])
        tensors[name] = as_float32(values, kind).reshape(entry["shape"])
    return tensors
