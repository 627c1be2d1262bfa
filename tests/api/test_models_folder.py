"""Model folders: what is read from which file, and what is said when something is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_models import DIM, WORDS, table, token_graph

from nestling.encoder import Encoder
from nestling.errors import ModelError, ModelNotFoundError
from nestling.models.convert.quantize import save_int8
from nestling.models.convert.static import build_static
from nestling.runtime.folder import ModelFolder

MakeFolder = Callable[..., Path]
MEAN = {"1_Pooling/config.json": {"pooling_mode_mean_tokens": True}}


def rows(*words: str) -> np.ndarray:
    return table()[[WORDS.index(word) for word in words]]


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize(
    ("config", "pick"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, lambda r: r.mean(0)),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, lambda r: r.mean(0)),
        ({"pooling_mode_cls_token": True}, lambda r: r[0]),
        ({"pooling_mode_lasttoken": True}, lambda r: r[-1]),
        ({"pooling_mode": "lasttoken"}, lambda r: r[-1]),
    ],
    ids=["mean", "mean_sqrt_len", "cls", "lasttoken", "by name"],
)
def test_the_pooling_config_is_followed(
    make_folder: MakeFolder, config: dict[str, Any], pick: Callable[[np.ndarray], np.ndarray]
) -> None:
    folder = make_folder(token_graph(), special=False, files={"1_Pooling/config.json": config})
    texts = ["cat dog moon", "sun", "read write"]  # of three lengths, so that two are padded
    vectors = Encoder(folder).encode(texts)
    for vector, text in zip(vectors, texts, strict=True):
        np.testing.assert_allclose(vector, unit(pick(rows(*text.split()))), atol=1e-6)


def test_a_fingerprint_follows_the_files_that_make_the_vectors(make_folder: MakeFolder) -> None:
    folder = make_folder(name="one")
    first = Encoder(folder).fingerprint
    assert len(bytes.fromhex(first)) == 8
    assert Encoder(folder.rename(folder.with_name("moved"))).fingerprint == first
    folder = folder.with_name("moved")
    (folder / "README.md").write_text("of no effect")
    assert Encoder(folder).fingerprint == first
    found = {first}
    for path in (ModelFolder.read(folder).graph, folder / "tokenizer.json"):
        content = path.read_bytes()
        path.write_bytes(content + (b"\n" if path.suffix == ".json" else b"\x72\x00"))
        found.add(Encoder(folder).fingerprint)
        path.write_bytes(content)
    assert len(found) == 3
    graph = ModelFolder.read(folder).graph
    for other in ("model.onnx_data", "model_fp16.onnx", "model_q4.onnx"):  # not of this graph
        graph.with_name(other).write_bytes(b"weights")
    assert Encoder(folder).fingerprint == first
    save_outside(build_static(table()), graph, "weights.bin")
    outside = Encoder(folder).fingerprint
    weights = graph.with_name("weights.bin")
    weights.write_bytes(bytes(reversed(weights.read_bytes())))
    assert len({first, outside, Encoder(folder).fingerprint}) == 3


def save_outside(model: onnx.ModelProto, path: Path, location: str) -> None:
    """Saves a graph whose weights are in a file beside it."""
    onnx.save(model, str(path), save_as_external_data=True, location=location, size_threshold=500)


@pytest.mark.parametrize(
    "files",
    [
        {"1_Pooling/config.json": {"pooling_mode": "max"}},
        {"config_sentence_transformers.json": {"prompts": {"query": "query: "}}},
        {"sentence_bert_config.json": {"max_seq_length": 4}},
        {"sentence_bert_config.json": {"do_lower_case": True}},
        {"tokenizer_config.json": {"truncation_side": "left"}},
        {"nestling.json": {"layer_norm": True}},
        {"config_sentence_transformers.json": {"truncate_dim": 8}},
    ],
    ids=["pooling", "prompt", "length", "case", "side", "norm", "dim"],
)
def test_a_fingerprint_follows_the_settings(make_folder: MakeFolder, files: dict[str, Any]) -> None:
    plain = Encoder(make_folder(token_graph(), files=MEAN))
    other = Encoder(make_folder(token_graph(), name="other", files=MEAN | files))
    assert other.fingerprint != plain.fingerprint


def test_the_digest_of_a_conversion_stands_for_its_files(make_folder: MakeFolder) -> None:
    files = MEAN | {"nestling.json": {"source_digest": "a" * 64}}
    folder = make_folder(token_graph(), files=files)
    first = Encoder(folder).fingerprint
    graph = ModelFolder.read(folder).graph
    graph.write_bytes(graph.read_bytes() + b"\x72\x00")
    assert Encoder(folder).fingerprint == first
    (folder / "nestling.json").write_text('{"source_digest": "b"}')
    assert Encoder(folder).fingerprint != first


def test_modules_json_names_the_pooling_folder(make_folder: MakeFolder) -> None:
    kinds = {"": "Transformer", "pool": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"}
        for path, kind in kinds.items()
    ]
    files = {"modules.json": modules, "pool/config.json": {"pooling_mode_cls_token": True}}
    folder = make_folder(token_graph(), special=False, files=files)
    np.testing.assert_allclose(Encoder(folder).encode("cat dog"), unit(rows("cat")[0]), atol=1e-6)


@pytest.mark.parametrize("name", ["last_hidden_state", "token_embeddings", "hidden"])
def test_token_embeddings_are_found_by_name_or_by_rank(make_folder: MakeFolder, name: str) -> None:
    folder = make_folder(token_graph(output=name), special=False, files=MEAN)
    np.testing.assert_allclose(Encoder(folder).encode("cat"), unit(rows("cat")[0]), atol=1e-6)


def test_further_inputs_are_given_where_the_graph_asks(make_folder: MakeFolder) -> None:
    inputs = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
    folder = make_folder(token_graph(inputs=inputs), special=False, files=MEAN)
    expected = (rows("cat", "dog", "sun") + np.arange(3)[:, None]).mean(axis=0)
    np.testing.assert_allclose(Encoder(folder).encode("cat dog sun"), unit(expected), atol=1e-6)


def test_a_graph_that_pools_needs_no_pooling_config(make_folder: MakeFolder) -> None:
    assert Encoder(make_folder()).dim == DIM


@pytest.mark.parametrize(
    ("prompts", "default", "document", "query"),
    [
        (
            {"query": "query: ", "passage": "passage: "},
            None,
            ["passage:", "cat"],
            ["query:", "cat"],
        ),
        ({"query": "query: ", "document": "sun "}, None, ["sun", "cat"], ["query:", "cat"]),
        ({"moon": "moon "}, "moon", ["moon", "cat"], ["moon", "cat"]),
        ({"query": "query: "}, None, ["cat"], ["query:", "cat"]),
        ({}, None, ["cat"], ["cat"]),
    ],
)
def test_prompts_differ_for_documents_and_queries(
    make_folder: MakeFolder,
    prompts: dict[str, str],
    default: str | None,
    document: list[str],
    query: list[str],
) -> None:
    config = {"prompts": prompts, "default_prompt_name": default}
    files = {"config_sentence_transformers.json": config}
    encoder = Encoder(make_folder(special=False, files=files))
    assert dict(encoder.prompts) == prompts
    np.testing.assert_allclose(encoder.encode("cat"), unit(rows(*document).sum(0)), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_queries("cat"), unit(rows(*query).sum(0)), atol=1e-6)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"sentence_bert_config.json": {"max_seq_length": 7}}, 7),
        ({"tokenizer_config.json": {"model_max_length": 9}}, 9),
        ({"tokenizer_config.json": {"model_max_length": 10**30}}, None),
        ({"config.json": {"max_position_embeddings": 12}}, 12),
        ({"config.json": {"max_position_embeddings": 514, "model_type": "xlm-roberta"}}, 512),
        (
            {
                "config.json": {"max_position_embeddings": 12},
                "tokenizer_config.json": {"model_max_length": 9},
            },
            9,
        ),
        ({}, None),
    ],
)
def test_the_length_limit_is_the_one_that_the_folder_names(
    make_folder: MakeFolder, files: dict[str, Any], limit: int | None
) -> None:
    folder = make_folder(files=files)
    assert Encoder(folder).max_length == limit
    assert Encoder(folder, max_length=5).max_length == 5
    if limit is not None:
        with pytest.raises(ModelError, match=f"more than the {limit} tokens"):
            Encoder(folder, max_length=limit + 1)


def test_a_limit_without_room_for_a_word_is_refused(make_folder: MakeFolder) -> None:
    with pytest.raises(ModelError, match="no room"):
        Encoder(make_folder(), max_length=2)


@pytest.mark.parametrize(
    "files",
    [
        {"nestling.json": {"nesting": [4, 8, 16]}},
        {"config.json": {"matryoshka_dimensions": [16, 8, 4]}},
        {"config_sentence_transformers.json": {"matryoshka_dims": [4, 8, 16, 512]}},
    ],
)
def test_nesting_dims_are_read_where_a_file_names_them(
    make_folder: MakeFolder, files: dict[str, Any]
) -> None:
    assert Encoder(make_folder(files=files)).nesting == (4, 8, 16)


def test_nesting_dims_are_empty_when_unknown(make_folder: MakeFolder) -> None:
    assert Encoder(make_folder()).nesting == ()


def test_a_folder_may_want_a_layer_norm_before_the_prefix(make_folder: MakeFolder) -> None:
    files = {**MEAN, "nestling.json": {"layer_norm": True, "name": "normed"}}
    encoder = Encoder(make_folder(token_graph(), special=False, files=files))
    row = rows("cat")[0]
    centred = (row - row.mean()) / row.std()
    assert encoder.name == "normed"
    np.testing.assert_allclose(encoder.encode("cat", dim=6), unit(centred[:6]), atol=1e-5)


def test_special_tokens_can_be_left_out(make_folder: MakeFolder) -> None:
    folder = make_folder(special=True, files={"nestling.json": {"special_tokens": False}})
    np.testing.assert_allclose(Encoder(folder).encode("cat"), unit(rows("cat")[0]), atol=1e-6)


def test_the_graph_follows_the_precision(make_folder: MakeFolder) -> None:
    folder = make_folder(place="onnx/model.onnx")
    assert ModelFolder.read(folder).precision == "float32"  # the only one there is
    make_folder(place="onnx/model_quantized.onnx")
    assert ModelFolder.read(folder).graph.name == "model_quantized.onnx"
    assert ModelFolder.read(folder, precision="float32").graph.name == "model.onnx"
    assert Encoder(folder).precision == "int8"


def test_a_text_does_not_depend_on_its_batch_in_a_quantized_graph(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Activations quantized per batch would let a loud neighbour blur a quiet text."""
    generator = np.random.default_rng(3)
    quiet = table() * np.linspace(0.05, 3, len(WORDS), dtype=np.float32)[:, None]
    graph = token_graph()
    graph.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(quiet, "table"))
    weight = generator.standard_normal((DIM, DIM)).astype(np.float32)
    graph.graph.initializer.append(onnx.numpy_helper.from_array(weight, "weight"))
    graph.graph.node[-1].CopyFrom(
        helper.make_node("MatMul", ["rows", "weight"], ["last_hidden_state"])
    )
    folder = make_folder(graph, special=False, files=MEAN)
    save_int8(graph, folder / "onnx" / "model_int8.onnx")
    texts = ["[PAD]", "passage:", "cat", "[CLS] [SEP]", "query: passage:"]
    encoder = Encoder(folder)
    alone = np.stack([encoder.encode(text) for text in texts])
    np.testing.assert_allclose(encoder.encode(texts), alone, atol=1e-6)
    monkeypatch.setattr(encoder.embedder.graph, "one_by_one", False)
    assert np.abs(encoder.encode(texts) - alone).max() > 1e-3  # what is being avoided


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "tokenizer.json").unlink(), r"no tokenizer\.json.*AutoTokenizer"),
        (lambda f: (f / "tokenizer.json").write_text("{"), r"cannot read .*tokenizer\.json"),
        (lambda f: (f / "onnx/model.onnx").unlink(), r"no model\.onnx.*optimum-cli"),
        (lambda f: (f / "onnx/model.onnx").write_bytes(b"no"), r"cannot load .*model\.onnx"),
        (lambda f: (f / "1_Pooling/config.json").unlink(), r"no .*1_Pooling/config\.json"),
        (lambda f: (f / "1_Pooling/config.json").write_text("{"), r"cannot read .*config\.json"),
        (lambda f: (f / "1_Pooling/config.json").write_text("[]"), r"a JSON object, not list"),
        (
            lambda f: (f / "1_Pooling/config.json").write_text('{"pooling_mode": "median"}'),
            "the pooling 'median', which is not supported; these are: cls, max, mean, mean_sqrt",
        ),
        (
            lambda f: (f / "modules.json").write_text('[{"type": "a.Dense", "path": "2_Dense"}]'),
            r"the module a\.Dense of modules\.json is not supported",
        ),
        (
            lambda f: (f / "modules.json").write_text('[{"type": "a.Dense", "path": "../2"}]'),
            r"names the folder '\.\./2', which is outside",
        ),
        (lambda f: (f / "modules.json").write_text('{"a": 1}'), r"cannot read .*modules\.json"),
        (lambda f: (f / "nestling.json").write_text('{"nesting": [0]}'), "positive integers"),
        (
            lambda f: (f / "config_sentence_transformers.json").write_text('{"prompts": ["a"]}'),
            "should map names to strings",
        ),
    ],
)
def test_what_is_missing_or_malformed_is_named(
    make_folder: MakeFolder, change: Callable[[Path], object], message: str
) -> None:
    folder = make_folder(token_graph(), files=MEAN)
    change(folder)
    with pytest.raises(ModelError, match=message):
        Encoder(folder)


