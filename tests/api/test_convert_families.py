"""Every family that is converted without torch, against what transformers gave for it once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from tiny_networks import CASES, GOLDEN, random_tensors, write_checkpoint

from nestling.errors import ModelError
from nestling.models.convert.families import FAMILIES, family_of
from nestling.models.convert.graph import GraphBuilder
from nestling.models.convert.quantize import save_int8
from nestling.models.convert.weights import Weights

# Per component. The outputs have unit scale, as every family ends in a norm with gains near 1.
TOLERANCE = 2e-6
PADDING_TOLERANCE = 1e-6


class Golden:
    """A stored case."""

    def __init__(self, name: str) -> None:
        with np.load(GOLDEN / f"{name}.npz") as stored:
            self.config: dict[str, Any] = json.loads(str(stored["config"]))
            shapes = json.loads(str(stored["shapes"]))
            self.ids, self.mask, self.expected = (
                stored[key] for key in ("ids", "mask", "expected")
            )
        around = 0.0 if "gemma" in name else 1.0
        self.tensors = random_tensors(shapes, around=around)

    def check(self, folder: Path) -> None:
        """Checks the graph of a folder, in a batch and alone."""
        graph = run(convert(folder))
        shown = self.mask.astype(bool)
        got = graph(self.ids, self.mask)
        assert 0.8 < self.expected[shown].std() < 1.25
        np.testing.assert_allclose(got[shown], self.expected[shown], atol=TOLERANCE, rtol=0)
        for row, length in enumerate(self.mask.sum(axis=1)):
            alone = graph(self.ids[row : row + 1, :length], self.mask[row : row + 1, :length])
            np.testing.assert_allclose(alone[0], got[row, :length], atol=PADDING_TOLERANCE, rtol=0)


def convert(folder: Path) -> Path:
    config = json.loads((folder / "config.json").read_text())
    family, settings = family_of(config)
    weights = family.weights(Weights.open(folder))
    path = folder / "model.onnx"
    with GraphBuilder(data=folder / "model.onnx_data") as graph:
        tokens = family.add(graph, weights, settings)
        family.check_unused(weights)
        onnx.save(graph.model("test", tokens=tokens), str(path))
    onnx.checker.check_model(str(path))
    return path


def run(path: Path) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


@pytest.mark.parametrize("name", CASES)
def test_a_family_gives_what_transformers_gave(name: str, tmp_path: Path) -> None:
    golden = Golden(name)
    golden.check(write_checkpoint(tmp_path, golden.config, golden.tensors))


@pytest.mark.parametrize("name", CASES)
def test_a_family_in_int8_stays_close(name: str, tmp_path: Path) -> None:
    golden = Golden(name)
    source = convert(write_checkpoint(tmp_path, golden.config, golden.tensors))
    lengths = golden.mask.sum(axis=1)
    rows = [ids[:length] for ids, length in zip(golden.ids, lengths, strict=True)]
    target = tmp_path / "model_int8.onnx"
    save_int8(source, target, rows)
    assert constant_products(target) == {"MatMulIntegerToFloat"}
    graph = run(target)
    for ids, length, expected in zip(rows, lengths, golden.expected, strict=True):
        alone = graph(ids[np.newaxis], np.ones((1, length), np.int64))[0]
        cosines = np.einsum("td,td->t", alone, expected[:length])
        cosines /= np.linalg.norm(alone, axis=1) * np.linalg.norm(expected[:length], axis=1)
        assert cosines.min() > 0.98
        among = graph(np.stack([ids, ids[::-1], ids]), np.ones((3, length), np.int64))
        np.testing.assert_array_equal(among[0], alone)
        np.testing.assert_array_equal(among[2], alone)


def constant_products(path: Path) -> set[str]:
    """The operators that multiply by a constant matrix."""
    graph = onnx.load(str(path)).graph
    matrices = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 2}
    return {
        node.op_type
        for node in graph.node
        if "MatMul" in node.op_type and node.input[1] in matrices
    }


def test_every_family_has_a_case() -> None:
    tested = {Golden(name).config["model_type"] for name in CASES}
    assert tested == FAMILIES.keys() - {"new"}  # as "gte", with other names


def packed(
    tensors: Mapping[str, np.ndarray], names: Mapping[str, str], packs: Mapping[str, list[str]]
) -> dict[str, np.ndarray]:
    """Returns tensors under the names of a model's own code, some of them packed into one."""
    tensors = dict(tensors)
    for layer in range(3):
        for target, parts in packs.items():
            for kind in ("weight", "bias"):
                sources = [f"layers.{layer}.{part}.{kind}" for part in parts]
                if sources[0] in tensors:
                    joined = np.concatenate([tensors.pop(source) for source in sources])
                    tensors[f"layers.{layer}.{target}.{kind}"] = joined
    for old, new in names.items():
        tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
    return tensors


