"""Networks of every family that is converted without torch, small and with random weights.

The weights come from numpy alone, by the name and the shape of each tensor, so that a test can make
them again without torch.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

__all__ = ["CASES", "GOLDEN", "VOCABULARY", "Case", "batch", "random_tensors", "write_checkpoint"]

GOLDEN = Path(__file__).parent.parent / "golden" / "encoders"
VOCABULARY = 97
_BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
}
_ROBERTA = _BERT | {"max_position_embeddings": 66, "pad_token_id": 1}
_GROUPED = _BERT | {"num_key_value_heads": 2, "pad_token_id": 0}
_MODERN = _BERT | {
    "num_hidden_layers": 5,
    "local_attention": 8,
    **{f"{name}_token_id": 0 for name in ("pad", "bos", "eos", "cls", "sep")},
}
_GEMMA = _GROUPED | {"head_dim": 8, "query_pre_attn_scalar": 10, "sliding_window": 9}


@dataclass(frozen=True)
class Case:
    """One network.

    Attributes:
        model: Its class in transformers, before "Config" and "Model".
        config: The settings of its config.
        lengths: Tokens of the texts to run it on.
        head: The class to save it as, which decides the prefix of its tensors.
    """

    model: str
    config: Mapping[str, Any]
    lengths: Sequence[int] = (60, 7, 1, 25)
    head: str = "Model"


CASES: Mapping[str, Case] = {
    "bert": Case("Bert", _BERT),
    "bert-gelu-new-5-heads": Case(
        "Bert", _BERT | {"hidden_act": "gelu_new", "hidden_size": 35, "num_attention_heads": 5}
    ),
    "bert-masked-lm": Case("Bert", _BERT, head="ForMaskedLM"),
    "electra": Case("Electra", _BERT | {"embedding_size": 16}),
    "roberta": Case("Roberta", _ROBERTA),
    "xlm-roberta-masked-lm": Case("XLMRoberta", _ROBERTA, head="ForMaskedLM"),
    "camembert": Case("Camembert", _ROBERTA),
    "distilbert": Case(
        "DistilBert",
        {
            "vocab_size": VOCABULARY,
            "dim": 24,
            "n_layers": 3,
            "n_heads": 4,
            "hidden_dim": 40,
            "max_position_embeddings": 64,
        },
    ),
    "mpnet": Case("MPNet", _ROBERTA | {"max_position_embeddings": 302}, lengths=(300, 7, 1, 150)),
    "modernbert": Case("ModernBert", _MODERN),
    "modernbert-biases": Case(
        "ModernBert",
        _MODERN | {"norm_bias": True, "mlp_bias": True, "attention_bias": True},
        head="ForMaskedLM",
    ),
    "nomic_bert": Case("NomicBert", _BERT),
    "gte": Case("Gte", _BERT),
    "gte-without-types": Case("Gte", _BERT | {"type_vocab_size": 0}),
    "llama": Case("Llama", _GROUPED),
    "llama-causal-lm": Case(
        "Llama",
        _GROUPED
        | {"num_key_value_heads": 1, "head_dim": 10, "attention_bias": True, "mlp_bias": True},
        head="ForCausalLM",
    ),
    "llama-both-ways": Case("Llama", _GROUPED | {"is_causal": False}),
    "llama-3-positions": Case(
        "Llama",
        _GROUPED
        | {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            }
        },
    ),
    "llama-linear-positions": Case(
        "Llama",
        _GROUPED | {"rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 4.0}},
    ),
    "mistral": Case("Mistral", _GROUPED | {"sliding_window": 9}),
    "mistral-no-window": Case("Mistral", _GROUPED | {"sliding_window": None}),
    "qwen2": Case("Qwen2", _GROUPED),
    "qwen2-window": Case(
        "Qwen2",
        _GROUPED | {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1},
    ),
    "qwen3": Case("Qwen3", _GROUPED | {"head_dim": 16}),
    "qwen3-yarn": Case(
        "Qwen3",
        _GROUPED
        | {
            "head_dim": 12,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 1e6,
                "factor": 4.0,
                "original_max_position_embeddings": 16,
            },
        },
    ),
    "eurobert": Case("EuroBert", _GROUPED),
    "gemma3-both-ways": Case(
        "Gemma3Text", _GEMMA | {"num_hidden_layers": 7, "use_bidirectional_attention": True}
    ),
    "gemma3-causal": Case(
        "Gemma3Text",
        _GEMMA | {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    ),
}


def random_tensors(shapes: Mapping[str, Sequence[int]], *, around: float) -> dict[str, np.ndarray]:
    """Returns float32 weights that keep activations near unit scale, the same on every machine.

    Args:
        shapes: The shape of each tensor.
        around: What the gains of norms are near: 1, or 0 where the network adds 1 itself.
    """
    tensors = {}
    for name, shape in shapes.items():
        draw = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tuple(shape))
        if len(shape) > 1:
            draw *= 0.8 if "embed" in name else 0.8 / np.sqrt(shape[-1])
        elif name.endswith(".weight"):
            draw = around + 0.1 * draw
        else:
            draw *= 0.1
        tensors[name] = draw.astype(np.float32)
    return tensors


def batch(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Returns ids and mask, padded on the right; the first text has a padding token inside."""
    random = np.random.default_rng(0)
    mask = (np.arange(max(case.lengths)) < np.array(case.lengths)[:, None]).astype(np.int64)
    padding = case.config.get("pad_token_id") or 0
    ids = np.where(mask == 1, random.integers(3, VOCABULARY, mask.shape), padding)
    ids[0, 5] = padding
    return ids, mask


def write_checkpoint(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> Path:
    """Writes config.json and model.safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(
        {name: np.ascontiguousarray(t) for name, t in tensors.items()}, folder / "model.safetensors"
    )
    return folder
