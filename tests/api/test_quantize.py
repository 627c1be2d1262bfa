"""Int8 graphs: exact products, scales that no other text changes, embeddings close to float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny_models
from bert_weights import Weights, random_bert
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import numpy_helper
from tiny_models import DIM, WORDS

from nestling.encoder import Encoder
from nestling.models.convert.bert import BertConfig, build_bert
from nestling.models.convert.calibrate import channel_peaks, sample_rows
from nestling.models.convert.graph import GraphBuilder
from nestling.models.convert.quantize import quantize_weights, save_int8

MakeFolder = Callable[..., Path]

CONFIG = BertConfig(heads=4, layers=2, epsilon=1e-12)
POSITIONS, INNER = 40, 64


def bert_weights() -> Weights:
    draw = np.random.default_rng(5)

    def normal(*shape: int) -> np.ndarray:
        return draw.normal(0, 0.3, shape).astype(np.float32)

    weights = random_bert(
        normal,
        vocabulary=len(WORDS),
        positions=POSITIONS,
        types=0,
        layers=CONFIG.layers,
        width=DIM,
        inner=INNER,
    )
    # Some channels of trained models go much further than others.
    weights["encoder.layer.0.output.LayerNorm.weight"][3] = 9
    return weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT in float32 and int8."""
    files = {"sentence_bert_config.json": {"max_seq_length": POSITIONS}}
    model = build_bert(bert_weights(), CONFIG)
    root = tmp_path_factory.mktemp("int8")
    folder = tiny_models.make_folder(root, model, place="onnx/model.onnx", files=files)
    graphs = folder / "onnx"
    save_int8(graphs / "model.onnx", graphs / "model_int8.onnx", sample_rows(folder))
    return folder


TEXT = st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=12), st.integers(1, 8))
def test_a_text_does_not_depend_on_its_batch(folder: Path, texts: list[str], size: int) -> None:
    encoder = opened(folder)
    together = encoder.encode(texts, batch_size=size)
    alone = np.stack([encoder.encode(text) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6, rtol=0)


_OPENED: dict[Path, Encoder] = {}


def opened(folder: Path) -> Encoder:
    if folder not in _OPENED:
        _OPENED[folder] = Encoder(folder, threads=1)
        assert _OPENED[folder].precision == "int8"
    return _OPENED[folder]


def test_texts_of_one_length_share_a_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = opened(folder)
    assert not encoder.embedder.one_by_one
    shapes = []
    run = encoder.embedder.graph.run
    monkeypatch.setattr(
        encoder.embedder.graph,
        "run",
        lambda ids, mask, *rest: (shapes.append(ids.shape), run(ids, mask, *rest))[1],
    )
    encoder.encode(["cat", "sun moon", "dog", "read write", "sun"])
    assert shapes == [(2, 4), (3, 3)]


def test_embeddings_stay_close_to_float32(folder: Path) -> None:
    texts = [" ".join(WORDS[4:n]) for n in range(5, len(WORDS))]
    exact = Encoder(folder, precision="float32").encode(texts)
    cosines = np.einsum("ij,ij->i", opened(folder).encode(texts), exact)
    assert cosines.mean() > 0.999
    assert cosines.min() > 0.998
    assert cosines.min() < 1 - 1e-7  # it is another graph


def test_every_product_with_weights_is_in_int8(folder: Path) -> None:
    graph = onnx.load(str(folder / "onnx" / "model_int8.onnx")).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    assert len(products) == 6 * CONFIG.layers
    for node in products:
        weights, scales = tensors[node.input[1]], tensors[node.input[3]]
        assert weights.dtype == np.int8
        assert scales.shape == weights.shape[1:]
        assert len(np.unique(scales)) > 1
    left = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in tensors]
    assert not left


def test_an_activation_of_several_products_is_quantized_once(folder: Path) -> None:
    graph = onnx.load(str(folder / "onnx" / "model_int8.onnx")).graph
    assert [node.op_type for node in graph.node].count("QuantizeLinear") == 4 * CONFIG.layers


def one_product(path: Path, weights: np.ndarray) -> None:
    """A graph that multiplies the rows of a table, of magnitudes far apart, by a matrix."""
    graph = GraphBuilder()
    table = np.ones((len(WORDS), len(weights)), np.float32)
    table *= 10.0 ** np.arange(-7, len(WORDS) - 7)[:, np.newaxis]
    table *= np.random.default_rng(2).uniform(-1, 1, table.shape).astype(np.float32)
    product = graph.linear(graph.embed(table.astype(np.float32)), weights.T)
    onnx.save(graph.model("product", tokens=product), str(path))


def test_each_row_has_a_scale_of_its_own(tmp_path: Path) -> None:
    weights = np.random.default_rng(1).standard_normal((DIM, 8)).astype(np.float32)
    one_product(tmp_path / "model.onnx", weights)
    save_int8(tmp_path / "model.onnx", tmp_path / "model_int8.onnx", [])
    ids = np.arange(len(WORDS))[np.newaxis]
    exact, got = (run(tmp_path / f"{name}.onnx", ids)[0] for name in ("model", "model_int8"))
    errors = np.linalg.norm(got - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert errors.max() < 0.03  # the smallest row is 10¹⁴ times smaller than the largest


def run(path: Path, ids: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    result: np.ndarray = session.run(None, feeds)[0]
    return result


@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 9), st.integers(1, 5)),
        elements=st.floats(-100, 100, allow_subnormal=False),
    )
)
def test_two_neighbouring_weights_never_overflow_16_bits(weights: np.ndarray) -> None:
    codes, scales = quantize_weights(weights)
    assert codes.shape == weights.shape
    assert scales.shape == weights.shape[1:]
    wide = codes.astype(np.int32)
    even = wide[: len(wide) // 2 * 2]
    for one, two in ((0, 0), (0, 255), (255, 0), (255, 255)):
        assert np.abs(one * even[::2] + two * even[1::2]).max(initial=0) < 2**15
    assert (np.abs(codes * scales - weights) <= scales * 0.501 + 1e-9).all()
    assert np.abs(wide).max() <= 127


def test_products_are_exact_where_16_bits_would_overflow(tmp_path: Path) -> None:
    """The largest activations meet the largest weights: AVX2 would saturate with plain int8."""
    graph = GraphBuilder()
    table = np.full((len(WORDS), DIM), 2, np.float32)
    product = graph.linear(graph.embed(table), np.ones((DIM, DIM), np.float32))
    onnx.save(graph.model("product", tokens=product), str(tmp_path / "model.onnx"))
    save_int8(tmp_path / "model.onnx", tmp_path / "model_int8.onnx", [])
    got = run(tmp_path / "model_int8.onnx", np.zeros((1, 1), np.int64))
    np.testing.assert_allclose(got, 2 * DIM, rtol=1e-2)


def test_peaks_are_the_largest_magnitudes_of_each_channel(tmp_path: Path) -> None:
    graph = GraphBuilder()
    table = np.random.default_rng(3).standard_normal((9, 4)).astype(np.float32)
    rows = graph.embed(table)
    onnx.save(graph.model("table", tokens=rows), str(tmp_path / "model.onnx"))
    found = channel_peaks(tmp_path / "model.onnx", [rows], [np.array([1, 2]), np.array([5])])
    np.testing.assert_allclose(found[rows], np.abs(table[[1, 2, 5]]).max(axis=0))
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_samples_are_the_same_every_time(folder: Path) -> None:
    first, second = sample_rows(folder), sample_rows(folder)
    assert len(first) > 100
    assert max(map(len, first)) == POSITIONS
    assert {int(row[0]) for row in first} == {WORDS.index("[CLS]")}
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)
