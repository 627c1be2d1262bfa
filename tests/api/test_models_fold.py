"""A linear map as the last step of a graph, whatever the graph left to its reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_models
from safetensors.numpy import save_file

from nestling.encoder import Encoder
from nestling.errors import ModelError
from nestling.models import fold
from nestling.models.convert.quantize import save_int8
from nestling.models.convert.static import build_static
from nestling.models.fold import fold_folder
from nestling.runtime.overrides import Overrides

MakeFolder = Callable[..., Path]
TEXTS = ["cat", "dog sun moon", "read write read write", "مرحبا 😀", "cat dog cat"]
MEAN = {"1_Pooling/config.json": {"pooling_mode_mean_tokens": True}}
CLS = {"1_Pooling/config.json": {"pooling_mode_cls_token": True}}
LAST = {"1_Pooling/config.json": {"pooling_mode_lasttoken": True}}
MAX = {"1_Pooling/config.json": {"pooling_mode": "max"}}
CUT = {"config_sentence_transformers.json": {"truncate_dim": 6}}
NORM = {"nestling.json": {"layer_norm": True}}


def some_map(seed: int = 0, dim: int = tiny_models.DIM) -> np.ndarray:
    """Not orthogonal: the place of the map must be right for any."""
    return np.random.default_rng(seed).standard_normal((dim, dim)).astype(np.float32)


def fold_into(source: Path, matrix: np.ndarray, **others: Any) -> Path:
    target = source.with_name("folded")
    target.mkdir()
    settings = {"name": "folded", "nesting": (4, 16), "texts": TEXTS} | others
    assert fold_folder(source, target, matrix, **settings) < 1e-5
    return target


def named(output: str) -> onnx.ModelProto:
    return tiny_models.token_graph(output=output)


@pytest.mark.parametrize(
    ("graph", "files"),
    [
        (None, {}),
        (None, NORM),
        (named("last_hidden_state"), MEAN),
        (named("token_embeddings"), CLS),
        (named("anything"), LAST),
        (named("last_hidden_state"), MEAN | NORM),
        (named("last_hidden_state"), {}),
        (named("last_hidden_state"), MAX | NORM),
        (named("last_hidden_state"), MEAN | CUT),
        (None, CUT | NORM),
        (tiny_models.token_graph(inputs=("input_ids",)), MEAN),
        (tiny_models.token_graph(inputs=("input_ids", "attention_mask", "position_ids")), LAST),
    ],
    ids=[
        *("pooled", "pooled+norm", "mean", "cls", "last", "mean+norm", "no modules", "max+norm"),
        *("mean, cut", "pooled+norm, cut", "no mask", "positions"),
    ],
)
def test_the_folded_graph_gives_mapped_embeddings(
    make_folder: MakeFolder, graph: onnx.ModelProto | None, files: dict[str, Any]
) -> None:
    source = make_folder(graph, files=files)
    matrix = some_map(dim=Encoder(source).dim)
    folded = Encoder(fold_into(source, matrix), precision="float32")
    mapped = Encoder(source, precision="float32").encode(TEXTS) @ matrix.T
    mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
    np.testing.assert_allclose(folded.encode(TEXTS), mapped, atol=1e-5)
    # Alone too, where nothing is padded.
    np.testing.assert_allclose([folded.encode(text) for text in TEXTS], mapped, atol=1e-5)


def test_what_stands_in_for_settings_of_the_source_is_kept(make_folder: MakeFolder) -> None:
    source, matrix = make_folder(named("last_hidden_state"), files=MEAN), some_map()
    given = {"query_prompt": "query: ", "document_prompt": "sun ", "layer_norm": True}
    folded = Encoder(fold_into(source, matrix, overrides=Overrides(**given)), precision="float32")
    encoder = Encoder(source, precision="float32", **given)
    for found, expected in (
        (folded.encode(TEXTS), encoder.encode(TEXTS)),
        (folded.encode_queries(TEXTS), encoder.encode_queries(TEXTS)),
    ):
        mapped = expected @ matrix.T
        mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
        np.testing.assert_allclose(found, mapped, atol=1e-5)


def test_the_folder_says_what_its_prefixes_are(make_folder: MakeFolder) -> None:
    prompts = {"query": "query: ", "passage": "passage: "}
    files = {
        "config_sentence_transformers.json": {"prompts": prompts},
        "sentence_bert_config.json": {"max_seq_length": 7},
        "nestling.json": {"special_tokens": False, "layer_norm": True},
    }
    source = Encoder(make_folder(files=files, special=True))
    folded = Encoder(fold_into(source.path, some_map()))
    assert (folded.name, folded.nesting) == ("folded", (4, 16))
    assert dict(folded.prompts) == prompts
    assert folded.max_length == 7
    assert folded.fingerprint != source.fingerprint
    assert json.loads((folded.path / "nestling.json").read_text())["special_tokens"] is False


def test_every_precision_of_the_folder_is_folded(make_folder: MakeFolder) -> None:
    graph = build_static(tiny_models.table())
    source = make_folder(graph)
    save_int8(source / "onnx" / "model.onnx", source / "onnx" / "model_int8.onnx", [])
    target = fold_into(source, some_map())
    assert sorted(path.name for path in (target / "onnx").iterdir()) == [
        "model.onnx",
        "model_int8.onnx",
    ]
    assert {Encoder(target, precision=p).precision for p in ("int8", "float32")} == {
        "int8",
        "float32",
    }


def test_a_folded_graph_can_be_folded_again(make_folder: MakeFolder) -> None:
    source = make_folder()
    first = fold_into(source, some_map(1)).rename(source.with_name("once"))
    second = Encoder(fold_into(first, some_map(2)))
    mapped = Encoder(source).encode(TEXTS) @ some_map(1).T @ some_map(2).T
    mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
    np.testing.assert_allclose(second.encode(TEXTS), mapped, atol=1e-5)


def test_a_text_without_tokens_stays_zero(make_folder: MakeFolder) -> None:
    source = make_folder(special=False)
    assert not Encoder(fold_into(source, some_map())).encode("").any()


def test_a_graph_that_comes_out_wrong_is_refused(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = fold._widened
    monkeypatch.setattr(fold, "_widened", lambda matrix, model: right(matrix + 1e-3, model))
    with pytest.raises(ModelError, match=r"the folded graph \(float32\) is wrong"):
        fold_into(make_folder(), some_map())


def test_modules_of_the_folder_stay_before_the_map(make_folder: MakeFolder) -> None:
    graph = named("last_hidden_state")
    listing = tiny_models.modules_listing("Pooling", "Dense", "Normalize")
    files = {"1_Pooling/config.json": {"pooling_mode": ["cls", "max"], "include_prompt": False}}
    prompts = {"config_sentence_transformers.json": {"prompts": {"document": "sun moon "}}}
    source = make_folder(graph, files=files | prompts | {"modules.json": listing})
    save_int8(source / "onnx" / "model.onnx", source / "onnx" / "model_int8.onnx", [])
    place = source / "2_Dense"
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"out_features": 6, "bias": False}))
    weight = np.random.default_rng(4).standard_normal((6, 32)).astype(np.float32)
    save_file({"linear.weight": weight}, place / "model.safetensors")
    (source / "onnx" / "model_fp16.onnx").write_bytes(b"of no use")
    matrix = some_map(dim=6)
    folded = fold_into(source, matrix)
    kinds = [entry["type"] for entry in json.loads((folded / "modules.json").read_text())]
    assert [kind.rpartition(".")[2] for kind in kinds] == [
        *("Transformer", "Pooling", "Dense", "Normalize", "Dense")
    ]
    for precision in ("int8", "float32"):
        mapped = Encoder(source, precision=precision).encode(TEXTS) @ matrix.T
        mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
        got = Encoder(folded, precision=precision).encode(TEXTS)
        np.testing.assert_allclose(got, mapped, atol=1e-5)
    assert not list(folded.rglob("*fp16*"))
