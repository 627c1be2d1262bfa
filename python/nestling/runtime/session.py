"""An ONNX encoder graph in ONNX Runtime."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nestling.errors import ModelError
from nestling.runtime.folder import ModelFolder
from nestling.runtime.pooling import POOLINGS

__all__ = ["Cancellation", "Graph"]

Ids = NDArray[np.int64]

_POOLED: Final = "sentence_embedding"
_TOKENS: Final = ("last_hidden_state", "token_embeddings")
#: The inputs that a graph may have, as functions of the ids and the mask.
_INPUTS: Final[Mapping[str, Callable[[Ids, Ids], Ids]]] = {
    "input_ids": lambda ids, mask: ids,
    "attention_mask": lambda ids, mask: mask,
    "token_type_ids": lambda ids, mask: np.zeros_like(ids),
    "position_ids": lambda ids, mask: np.broadcast_to(np.arange(ids.shape[1]), ids.shape),
}
_INTEGERS: Final = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_ERRORS_ONLY: Final = 3


class Cancellation:
    """Ends runs of a graph early, those that have begun and those that are still to begin.

    Ctrl-C cannot end a run, as the interpreter only raises KeyboardInterrupt once the runtime has
    returned. So a long one belongs in another thread, and the thread that waits for it cancels it.

    Example:
        >>> cancellation = Cancellation()
        >>> cancellation.cancel()  # what uses it raises ModelError soon
    """

    def __init__(self) -> None:
        self.options = onnxruntime.RunOptions()

    def cancel(self) -> None:
        """Ends the runs, within an operator of the graph."""
        self.options.terminate = True


class Graph:
    """Runs a model's graph on token ids; threads may share it.

    Attributes:
        one_by_one: Whether texts must not share a run: the graph takes one at a time, or quantizes
            activations by the extremes of the whole batch, so that the other texts of a batch would
            change an embedding (by up to 0.04 per component with minilm).
        weights: Size of the graph's file in bytes, which the time of a run per token grows with.
        output: The output of the graph that is used.
        pooling: The pooling in `POOLINGS` that it still needs, or None.

    Raises:
        ModelError: The graph cannot be loaded, has an unknown input, or outputs token embeddings
            while the folder does not specify the pooling.
    """

    def __init__(self, folder: ModelFolder) -> None:
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder.graph), _options(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's exceptions have no public base
            raise ModelError(f"cannot load {folder.graph}: {error}") from error
        self._path = folder.graph
        self.weights = folder.graph.stat().st_size
        self.one_by_one = _quantizes_by_batch(folder.graph)
        self._inputs = self._read_inputs()
        self.output, self.pooling = self._read_output(folder)
        self._pool = None if self.pooling is None else POOLINGS[self.pooling]

    def run(
        self, ids: Ids, mask: Ids, cancellation: Cancellation | None = None
    ) -> NDArray[np.float32]:
        """Returns (batch, dim) float32 embeddings, of any length, of (batch, tokens) ids."""
        return self.pool(self.infer(ids, mask, cancellation), mask)

    def infer(
        self, ids: Ids, mask: Ids, cancellation: Cancellation | None = None
    ) -> NDArray[np.float32]:
        """Returns the output of the graph itself: token embeddings, where it does not pool."""
        feeds = {
            name: _INPUTS[name](ids, mask).astype(kind, copy=False)
            for name, kind in self._inputs.items()
        }
        options = None if cancellation is None else cancellation.options
        result: NDArray[np.float32] = self._session.run([self.output], feeds, options)[0]
        return result.astype(np.float32, copy=False)

    def pool(self, output: NDArray[np.float32], mask: Ids) -> NDArray[np.float32]:
        """Returns the embeddings of texts from the output of `infer`."""
        result: NDArray[np.float32] = output if self._pool is None else self._pool(output, mask)
        return result

    def _read_inputs(self) -> dict[str, Any]:
        inputs = {}
        for entry in self._session.get_inputs():
            if entry.name not in _INPUTS or entry.type not in _INTEGERS:
                raise ModelError(
                    f"{self._path} has the input {entry.name!r} ({entry.type}), but an encoder "
                    f"provides only the integers {', '.join(_INPUTS)}: export the model for "
                    "feature extraction"
                )
            batch, length = entry.shape
            if isinstance(length, int) or (isinstance(batch, int) and batch != 1):
                raise ModelError(
                    f"{self._path} takes {entry.name!r} only in the shape {entry.shape}: export "
                    "the model with dynamic axes for the batch and the sequence"
                )
            self.one_by_one |= batch == 1
            inputs[entry.name] = _INTEGERS[entry.type]
        return inputs

    def _read_output(self, folder: ModelFolder) -> tuple[str, str | None]:
        """Returns the output to use, and the name of the pooling that it still needs, or None."""
        ranks = {o.name: len(o.shape) for o in self._session.get_outputs()}
        if _POOLED in ranks:
            return _POOLED, None
        if list(ranks.values()) == [2]:  # the only output has one row per text
            return next(iter(ranks)), None
        names = [
            *(n for n in _TOKENS if n in ranks),
            *(n for n, rank in ranks.items() if rank == 3),
        ]
        if not names:
            raise ModelError(
                f"{self._path} has the outputs {', '.join(ranks)}: expected {_POOLED}, or token "
                f"embeddings such as {_TOKENS[0]}"
            )
        if folder.modules:
            raise ModelError(
                f"{self._path} ends before the module {folder.modules[0]} of its folder: export "
                f"the whole model, with the output {_POOLED}"
            )
        if folder.pooling is None:
            raise ModelError(
                f"{self._path} outputs token embeddings, and its folder has no "
                "1_Pooling/config.json that specifies their pooling: add one, such as "
                '{"pooling_mode_mean_tokens": true}'
            )
        if folder.pooling not in POOLINGS:
            raise ModelError(
                f"1_Pooling/config.json specifies the pooling {folder.pooling!r}, which is not "
                f"supported; these are: {', '.join(POOLINGS)}"
            )
        return names[0], folder.pooling


def _quantizes_by_batch(path: Path) -> bool:
    """Whether a graph has DynamicQuantizeLinear or one of its fused forms.

    The file contains the names of operators verbatim, so it need not be parsed, and onnx need not
    be imported; only weights that spell the name by chance could mislead.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"DynamicQuantize") >= 0


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    # Batches run in parallel, in threads of the encoder; a single text has one thread. A graph has
    # hundreds of operators of a few microseconds each, so the runtime's own threads gain nothing on
    # a short text unless they spin between operators. Two spinning threads took 0.6 to 0.9 of the
    # time on two idle cores, but twice the time where other processes used the second core; and a
    # session with sleeping threads hung when it was closed in a forked process.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Memory patterns keep memory for each shape, and texts have every length; the arena never
    # returns what the longest text needed. Neither made a run measurably faster.
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = False
    options.log_severity_level = _ERRORS_ONLY
    return options
