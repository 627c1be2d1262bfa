"""Which graph of a model to run: the rule for a folder on disk and for a repository of the hub.

Publishers put many graphs of one model side by side. These can be run as they are:

```
int8      model_qint8_avx512_vnni, model_qint8_avx512, model_quint8_avx2, model_qint8_arm64
          (sentence-transformers: made for one kind of CPU each); model_int8, model_quantized,
          model_uint8 (transformers.js and Optimum)
float32   model; model_O1, model_O2, model_O3 (optimised; O3 approximates GELU)
```

Those with 16-bit floats (`model_fp16`, `model_O4`) and with 4 bits (`model_q4`, `model_bnb4`) are
made for GPUs and browsers, and are not used.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath
from typing import Final, Literal

__all__ = ["Cpu", "GraphFiles", "Precision", "choose_graph", "this_cpu", "unusable_graphs"]

Precision = Literal["int8", "float32"]
Cpu = Literal["x86", "x86-vnni", "arm64"]

_PLACES: Final = ("onnx/", "")  # the first one has priority
_GENERIC: Final = ("int8", "quantized", "uint8")
# Without VNNI, products of unsigned with signed bytes saturate at 16 bits unless the graph was made
# for that: unsigned weights first. A graph made for another CPU is right, but slower.
_INT8: Final[Mapping[Cpu, tuple[str, ...]]] = {
    "x86-vnni": (
        *("qint8_avx512_vnni", "qint8_avx512", *_GENERIC),
        *("quint8_avx2", "qint8_avx2", "q?u?int8_.*"),
    ),
    "x86": (
        *("quint8_avx2", "qint8_avx2", "uint8", "quantized", "int8"),
        *("qint8_avx512", "qint8_avx512_vnni", "q?u?int8_.*"),
    ),
    "arm64": ("qint8_arm64", *_GENERIC, "quint8_avx2", "q?u?int8_.*"),
}
_FLOAT32: Final = ("", "O1", "O2", "O3")
_REASONS: Final = (
    (r".*(?:fp16|float16|bf16|_O4).*", "16-bit floats"),
    (r".*(?:q4|bnb4|int4|uint4|q2|q1|nf4).*", "4 bits or fewer"),
)


@dataclass(frozen=True, slots=True)
class GraphFiles:
    """A graph and the files of its weights, as paths relative to the model's folder.

    Attributes:
        graph: Path of the ONNX file.
        data: Paths of the files that hold its larger weights, in order; mostly none.
        precision: "int8" or "float32".
    """

    graph: str
    data: tuple[str, ...]
    precision: Precision


@cache
def this_cpu() -> Cpu:
    """Returns the kind of this machine's CPU."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "arm64"
    from nestling import _core

    return "x86-vnni" if any("vnni" in isa for isa in _core.available_isas()) else "x86"


def choose_graph(
    names: Iterable[str], precision: Precision = "int8", cpu: Cpu | None = None
) -> GraphFiles | None:
    """Chooses one graph: of the precision where there is one, else of the other one.

    Args:
        names: Paths of a model's files relative to its folder, with slashes.
        precision: The precision to prefer.
        cpu: The CPU to run on. Default: this one.

    Returns:
        The graph with its data, or None if there is no usable graph.

    Example:
        >>> names = ["onnx/model.onnx", "onnx/model.onnx_data", "onnx/model_int8.onnx"]
        >>> choose_graph(names, "float32")
        GraphFiles(graph='onnx/model.onnx', data=('onnx/model.onnx_data',), precision='float32')
    """
    files = sorted(names)
    suffixes = {"int8": _INT8[cpu or this_cpu()], "float32": _FLOAT32}
    other: Precision = "float32" if precision == "int8" else "int8"
    for kind in (precision, other):
        for suffix in suffixes[kind]:
            name = f"model_{suffix}.onnx" if suffix else "model.onnx"
            for place in _PLACES:
                for file in files:
                    if re.fullmatch(re.escape(place) + name.replace(".onnx", r"\.onnx"), file):
                        return GraphFiles(file, _data(files, file), kind)
    return None


def unusable_graphs(names: Iterable[str]) -> str:
    """Describes the graphs among `names` that `choose_graph` does not take; empty for none.

    Example:
        >>> unusable_graphs(["onnx/model_fp16.onnx", "onnx/decoder.onnx"])
        'onnx/decoder.onnx, onnx/model_fp16.onnx (16-bit floats)'
    """
    found = []
    for name in sorted(names):
        if PurePosixPath(name).suffix != ".onnx" or choose_graph([name]) is not None:
            continue
        file = PurePosixPath(name).name
        reasons = [reason for pattern, reason in _REASONS if re.fullmatch(pattern, file)]
        found.append(f"{name} ({reasons[0]})" if reasons else name)
    return ", ".join(found)


def _data(files: Sequence[str], graph: str) -> tuple[str, ...]:
    """Returns the files that hold the weights of a graph: model.onnx_data, model.onnx.data_1, …."""
    pattern = re.compile(re.escape(graph) + r"[._]data(?:[._-]?\d[\w.-]*)?")
    return tuple(file for file in files if pattern.fullmatch(file))
