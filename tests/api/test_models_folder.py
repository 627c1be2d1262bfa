"""Model folders: what is read from which file, and what is said when something is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic
from safetensors.numpy import save_file
from tiny_models import DIM, WORDS, modules_listing, table, token_graph

from nestling.encoder import Encoder
from nestling.errors import ModelError, ModelNotFoundError, TruncationWarning
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
        {"config.json": {"model_type": "roberta"}},
    ],
    ids=["pooling", "prompt", "length", "case", "side", "norm", "dim", "positions"],
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
    (folder / "onnx").mkdir(exist_ok=True)
    target = folder / "onnx" / "model_int8.onnx"
    quantize_dynamic(graph, target, op_types_to_quantize=["MatMul"])
    texts = ["[PAD]", "passage:", "cat", "[CLS] [SEP]", "query: passage:"]
    encoder = Encoder(folder)
    alone = np.stack([encoder.encode(text) for text in texts])
    np.testing.assert_allclose(encoder.encode(texts), alone, atol=1e-6)
    monkeypatch.setattr(encoder.embedder.graph, "one_by_one", False)
    monkeypatch.setattr(encoder.embedder.graph, "padding", True)
    assert np.abs(encoder.encode(texts) - alone).max() > 1e-3  # what is being avoided


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "tokenizer.json").unlink(), r"no tokenizer\.json.*AutoTokenizer"),
        (lambda f: (f / "tokenizer.json").write_text("{"), r"cannot read .*tokenizer\.json"),
        (lambda f: (f / "onnx/model.onnx").unlink(), r"no model\.onnx.*nor model\.safetensors"),
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
            r"modules\.json begins with a a\.Dense, which is not supported",
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


def test_inputs_of_other_ranks_are_refused(make_folder: MakeFolder) -> None:
    graph = token_graph()
    del graph.graph.input[1].type.tensor_type.shape.dim[1]
    with pytest.raises(ModelError, match="takes 'attention_mask' only in the shape"):
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


# What a graph takes and gives


def save_dense(folder: Path, out: int, *, into: int = DIM) -> np.ndarray:
    """Writes 2_Dense, without a bias and an activation; returns its matrix."""
    matrix = np.random.default_rng(5).standard_normal((out, into)).astype(np.float32)
    place = folder / "2_Dense"
    place.mkdir(exist_ok=True)
    config = {"in_features": into, "out_features": out, "bias": False}
    config["activation_function"] = "torch.nn.modules.linear.Identity"
    (place / "config.json").write_text(json.dumps(config))
    save_file({"linear.weight": matrix}, place / "model.safetensors")
    return matrix


DENSE = MEAN | {"modules.json": modules_listing("Pooling", "Dense", "Normalize")}
STATIC = [
    {"path": "", "type": "sentence_transformers.models.StaticEmbedding"},
    {"path": "1_Normalize", "type": "sentence_transformers.models.Normalize"},
]


def both_outputs() -> onnx.ModelProto:
    """Token embeddings, and as the pooled output something else than their mean."""
    graph = token_graph()
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    graph.graph.initializer.append(axes)
    node = helper.make_node("ReduceMax", ["rows", "axes"], ["sentence_embedding"], keepdims=0)
    graph.graph.node.append(node)
    output = helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["batch", DIM])
    graph.graph.output.append(output)
    return graph


def flat_graph() -> onnx.ModelProto:
    """The sums of the rows of each text, from ids without padding: as model2vec publishes it."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Shape", ["input_ids"], ["count"]),
        helper.make_node("Range", ["zero", "count_0", "one"], ["numbers"]),
        helper.make_node("Squeeze", ["count"], ["count_0"]),
        helper.make_node("Unsqueeze", ["offsets", "last"], ["starts"]),
        helper.make_node("GreaterOrEqual", ["numbers", "starts"], ["after"]),
        helper.make_node("Cast", ["after"], ["after_f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["after_f", "rows"], ["from_start"]),  # of this text and later
        helper.make_node("Slice", ["from_start", "one_1", "end"], ["later"]),
        helper.make_node("Pad", ["later", "pads"], ["next"]),
        helper.make_node("Sub", ["from_start", "next"], ["embeddings"]),
    ]
    nodes = [nodes[i] for i in (0, 1, 3, 2, *range(4, len(nodes)))]
    constants = {
        "zero": np.int64(0),
        "one": np.int64(1),
        "last": [1],
        "one_1": [1],
        "end": [2**62],
        "pads": [0, 0, 1, 0],
    }
    graph = helper.make_graph(
        nodes,
        "flat",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["tokens"]),
            helper.make_tensor_value_info("offsets", TensorProto.INT64, ["texts"]),
        ],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["texts", DIM])],
        [
            numpy_helper.from_array(table(), "table"),
            *(numpy_helper.from_array(np.array(v, np.int64), k) for k, v in constants.items()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    return model


def test_modules_are_run_in_their_order(make_folder: MakeFolder) -> None:
    folder = make_folder(token_graph(), special=False, files=DENSE)
    matrix = save_dense(folder, 5)
    encoder = Encoder(folder)
    assert encoder.dim == 5
    expected = unit(matrix @ rows("cat", "dog").mean(axis=0))
    np.testing.assert_allclose(encoder.encode("cat dog"), expected, atol=1e-6)
    first = encoder.fingerprint
    save_dense(folder, 6)
    assert Encoder(folder).fingerprint != first  # the weights count


def test_listed_modules_have_priority_over_a_graph_that_pools(make_folder: MakeFolder) -> None:
    listed = Encoder(make_folder(both_outputs(), special=False, files=MEAN))
    expected = unit(rows("cat", "dog").mean(axis=0))
    np.testing.assert_allclose(listed.encode("cat dog"), expected, atol=1e-6)
    plain = Encoder(make_folder(both_outputs(), special=False, name="plain"))
    expected = unit(rows("cat", "dog").max(axis=0))
    np.testing.assert_allclose(plain.encode("cat dog"), expected, atol=1e-6)


def test_a_graph_of_the_whole_model_may_hold_modules_that_cannot_be_run(
    make_folder: MakeFolder,
) -> None:
    files = {"modules.json": modules_listing("WordWeights", "Pooling")} | MEAN
    files["2_Pooling/config.json"] = files["1_Pooling/config.json"]
    whole = Encoder(make_folder(both_outputs(), special=False, files=files))
    assert (whole.dim, len(whole.fingerprint)) == (DIM, 16)
    moved = Encoder(whole.path.rename(whole.path.with_name("moved")))
    assert moved.fingerprint == whole.fingerprint
    with pytest.raises(ModelError, match=r"module sentence_transformers\.models\.WordWeights"):
        Encoder(make_folder(token_graph(), name="tokens", files=files))


def test_a_graph_that_lacks_the_last_module_is_refused(make_folder: MakeFolder) -> None:
    folder = make_folder(files=DENSE)  # it pools
    save_dense(folder, 5)
    with pytest.raises(ModelError, match=f"has {DIM} dims, but the modules .* give 5"):
        Encoder(folder)


def test_a_graph_that_pools_cannot_leave_the_prompt_out(make_folder: MakeFolder) -> None:
    config = {"1_Pooling/config.json": {"pooling_mode": "mean", "include_prompt": False}}
    prompts = {"config_sentence_transformers.json": {"prompts": {"query": "query: sun "}}}
    with pytest.raises(ModelError, match="include_prompt"):
        Encoder(make_folder(files=config | prompts))
    plain = make_folder(name="plain", files=config)
    assert Encoder(plain).dim == DIM  # there is nothing to leave out
    with pytest.raises(ModelError, match="include_prompt"):
        Encoder(plain, document_prompt="cat ")
    folder = make_folder(token_graph(), name="tokens", special=False, files=config | prompts)
    encoder = Encoder(folder)
    expected = unit(rows("cat", "dog").mean(axis=0))
    for batch in (["cat dog"], ["cat dog", "moon", ""]):
        np.testing.assert_allclose(encoder.encode_queries(batch)[0], expected, atol=1e-6)
    assert Encoder(folder, query_prompt="sun sun ").embedder.prompt_length("sun sun ") == 2


def test_positions_are_counted_from_the_padding_as_in_roberta(make_folder: MakeFolder) -> None:
    inputs = ("input_ids", "attention_mask", "position_ids")
    files = MEAN | {"config.json": {"model_type": "xlm-roberta", "pad_token_id": 0}}
    encoder = Encoder(make_folder(token_graph(inputs=inputs), special=False, files=files))
    texts = ["cat dog sun", "cat"]
    for text, got in zip(texts, encoder.encode(texts), strict=True):
        words = rows(*text.split())
        summed = (words + np.arange(1, len(words) + 1)[:, None]).mean(axis=0)
        np.testing.assert_allclose(got, unit(summed), atol=1e-6)
    ids = np.array([[4, 0, 5]])  # the padding id itself, in a text
    tokens = encoder.embedder.graph.run(ids, np.ones_like(ids))[0]
    np.testing.assert_allclose(tokens, table()[ids[0]] + np.array([[1], [0], [2]]), atol=1e-6)


@pytest.mark.parametrize(
    "kind",
    [
        *("sentence_transformers.models.Router", "sentence_transformers.models.CLIPModel"),
        *("custom_st.Transformer", "sentence_transformers.models.WordEmbeddings"),
    ],
)
def test_a_model_that_begins_otherwise_is_refused_whatever_its_graph_gives(
    make_folder: MakeFolder, kind: str
) -> None:
    listing = modules_listing("Pooling")
    listing[0]["type"] = kind
    with pytest.raises(ModelError, match=f"begins with a {kind}, which is not supported"):
        Encoder(make_folder(both_outputs(), files=MEAN | {"modules.json": listing}))


@pytest.mark.parametrize("listed", [True, False])
def test_ids_without_padding_come_with_the_offsets_of_texts(
    make_folder: MakeFolder, listed: bool
) -> None:
    files = {"modules.json": STATIC} if listed else {"config.json": {"model_type": "model2vec"}}
    encoder = Encoder(make_folder(flat_graph(), special=True, files=files))
    texts = ["cat dog sun", "", "moon", "read write cat"]
    got = encoder.encode(texts)
    assert encoder.dim == DIM
    assert not got[1].any()  # no special tokens
    for i in (0, 2, 3):
        np.testing.assert_allclose(got[i], unit(rows(*texts[i].split()).sum(0)), atol=1e-6)
        np.testing.assert_allclose(encoder.encode(texts[i]), got[i], atol=1e-6)


def test_ids_of_one_dimension_need_their_offsets(make_folder: MakeFolder) -> None:
    graph = flat_graph()
    del graph.graph.input[1]
    graph.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), "offsets"))
    with pytest.raises(ModelError, match="ids of one dimension need the offsets"):
        Encoder(make_folder(graph, files={"modules.json": STATIC}))


