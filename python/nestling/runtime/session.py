"""An ONNX encoder graph in ONNX Runtime."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nestling.errors import ModelError
from nestling.runtime.folder import ModelFolder
from nestling.runtime.modules import Dense, Module, Pooling, Unsupported

__all__ = ["Cancellation", "Graph"]

Ids = NDArray[np.int64]

_POOLED: Final = "sentence_embedding"
_TOKENS: Final = ("last_hidden_state", "token_embeddings")
_INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "offsets")
_INTEGERS: Final = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_ERRORS_ONLY: Final = 3
_PART: Final = 2**20  # bytes of a graph that are searched at a time
# The operator that this fuses a sum and a layer norm into takes six times as long as the two.
_SLOW_OPTIMIZERS: Final = ["SkipLayerNormFusion"]


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
        padding: Whether a text may share a run with longer ones: the graph has a mask that leaves
            padding out, and does not quantize. Padding changes a float32 sum by rounding alone, but
            a code made from that sum may be the next one.
        weights: Size of the graph's files in bytes, which the time of a run per token grows with.
        inputs: Names of the inputs that it takes.
        output: The output of the graph that is used.
        pooled: Whether that output has one row for each text, not for each token.
        modules: The modules of the folder that are still to be run on it.

    Raises:
        ModelError: The graph cannot be loaded, has an unknown input, or lacks a module of the
            folder that cannot be run outside of it.
    """

    def __init__(self, folder: ModelFolder) -> None:
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder.graph),
                _options(),
                providers=["CPUExecutionProvider"],
                disabled_optimizers=_SLOW_OPTIMIZERS,
            )
        except Exception as error:  # the runtime's exceptions have no public base
            raise ModelError(f"cannot load {folder.graph}: {error}") from error
        self._path = folder.graph
        self._position_padding = folder.position_padding
        beside = folder.graph.parent.glob(f"{glob.escape(folder.graph.name)}*")
        self.weights = sum(file.stat().st_size for file in beside)
        self.one_by_one = _uses(folder.graph, b"DynamicQuantize")
        self.padding = not _uses(folder.graph, b"QuantizeLinear")
        self._flat = False
        self._kinds = self._read_inputs()
        self.inputs = tuple(self._kinds)
        self.padding &= "attention_mask" in self._kinds or self._flat
        self.output, self.pooled, self.modules = self._read_output(folder)

    def run(
        self, ids: Ids, mask: Ids, cancellation: Cancellation | None = None
    ) -> NDArray[np.float32]:
        """Returns the output for (batch, tokens) ids: (batch, dim) or (batch, tokens, dim)."""
        feeds = {
            name: self._feed(name, ids, mask).astype(kind, copy=False)
            for name, kind in self._kinds.items()
        }
        options = None if cancellation is None else cancellation.options
        result: NDArray[np.float32] = self._session.run([self.output], feeds, options)[0]
        return result.astype(np.float32, copy=False)

    def _feed(self, name: str, ids: Ids, mask: Ids) -> Ids:
        if name == "input_ids":
            return ids[mask.astype(bool)] if self._flat else ids
        if name == "attention_mask":
            return mask
        if name == "token_type_ids":
            return np.zeros_like(ids)
        if name == "offsets":  # of each text among the ids of all
            lengths = mask.sum(axis=1)
            offsets: Ids = np.cumsum(lengths) - lengths
            return offsets
        if self._position_padding is None:
            return np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        shown = ids != self._position_padding  # not by the mask: so does transformers
        positions: Ids = np.cumsum(shown, axis=1) * shown + self._position_padding
        return positions

    def _read_inputs(self) -> dict[str, Any]:
        kinds = {}
        for entry in self._session.get_inputs():
            if entry.name not in _INPUTS or entry.type not in _INTEGERS:
                raise ModelError(
                    f"{self._path} has the input {entry.name!r} ({entry.type}), but an encoder "
                    f"provides only the integers {', '.join(_INPUTS)}: export the model for "
                    "feature extraction"
                )
            kinds[entry.name] = _INTEGERS[entry.type]
            if len(entry.shape) == 1 and entry.name in ("input_ids", "offsets"):
                self._flat |= entry.name == "input_ids"
                continue
            batch, length = entry.shape if len(entry.shape) == 2 else (0, 0)
            if isinstance(length, int) or (isinstance(batch, int) and batch != 1):
                raise ModelError(
                    f"{self._path} takes {entry.name!r} only in the shape {entry.shape}: export "
                    "the model with dynamic axes for the batch and the sequence"
                )
            self.one_by_one |= batch == 1
        if self._flat != ("offsets" in kinds) or (self._flat and len(kinds) > 2):
            raise ModelError(
                f"{self._path} has the inputs {', '.join(kinds)}: ids of one dimension need the "
                "offsets of the texts among them, and nothing else"
            )
        return kinds

    def _read_output(self, folder: ModelFolder) -> tuple[str, bool, tuple[Module, ...]]:
        """Returns the output to use, whether it is pooled, and the modules that it still needs."""
        shapes = {output.name: output.shape for output in self._session.get_outputs()}
        tokens = [
            *(name for name in _TOKENS if name in shapes),
            *(name for name, shape in shapes.items() if len(shape) == 3),
        ]
        pooled = _POOLED if _POOLED in shapes else None
        if len(shapes) == 1 and not tokens and len(shapes[next(iter(shapes))]) == 2:
            pooled = next(iter(shapes))  # the only output has one row per text
        if pooled is not None and folder.static:
            return pooled, True, folder.modules
        missing = [module for module in folder.modules if isinstance(module, Unsupported)]
        # The graph may hold a copy of the modules; but pooling of that copy may count the prompt.
        if tokens and not missing and (folder.listed or pooled is None):
            return tokens[0], False, folder.modules
        if pooled is None and tokens:
            raise ModelError(
                f"{self._path} outputs token embeddings, and the module {missing[0].kind} of "
                f"modules.json {missing[0].reason}. A graph of the whole model, with the output "
                f"{_POOLED}, would do"
            )
        if pooled is None:
            raise ModelError(
                f"{self._path} has the outputs {', '.join(shapes)}: expected {_POOLED}, or token "
                f"embeddings such as {_TOKENS[0]}"
            )
        prompted = folder.document_prompt or folder.query_prompt
        left_out = any(isinstance(m, Pooling) and not m.include_prompt for m in folder.modules)
        if prompted and left_out:
            raise ModelError(
                f"{self._path} outputs only {_POOLED}, in which the tokens of a prompt count, but "
                "the folder's pooling leaves them out (include_prompt): export the transformer "
                f"alone, with the output {_TOKENS[0]}"
            )
        if folder.listed and not missing:
            self._check_dim(pooled, shapes[pooled][-1], folder.modules)
        return pooled, True, ()

    def _check_dim(self, output: str, found: object, modules: Sequence[Module]) -> None:
        """Raises ModelError if a pooled output has other dimensions than all modules give."""
        dim = None
        for module in modules:
            if isinstance(module, Pooling):
                dim = None if module.dim is None else module.dim * len(module.modes)
            elif isinstance(module, Dense):
                dim = module.dim
        if dim is not None and isinstance(found, int) and found != dim:
            raise ModelError(
                f"{self._path}: the output {output} has {found} dims, but the modules in "
                f"modules.json give {dim}: it lacks some of them"
            )


def _uses(path: Path, operator: bytes) -> bool:
    """Whether a graph has an operator whose name contains this, in its own form or fused.

    The file contains the names of operators verbatim, so it need not be parsed, and onnx need not
    be imported; only weights that spell the name by chance could mislead.
    """
    end = b""
    with path.open("rb") as file:
        while part := file.read(_PART):
            if operator in end + part:
                return True
            end = part[-len(operator) :]
    return False


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