def test_a_nomic_bert_with_the_names_of_its_own_code(tmp_path: Path) -> None:
    golden = Golden("nomic_bert")
    tensors = packed(
        golden.tensors,
        {
            "layers.": "encoder.layers.",
            "embeddings.LayerNorm": "emb_ln",
            "self_attn.o_proj": "attn.out_proj",
            "mlp.up_proj": "mlp.fc11",
            "mlp.gate_proj": "mlp.fc12",
            "mlp.down_proj": "mlp.fc2",
            "post_attention_layernorm": "norm1",
            "post_mlp_layernorm": "norm2",
        },
        {"attn.Wqkv": [f"self_attn.{kind}_proj" for kind in "qkv"]},
    )
    config = {
        "model_type": "nomic_bert",
        "auto_map": {"AutoModel": "owner/code--modeling.NomicBertModel"},
        "activation_function": "swiglu",
        "n_embd": 24,
        "n_head": 4,
        "n_layer": 3,
        "layer_norm_epsilon": 1e-12,
        "rotary_emb_base": 1000,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_scaling_factor": None,
        "prenorm": False,
        "use_rms_norm": False,
    }
    golden.check(write_checkpoint(tmp_path, config, tensors))


def test_a_gte_with_the_names_of_its_own_code(tmp_path: Path) -> None:
    golden = Golden("gte")
    tensors = packed(
        golden.tensors,
        {
            "layers.": "encoder.layer.",
            "self_attn": "attention",
            "post_attention_layernorm": "attn_ln",
            "post_mlp_layernorm": "mlp_ln",
        },
        {
            "self_attn.qkv_proj": [f"self_attn.{kind}_proj" for kind in "qkv"],
            "mlp.up_gate_proj": ["mlp.up_proj", "mlp.gate_proj"],
        },
    )
    config = golden.config | {
        "model_type": "new",
        "auto_map": {"AutoModel": "owner/code--modeling.NewModel"},
        "position_embedding_type": "rope",
        "rope_theta": 160_000,
        "rope_parameters": None,
        "pack_qkv": True,
    }
    prefixed = {f"new.{name}": tensor for name, tensor in tensors.items()}
    golden.check(write_checkpoint(tmp_path, config, prefixed))


def test_the_fixed_scaling_of_gte_positions() -> None:
    """As in the code of the models: the base times the factor, and slower by its root."""
    config = {
        "model_type": "new",
        "num_attention_heads": 2,
        "hidden_size": 16,
        "rope_theta": 500.0,
        "rope_scaling": {"type": "ntk", "factor": 2.0},
    }
    _, settings = family_of(config)
    expected = 1 / (1000.0 ** (np.arange(0, 8, 2) / 8)) / 2 ** (2 / 8)
    np.testing.assert_allclose(settings.rope.frequencies, expected, rtol=1e-6)


@pytest.mark.parametrize("prefix", ["", "bert.", "model.", "encoder.", "0.auto_model."])
def test_a_prefix_of_all_tensors_does_not_matter(prefix: str, tmp_path: Path) -> None:
    golden = Golden("bert")
    prefixed = {prefix + name: tensor for name, tensor in golden.tensors.items()}
    golden.check(write_checkpoint(tmp_path, golden.config, prefixed))


def test_older_settings_of_rotary_positions(tmp_path: Path) -> None:
    golden = Golden("modernbert")
    config = {
        key: v for key, v in golden.config.items() if key not in ("rope_parameters", "layer_types")
    }
    config |= {
        "global_rope_theta": 160_000.0,
        "local_rope_theta": 10_000.0,
        "global_attn_every_n_layers": 3,
    }
    golden.check(write_checkpoint(tmp_path / "modernbert", config, golden.tensors))
    golden = Golden("gemma3-both-ways")
    config = {
        key: v for key, v in golden.config.items() if key not in ("rope_parameters", "layer_types")
    }
    config |= {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "_sliding_window_pattern": 6}
    golden.check(write_checkpoint(tmp_path / "gemma3", config, golden.tensors))


