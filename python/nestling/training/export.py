"""Fine-tuned networks as folders that `nestling.Encoder` reads.

A folder has the layout of sentence-transformers, weights included, so that it can also be used
there and fine-tuned again. Beside the weights are the ONNX graph and its int8 version, which are
built from them without tracing (`nestling.models.convert.bert`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from nestling.errors import ModelError
from nestling.training.finetune.model import TorchEncoder

__all__ = ["check_exportable", "export"]

# Largest difference in a component of a unit vector between torch and the float32 graph: float
# noise of six to twelve layers is about 1e-6.
_TOLERANCE: Final = 1e-4
_INT8_COSINE: Final = 0.9  # least cosine of the int8 graph with torch; 0.98 is typical
_MODULES: Final = ("Transformer", "Pooling", "Normalize")


def check_exportable(network: Any) -> None:
    """Checks before the training whether `export` can write a network.

    Raises:
        ModelError: It is not a BERT (gelu, absolute positions) with mean pooling and nothing else;
            the message names the difference.
    """
    for module in network:
        kind = type(module).__name__
        if kind not in _MODULES:
            raise ModelError(f"the module {kind} cannot be exported, only {', '.join(_MODULES)}")
    config, pooling = network[0].auto_model.config, network[1]
    requirements = {
        "model_type": (getattr(config, "model_type", None), "bert"),
        "hidden_act": (getattr(config, "hidden_act", None), "gelu"),
        "position_embedding_type": (
            getattr(config, "position_embedding_type", None) or "absolute",
            "absolute",
        ),
        "pooling": (pooling.pooling_mode, "mean"),
        "include_prompt": (pooling.include_prompt, True),
    }
    for name, (found, known) in requirements.items():
        if found != known and found != (known,):
            raise ModelError(
                f"a model with {name} {found!r} cannot be exported to ONNX, only with {known!r}: "
                "fine-tune it with sentence-transformers; Encoder opens the folder that it saves"
            )


def export(
    network: Any, folder: Path, *, name: str, nesting: Sequence[int], texts: Sequence[str]
) -> dict[str, float]:
    """Writes a network to an empty folder, and checks that its graphs give the same embeddings.

    Args:
        network: A `SentenceTransformer`.
        folder: The folder.
        name: The name of the encoder.
        nesting: Prefix lengths that it was trained for.
        texts: Texts to compare the graphs on.

    Returns:
        `float32`, the largest difference in a component between torch and the graph, and `int8`,
        the least cosine of the int8 graph's embeddings with torch's.

    Raises:
        ModelError: It cannot be exported, or a graph gives other embeddings than torch.
    """
    check_exportable(network)
    import onnx

    from nestling.models.convert.bert import BertConfig, build_bert
    from nestling.models.convert.calibrate import sample_rows
    from nestling.models.convert.quantize import save_int8

    network.save_pretrained(str(folder), create_model_card=False)
    bert = network[0].auto_model
    weights = {
        name: tensor.detach().cpu().float().numpy() for name, tensor in bert.state_dict().items()
    }
    config = BertConfig(
        heads=bert.config.num_attention_heads,
        epsilon=bert.config.layer_norm_eps,
        layers=bert.config.num_hidden_layers,
    )
    (folder / "onnx").mkdir()
    onnx.save(build_bert(weights, config), str(folder / "onnx" / "model.onnx"))
    metadata = {"name": name, "nesting": sorted(nesting)}
    (folder / "nestling.json").write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    tables = folder / "onnx" / "tables_int8.onnx"
    onnx.save(build_bert(weights, config, embedding="int8"), str(tables))
    save_int8(tables, folder / "onnx" / "model_int8.onnx", sample_rows(folder))
    tables.unlink()
    return _agreement(network, folder, texts)


def _agreement(network: Any, folder: Path, texts: Sequence[str]) -> dict[str, float]:
    """Compares both graphs with torch; see `export`."""
    from nestling.encoder import Encoder

    expected = TorchEncoder(network, name="torch").encode(texts)
    exact = Encoder(folder, precision="float32", threads=1)
    difference = float(np.abs(exact.encode(list(texts), progress=False) - expected).max())
    if not difference <= _TOLERANCE:
        raise ModelError(
            f"the exported graph is wrong: an embedding differs from torch's by {difference:.2g} "
            f"in a component, more than {_TOLERANCE:g}"
        )
    rounded = Encoder(folder, precision="int8", threads=1).encode(list(texts), progress=False)
    cosine = float(np.einsum("ij,ij->i", rounded, expected).min())
    if not cosine >= _INT8_COSINE:
        raise ModelError(
            f"the int8 graph is too far from the trained model: a cosine of {cosine:.4f} with "
            f"torch's embedding of a text, below {_INT8_COSINE}"
        )
    return {"float32": difference, "int8": cosine}
