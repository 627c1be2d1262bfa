"""Graphs of architectures that are not built from their weights, traced by torch.

The extra `export` brings torch, sentence-transformers and onnxscript. Only the transformer is
traced; the modules after it stay in the folder, as after any other conversion.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from nestling.errors import ModelError, PackageError
from nestling.models.convert.graph import GraphBuilder
from nestling.models.source import ModelSource

__all__ = ["export_with_torch"]

_TOLERANCE: Final = 1e-4  # per component, in units of the standard deviation; noise is about 1e-6
_LENGTHS: Final = (13, 7)  # tokens of the two texts that are traced
_CHECKED: Final = (40, 3, 13)  # tokens of the texts that are compared


def export_with_torch(model: ModelSource, path: Path) -> None:
    """Writes the graph of a transformer, as float32, and compares it with torch.

    Args:
        model: The source; its own code is not run.
        path: The ONNX file to write; its weights come into a file beside it.

    Raises:
        PackageError: A package of the extra `export` is not installed.
        ModelError: torch cannot load or export the model, or the graph gives other embeddings.
    """
    try:
        import onnxscript  # noqa: F401
        import sentence_transformers
        import torch
    except ImportError as error:
        raise PackageError(
            f"--with torch needs the extra `export`: pip install 'nestling[export]' ({error})"
        ) from error

    class TokenEmbeddings(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, network: Any) -> None:
            super().__init__()
            self.network = network

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.network(input_ids=input_ids, attention_mask=attention_mask)[0]

    with _quiet():
        try:
            whole = sentence_transformers.SentenceTransformer(
                str(model.folder),
                device="cpu",
                local_files_only=True,
                # Without fused attention, whose traces do not fit every length.
                model_kwargs={"attn_implementation": "eager", "use_safetensors": True},
            )
            network = whole[0].auto_model.float().eval()
        except Exception as error:  # what it raises differs by architecture
            raise ModelError(
                f"sentence-transformers cannot load {model.folder}: {error}"
            ) from error
        if hasattr(network.config, "use_cache"):
            network.config.use_cache = False
        vocabulary = int(network.get_input_embeddings().weight.shape[0])
        padding = int(getattr(network.config, "pad_token_id", None) or 0)
        traced = TokenEmbeddings(network)
        names = [GraphBuilder.IDS, GraphBuilder.MASK]
        axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
        try:
            torch.onnx.export(
                traced,
                tuple(map(torch.tensor, _batch(_LENGTHS, vocabulary, padding))),
                str(path),
                dynamo=True,
                dynamic_shapes=(axes, axes),
                input_names=names,
                output_names=[GraphBuilder.TOKENS],
                external_data=True,
                verbose=False,
            )
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise ModelError(f"torch cannot export {model.folder}: {reason[-1]}") from error
        _compare(traced, path, vocabulary, padding)


def _compare(traced: Any, path: Path, vocabulary: int, padding: int) -> None:
    """Checks that the graph gives what torch gives, for other lengths than the traced ones."""
    import torch

    ids, mask = _batch(_CHECKED, vocabulary, padding)
    with torch.no_grad():
        expected = traced(torch.tensor(ids), torch.tensor(mask)).numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {GraphBuilder.IDS: ids, GraphBuilder.MASK: mask})
    shown = mask.astype(bool)
    difference = float(np.abs(got - expected)[shown].max() / expected[shown].std())
    if not difference <= _TOLERANCE:
        raise ModelError(
            f"the graph that torch exported is wrong: a token embedding differs by "
            f"{difference:.2g} standard deviations from torch's, over {_TOLERANCE:g}"
        )


def _batch(lengths: tuple[int, ...], vocabulary: int, padding: int) -> tuple[Any, Any]:
    """Returns random ids and their mask, padded on the right."""
    random = np.random.default_rng(0)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, np.newaxis]).astype(np.int64)
    ids = random.integers(min(5, vocabulary - 1), vocabulary, mask.shape)
    return np.where(mask == 1, ids, padding), mask


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter from writing to stderr what its user cannot act on."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