def test_a_graph_without_a_mask_gets_one_text_at_a_time(make_folder: MakeFolder) -> None:
    graph = both_outputs()
    del graph.graph.output[0], graph.graph.input[1]
    folder = make_folder(graph, special=False)
    encoder = Encoder(folder)
    texts = ["cat dog sun", "moon", "read write"]
    for text, got in zip(texts, encoder.encode(texts), strict=True):
        np.testing.assert_allclose(got, unit(rows(*text.split()).max(axis=0)), atol=1e-6)


def test_the_transformer_may_have_its_own_folder(make_folder: MakeFolder) -> None:
    listing = modules_listing("Pooling")
    listing[0]["path"] = "0_Transformer"
    files = MEAN | {"modules.json": listing}
    folder = make_folder(
        token_graph(), place="0_Transformer/model.onnx", special=False, files=files
    )
    (folder / "tokenizer.json").rename(folder / "0_Transformer" / "tokenizer.json")
    (folder / "0_Transformer" / "sentence_roberta_config.json").write_text('{"max_seq_length": 2}')
    encoder = Encoder(folder)
    assert (encoder.max_length, encoder.path) == (2, folder)
    with pytest.warns(TruncationWarning):
        got = encoder.encode("cat dog sun")
    np.testing.assert_allclose(got, unit(rows("cat", "dog").mean(axis=0)), atol=1e-6)


