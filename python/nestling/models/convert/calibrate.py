"""How far the values inside a graph go, by texts of random tokens.

The norms of a transformer bound what they output, and its largest values belong to a few channels
and to special tokens, whatever a text says: natural text in any language, code and junk take the
channels of minilm and e5 as far as random tokens do. So a conversion needs no corpus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from nestling.errors import ModelError
from nestling.runtime.folder import ModelFolder
from nestling.runtime.tokenizer import TextTokenizer

__all__ = ["channel_peaks", "sample_rows"]

Floats = NDArray[np.float32]
TokenIds = NDArray[np.int64]

# Texts by their tokens: most are short, as a token with few neighbours differs most from others.
_RANDOM: Final = {1: 64, 2: 24, 4: 16, 8: 12, 16: 8, 32: 6, 64: 4, 120: 2}
_REPEATED: Final = {4: 3, 32: 3, 100: 2}  # of one token
_ERRORS_ONLY: Final = 3


def sample_rows(folder: Path) -> list[TokenIds]:
    """Returns the token ids of some 140 texts, always the same ones for a tokenizer.

    They are decoded and tokenized again, so that special tokens are where the model expects them.

    Args:
        folder: A model folder that is complete but for its int8 graph.
    """
    model = ModelFolder.read(folder, precision="float32")
    tokenizer = TextTokenizer(model.tokenizer, model.text)
    draw = np.random.default_rng(0)
    size = tokenizer.vocabulary_size
    ids = [draw.integers(0, size, n) for n, texts in _RANDOM.items() for _ in range(texts)]
    for n, texts in _REPEATED.items():
        ids += [np.repeat(token, n) for token in draw.integers(0, size, texts)]
    rows, _ = tokenizer.encode([tokenizer.decode(row) for row in ids])
    return [row for row in rows if len(row)]


def channel_peaks(
    graph: Path, values: Sequence[str], rows: Sequence[TokenIds]
) -> Mapping[str, Floats]:
    """Runs a graph, and returns the largest magnitudes of some of its values.

    Args:
        graph: The ONNX file; another one is written beside it for the time being.
        values: Names of float32 values in the graph.
        rows: Token ids of each text.

    Returns:
        For each value, (channels,) float32: the largest magnitude in each place of its last axis.

    Raises:
        ModelError: The runtime cannot run the graph.
    """
    model = onnx.load(str(graph), load_external_data=False)
    for value in values:
        output = helper.make_tensor_value_info(value, TensorProto.FLOAT, None)
        model.graph.output.append(output)
    watched = graph.with_name(f"{graph.stem}_watched.onnx")
    try:
        onnx.save(model, str(watched))
        del model
        return _peaks(watched, values, rows)
    except Exception as error:  # the runtime's exceptions have no public base
        raise ModelError(f"cannot run {graph}: {error}") from error
    finally:
        watched.unlink(missing_ok=True)


def _peaks(graph: Path, values: Sequence[str], rows: Sequence[TokenIds]) -> Mapping[str, Floats]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    known = {entry.name for entry in session.get_inputs()}
    peaks: dict[str, Floats] = {}
    for row in rows:
        ids = row[np.newaxis]
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        found = session.run(list(values), {k: v for k, v in feeds.items() if k in known})
        for value, array in zip(values, found, strict=True):
            peak = np.abs(array).reshape(-1, array.shape[-1]).max(axis=0)
            peaks[value] = np.maximum(peaks[value], peak) if value in peaks else peak
    return peaks
