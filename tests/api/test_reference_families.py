"""Converted networks against transformers itself, over shapes, checkpoints and torch's exporter.

What every family gives is stored, and compared in test_convert_families.py; here are variants of
each, made now, with the transformers that is installed.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_convert_families import PADDING_TOLERANCE, TOLERANCE, convert, run
from tiny_networks import CASES, GOLDEN, Case, batch
from tiny_sources import make_silma, save_word_pieces, write_json

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.insert(0, str(GOLDEN.parent))

from make_encoders import build
from make_encoders import run as run_network

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),  # of torch and transformers
]

# Other numbers of heads, layers and dimensions for every case.
SHAPES: list[dict[str, Any]] = [
    {},
    {"num_hidden_layers": 1, "hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 3},
    {"num_hidden_layers": 5, "intermediate_size": 17, "num_key_value_heads": 4},
]


def variant(case: Case, changes: dict[str, Any]) -> Case:
    names = {
        "num_hidden_layers": "n_layers",
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
    }
    names |= {"intermediate_size": "hidden_dim"}
    if case.model != "DistilBert":
        names = {}
    changes = {names.get(key, key): value for key, value in changes.items()}
    known = {key: value for key, value in changes.items() if key in case.config}
    if "layer_types" in case.config:
        known.pop("num_hidden_layers", None)
    return dataclasses.replace(case, config={**case.config, **known})


def check(case: Case, folder: Path, *, dtype: str | None = None, **options: Any) -> None:
    """Saves a network as transformers does, converts it, and compares both.

    torch computes in float64 here where it can, so that only the graph's own rounding counts: that
    of torch in float32 is as large. It gets one text at a time.
    """
    import torch

    network = build(case)
    state = network.state_dict()
    if dtype is not None:
        state = {name: tensor.to(getattr(torch, dtype)) for name, tensor in state.items()}
        network.load_state_dict(state)  # rounded
    network.save_pretrained(folder, state_dict=state, **options)
    graph = run(convert(folder))
    network = network.double()
    ids, mask = batch(case)
    together = graph(ids, mask)
    for row, length in enumerate(mask.sum(axis=1)):
        lone, shown = ids[row : row + 1, :length], mask[row : row + 1, :length]
        expected, alone = run_network(network, lone, shown), graph(lone, shown)
        if length > 20:
            assert 0.8 < expected.std() < 1.25
        np.testing.assert_allclose(alone, expected, atol=TOLERANCE, rtol=0)
        np.testing.assert_allclose(together[row, :length], alone[0], atol=PADDING_TOLERANCE, rtol=0)


@pytest.mark.parametrize("changes", SHAPES, ids=["as stored", "wide", "deep"])
@pytest.mark.parametrize("name", CASES)
def test_a_network_of_transformers(name: str, changes: dict[str, Any], tmp_path: Path) -> None:
    check(variant(CASES[name], changes), tmp_path)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["bert-masked-lm", "llama-causal-lm", "gemma3-both-ways", "gte"])
def test_halves_in_several_files(name: str, dtype: str, tmp_path: Path) -> None:
    check(CASES[name], tmp_path, dtype=dtype, max_shard_size="8KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()


def test_a_whole_model_gives_what_sentence_transformers_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import SentenceTransformer

    from nestling import Encoder

    monkeypatch.setenv("NESTLING_CACHE", str(tmp_path / "cache"))
    texts = ["الخبز من الدقيق", "bread and salt", "🙂 3,5", "خبز " * 100, "", "x"]
    for place, listed in (("", True), ("0_Transformer", True), ("", False)):
        folder = make_silma(tmp_path / f"silma{place}{listed}", place=place, listed=listed)
        reference = SentenceTransformer(str(folder), device="cpu")
        expected = reference.encode(texts, normalize_embeddings=True)
        encoder = Encoder(folder, precision="float32")
        np.testing.assert_allclose(encoder.encode(texts), expected, atol=TOLERANCE)
        for text, row in zip(texts, expected, strict=True):
            np.testing.assert_allclose(encoder.encode(text), row, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["t5", "albert"])
def test_torch_exports_what_is_not_built(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer

    from nestling import Encoder
    from nestling.errors import ModelError
    from nestling.models.convert import Conversion, convert_folder

    monkeypatch.setenv("NESTLING_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    sizes = {"vocab_size": 400, "num_hidden_layers": 2}
    if kind == "t5":
        config = transformers.T5Config(
            vocab_size=400, d_model=24, d_kv=6, d_ff=40, num_layers=2, num_heads=4
        )
        network = transformers.T5EncoderModel(config)
    else:
        config = transformers.AlbertConfig(
            **sizes, embedding_size=16, hidden_size=24, num_attention_heads=4, intermediate_size=40
        )
        network = transformers.AlbertModel(config)
    folder = tmp_path / kind
    network.save_pretrained(folder)
    save_word_pieces(folder / "tokenizer.json")
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": "[PAD]",
            "model_max_length": 30,
        },
    )
    write_json(
        folder / "modules.json",
        [
            {
                "idx": i,
                "name": str(i),
                "path": path,
                "type": f"sentence_transformers.models.{type_}",
            }
            for i, (path, type_) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling")])
        ],
    )
    write_json(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": 24, "pooling_mode_mean_tokens": True},
    )
    with pytest.raises(ModelError, match=f"a '{kind}' is not converted without torch"):
        Encoder(folder)
    out = tmp_path / "out"
    out.mkdir()
    convert_folder(folder, out, Conversion(("float32", "int8"), exporter="torch"))
    texts = ["الخبز من الدقيق", "bread", "🙂 3,5 " * 9]
    expected = SentenceTransformer(str(folder), device="cpu").encode(
        texts, normalize_embeddings=True
    )
    encoder = Encoder(out, precision="float32")
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=TOLERANCE)