def test_long_texts_are_cut_on_the_side_that_the_folder_names(make_folder: MakeFolder) -> None:
    files = MEAN | {
        "sentence_bert_config.json": {"max_seq_length": 2},
        "tokenizer_config.json": {"truncation_side": "left"},
    }
    encoder = Encoder(make_folder(token_graph(), special=False, files=files))
    words = ["cat", "dog", "sun", "moon"] * 40
    with pytest.warns(TruncationWarning):
        got = encoder.encode([" ".join(words), "cat dog sun", "x" * 500 + " read write"])
    ends = [("sun", "moon"), ("dog", "sun"), ("read", "write")]
    expected = [unit(rows(*end).mean(axis=0)) for end in ends]
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_folder_may_keep_some_dimensions_only(make_folder: MakeFolder) -> None:
    files = MEAN | {"config_sentence_transformers.json": {"truncate_dim": 6}}
    encoder = Encoder(make_folder(token_graph(), special=False, files=files))
    assert encoder.dim == 6
    np.testing.assert_allclose(encoder.encode("cat"), unit(rows("cat")[0, :6]), atol=1e-6)
    np.testing.assert_allclose(encoder.encode("cat", dim=4), unit(rows("cat")[0, :4]), atol=1e-6)


@pytest.mark.parametrize(
    ("prompts", "document", "query"),
    [
        ({"retrieval.query": "query: ", "retrieval.passage": "passage: "}, True, True),
        ({"search_query": "query: ", "search_document": "passage: "}, True, True),
        ({"s2p_query": "query: ", "s2s_query": "cat "}, False, True),
        ({"query": "", "s2p_query": "query: ", "corpus": "passage: "}, True, False),
        ({"query": "query: ", "document": "", "passage": "passage: "}, False, True),
    ],
)
def test_prompts_have_many_names(
    make_folder: MakeFolder, prompts: dict[str, str], document: bool, query: bool
) -> None:
    files = {"config_sentence_transformers.json": {"prompts": prompts}}
    encoder = Encoder(make_folder(files=files))
    assert encoder.document_prompt == ("passage: " if document else "")
    assert encoder.query_prompt == ("query: " if query else "")