def test_a_text_longer_than_any_table_of_masks(tmp_path: Path) -> None:
    """Rotary positions and masks are computed, so nothing limits the length."""
    golden = Golden("qwen3")
    graph = run(convert(write_checkpoint(tmp_path, golden.config, golden.tensors)))
    ids = np.random.default_rng(1).integers(3, 97, (1, 500))
    long = graph(ids, np.ones_like(ids))
    assert np.isfinite(long).all()
    np.testing.assert_allclose(
        long[:, :60], graph(ids[:, :60], np.ones((1, 60), np.int64)), atol=2e-6
    )


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("bert", {"model_type": "t5"}, "a 't5' is not converted without torch, only bert, "),
        ("bert", {"model_type": None}, "a 'None' is not converted"),
        ("bert", {"hidden_act": "mish"}, "hidden_act is 'mish'"),
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type is 'rel"),
        ("bert", {"is_decoder": True}, "is_decoder is True"),
        ("bert", {"auto_map": {"AutoModel": "modeling.Bert"}}, "its own code"),
        ("bert", {"quantization_config": {"quant_method": "gptq"}}, r"quantized \(gptq\)"),
        ("llama", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "the type 'dynamic'"),
        ("llama", {"rope_parameters": {"rope_type": "longrope"}}, "the type 'longrope'"),
        (
            "llama",
            {"rope_parameters": {"partial_rotary_factor": 0.5}},
            "partial_rotary_factor is 0.5",
        ),
        ("qwen2", {"layer_types": ["chunked_attention"] * 3}, "layer_types is"),
        ("qwen2", {"auto_map": {"AutoModel": "modeling.Qwen2"}}, "its own code"),
        ("mistral", {"is_causal": False}, "is_causal is False"),
        ("gemma3-causal", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0"),
        ("modernbert", {"layer_types": ["linear_attention"] * 5}, "layer_types is"),
        ("nomic_bert", {"rotary_emb_interleaved": True}, "rotary_emb_interleaved is True"),
        ("nomic_bert", {"rotary_scaling_factor": 2.0}, "rotary_scaling_factor is 2.0"),
        ("nomic_bert", {"moe_every_n_layers": 2}, "moe_every_n_layers is 2"),
        ("gte", {"logn_attention_scale": True}, "logn_attention_scale is True"),
        ("gte", {"position_embedding_type": "absolute"}, "position_embedding_type is 'absolute'"),
        ("mpnet", {"relative_attention_num_buckets": 64}, "num_buckets is 64"),
    ],
)
def test_a_setting_that_the_graph_would_not_honour_is_refused(
    name: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        family_of(Golden(name).config | settings)
    assert "nestling convert MODEL --with torch" in str(caught.value)


def test_tensors_that_are_missing_or_unknown_are_named(tmp_path: Path) -> None:
    golden = Golden("bert")
    name = "encoder.layer.1.output.dense.bias"
    others = {key: tensor for key, tensor in golden.tensors.items() if key != name}
    with pytest.raises(ModelError, match=f"lacks the tensor 'bert.{name}'"):
        convert(
            write_checkpoint(
                tmp_path / "missing", golden.config, {f"bert.{k}": t for k, t in others.items()}
            )
        )
    extra = golden.tensors | {
        "encoder.layer.0.attention.self.distance.weight": np.ones(3, np.float32)
    }
    with pytest.raises(ModelError, match=r"encoder\.layer\.0\.attention\.self\.distance\.weight"):
        convert(write_checkpoint(tmp_path / "extra", golden.config, extra))
    deeper = golden.config | {"num_hidden_layers": 2}
    with pytest.raises(ModelError, match=r"'encoder\.layer\.2"):
        convert(write_checkpoint(tmp_path / "deeper", deeper, golden.tensors))
    with pytest.raises(ModelError, match="should hold one tensor"):
        convert(write_checkpoint(tmp_path / "other", Golden("llama").config, golden.tensors))