def test_inputs_that_an_encoder_cannot_give_are_named(make_folder: MakeFolder) -> None:
    inputs = ("input_ids", "attention_mask", "pixel_values")
    with pytest.raises(ModelError, match="has the input 'pixel_values'"):
        Encoder(make_folder(token_graph(inputs=inputs), files=MEAN))


def test_a_graph_of_fixed_length_is_refused(make_folder: MakeFolder) -> None:
    graph = token_graph()
    for entry in graph.graph.input:
        entry.type.tensor_type.shape.dim[1].dim_value = 8
    with pytest.raises(ModelError, match="dynamic axes"):
        Encoder(make_folder(graph, files=MEAN))


def test_a_graph_for_single_texts_gets_single_texts(make_folder: MakeFolder) -> None:
    graph = token_graph()
    for entry in graph.graph.input:
        entry.type.tensor_type.shape.dim[0].dim_value = 1
    encoder = Encoder(make_folder(graph, special=False, files=MEAN))
    np.testing.assert_allclose(
        encoder.encode(["cat", "dog"]), [unit(row) for row in rows("cat", "dog")], atol=1e-6
    )


def test_a_graph_without_embeddings_is_refused(make_folder: MakeFolder) -> None:
    graph = token_graph(output="a")
    graph.graph.output.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, None))
    graph.graph.node.append(helper.make_node("ReduceSum", ["a"], ["b"], keepdims=0))
    del graph.graph.output[0]
    with pytest.raises(ModelError, match="has the outputs b"):
        Encoder(make_folder(graph, files=MEAN))


def test_a_name_that_means_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="minilm, e5, wordllama"):
        Encoder("minlm")
    with pytest.raises(ModelNotFoundError, match="an existing folder, or a hub id"):
        Encoder(tmp_path / "absent")