def test_the_default_prompt_of_queries_is_not_put_before_documents(
    make_folder: MakeFolder,
) -> None:
    config = {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    encoder = Encoder(make_folder(files={"config_sentence_transformers.json": config}))
    assert (encoder.document_prompt, encoder.query_prompt) == ("", "query: ")


def test_a_default_prompt_must_be_one_of_the_prompts(make_folder: MakeFolder) -> None:
    config = {"prompts": {"query": "query: "}, "default_prompt_name": "absent"}
    with pytest.raises(ModelError, match="the default prompt is 'absent', and the prompts are"):
        Encoder(make_folder(files={"config_sentence_transformers.json": config}))


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        # Beyond a table of positions, nothing can be read.
        ({"sentence_bert_config.json": {"max_seq_length": 99}}, 40),
        ({"sentence_xlnet_config.json": {"max_seq_length": 7}}, 7),
        ({"sentence_bert_config.json": {"processor_kwargs": {"model_max_length": 9}}}, 9),
        (
            {
                "sentence_bert_config.json": {"max_seq_length": 99},
                "config.json": {"model_type": "roberta", "max_position_embeddings": 40},
            },
            38,
        ),
        (  # rotary positions have no table
            {
                "sentence_bert_config.json": {"max_seq_length": 99},
                "config.json": {"model_type": "modernbert", "max_position_embeddings": 40},
            },
            99,
        ),
    ],
)
def test_a_length_beyond_the_positions_is_cut_to_them(
    make_folder: MakeFolder, files: dict[str, Any], limit: int
) -> None:
    config = {"config.json": {"model_type": "bert", "max_position_embeddings": 40}}
    assert Encoder(make_folder(files=config | files)).max_length == limit


def test_tokens_of_several_types_are_refused_where_they_count(make_folder: MakeFolder) -> None:
    inputs = ("input_ids", "attention_mask", "token_type_ids")
    folder = make_folder(token_graph(inputs=inputs), special=True, files=MEAN)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["post_processor"]["single"][-1]["SpecialToken"]["type_id"] = 2  # as XLNet has it
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelError, match="tokens of several types"):
        Encoder(folder)
