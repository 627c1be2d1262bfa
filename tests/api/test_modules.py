"""The modules after the transformer, against loops over texts and tokens."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from nestling.errors import ModelError
from nestling.runtime.modules import (
    ACTIVATIONS,
    POOLINGS,
    Dense,
    LayerNorm,
    Normalize,
    Pooling,
    Tail,
    Unsupported,
    layer_norm,
    normalise,
    read_module,
    read_pooling,
)
from nestling.runtime.weights import read_tensors

Rows = list[np.ndarray]  # the token embeddings of each text


def mean_by_loop(rows: np.ndarray, weights: list[float]) -> np.ndarray:
    total = np.zeros(rows.shape[1])
    for row, weight in zip(rows, weights, strict=True):
        total += row * weight
    return total / max(sum(weights), 1e-9)


def pooled_by_loop(mode: str, rows: np.ndarray, skip: int) -> np.ndarray:
    """What sentence-transformers defines, for the tokens of one text."""
    shown = [int(i >= skip) for i in range(len(rows))]
    left = [row for row, one in zip(rows, shown, strict=True) if one]
    if mode == "cls":
        return left[0] if left else rows[0]
    if mode == "lasttoken":
        return left[-1] if left else np.zeros(rows.shape[1])
    if mode == "max":
        return np.max(left, axis=0) if left else np.zeros(rows.shape[1])
    if mode == "mean_sqrt_len_tokens":
        return mean_by_loop(rows, shown) * math.sqrt(sum(shown))
    if mode == "weightedmean":
        return mean_by_loop(rows, [one * (i + 1) for i, one in enumerate(shown)])
    return mean_by_loop(rows, shown)


def padded(texts: Rows, value: float) -> tuple[np.ndarray, np.ndarray]:
    """Token embeddings and mask of a batch; what is padding has this value."""
    longest = max(map(len, texts))
    tokens = np.full((len(texts), longest, texts[0].shape[1]), value, np.float32)
    mask = np.zeros((len(texts), longest), np.int64)
    for i, rows in enumerate(texts):
        tokens[i, : len(rows)], mask[i, : len(rows)] = rows, 1
    return tokens, mask


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    dim=st.integers(1, 5),
    modes=st.lists(st.sampled_from(sorted(POOLINGS)), min_size=1, max_size=4),
    skip=st.integers(0, 10),
    include_prompt=st.booleans(),
    padding=st.sampled_from([0.0, 7.5, -1e4]),
    seed=st.integers(0, 99),
)
def test_poolings_are_those_of_a_loop(
    lengths: list[int],
    dim: int,
    modes: list[str],
    skip: int,
    include_prompt: bool,
    padding: float,
    seed: int,
) -> None:
    draw = np.random.default_rng(seed)
    texts = [draw.standard_normal((length, dim), dtype=np.float32) for length in lengths]
    tail = Tail([Pooling(tuple(modes), include_prompt), Normalize()])
    assert tail.include_prompt == include_prompt
    tokens, mask = padded(texts, padding)
    before = mask.copy()
    got = tail.run(tokens, mask, skip)
    left_out = 0 if include_prompt else skip
    for i, rows in enumerate(texts):
        wanted = np.concatenate([pooled_by_loop(mode, rows, left_out) for mode in modes])
        np.testing.assert_allclose(got[i], wanted, rtol=1e-5, atol=1e-5)
        alone = tail.run(*padded([rows], 0), skip)[0]
        np.testing.assert_allclose(got[i], alone, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(mask, before)  # what was given is left alone


def dense_folder(folder: Path, config: dict[str, Any], **tensors: np.ndarray) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name.replace("_", "."): t for name, t in tensors.items()}, folder / WEIGHTS)
    return folder


WEIGHTS = "model.safetensors"
ERF = np.vectorize(math.erf)
BY_HAND: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Identity": lambda x: x,
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
    "ReLU6": lambda x: np.clip(x, 0, 6),
    "LeakyReLU": lambda x: np.where(x > 0, x, 0.01 * x),
    "GELU": lambda x: x / 2 * (1 + ERF(x / math.sqrt(2))),
    "SiLU": lambda x: x / (1 + np.exp(-x)),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "ELU": lambda x: np.where(x > 0, x, np.exp(x) - 1),
    "Softplus": lambda x: np.log1p(np.exp(x)),
    "Mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "Hardtanh": lambda x: np.clip(x, -1, 1),
    "Softsign": lambda x: x / (1 + abs(x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_what_their_formulas_say(name: str) -> None:
    x = np.linspace(-12, 12, 4_001, dtype=np.float32)
    got = ACTIVATIONS[name](x)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, BY_HAND[name](x.astype(np.float64)), rtol=2e-6, atol=2e-7)
    far = ACTIVATIONS[name](np.array([-1e4, 1e4], np.float32))
    assert np.isfinite(far).all()


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("out", [4, 6])
def test_a_dense_layer_is_a_product(tmp_path: Path, out: int, bias: bool, residual: bool) -> None:
    draw = np.random.default_rng(1)
    tensors = {"linear_weight": draw.standard_normal((out, 6)).astype(np.float32)}
    if bias:
        tensors["linear_bias"] = draw.standard_normal(out).astype(np.float32)
    if residual and out != 6:
        tensors["residual_weight"] = draw.standard_normal((out, 6)).astype(np.float32)
    config = {
        "in_features": 6,
        "out_features": out,
        "bias": bias,
        "use_residual": residual,
        "activation_function": "torch.nn.modules.activation.Sigmoid",
    }
    folder = dense_folder(tmp_path / "2_Dense", config, **tensors)
    module = read_module("sentence_transformers.models.Dense", folder)
    assert isinstance(module, Dense)
    x = draw.standard_normal((3, 6)).astype(np.float32)
    wanted = 1 / (1 + np.exp(-(x @ tensors["linear_weight"].T + tensors.get("linear_bias", 0))))
    if residual:
        wanted = wanted + (x @ tensors["residual_weight"].T if out != 6 else x)
    got = Tail([module], pooled=True).run(x, np.ones((3, 1), np.int64))
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_a_layer_norm_has_a_gain_and_a_bias(tmp_path: Path) -> None:
    gain, bias = (np.arange(n, n + 4, dtype=np.float32) for n in (1, -2))
    folder = dense_folder(tmp_path / "2", {"dimension": 4}, norm_weight=gain, norm_bias=bias)
    module = read_module("sentence_transformers.models.LayerNorm", folder)
    assert isinstance(module, LayerNorm)
    x = np.random.default_rng(2).standard_normal((5, 4)).astype(np.float32)
    got = Tail([module], pooled=True).run(x, np.ones((5, 1), np.int64))
    np.testing.assert_allclose(got, layer_norm(x) * gain + bias, atol=1e-6)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"linear_weight": np.ones((2, 3), np.float32)}, "expected linear.weight, linear.bias"),
        (
            {n: np.ones((2, 3), np.float32) for n in ("linear_weight", "linear_bias", "more")},
            "has the tensors linear.bias, linear.weight, more",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    tmp_path: Path, tensors: dict[str, np.ndarray], message: str
) -> None:
    folder = dense_folder(tmp_path / "2_Dense", {}, **tensors)
    module = read_module("sentence_transformers.models.Dense", folder)
    assert module is not None
    with pytest.raises(ModelError, match=message):
        Tail([module], pooled=True)


@pytest.mark.parametrize(
    ("modules", "pooled", "message"),
    [
        ((), False, "no module pools"),
        ((Pooling(), Pooling()), False, "pooled already"),
        ((Pooling(),), True, "pooled already"),
        ((Normalize(), Pooling()), False, "Normalize expects pooled embeddings"),
        ((Pooling(), Normalize(tokens=True)), False, "Normalize expects token embeddings"),
    ],
)
def test_modules_in_an_order_that_cannot_be_run_are_refused(
    modules: tuple[Any, ...], pooled: bool, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        Tail(modules, pooled=pooled)


@pytest.mark.parametrize(
    ("config", "modes"),
    [
        ({}, ("mean",)),
        ({"pooling_mode_mean_tokens": False}, ("mean",)),
        ({"pooling_mode": "mean_sqrt_len_tokens"}, ("mean_sqrt_len_tokens",)),
        ({"pooling_mode": ["lasttoken", "cls"]}, ("lasttoken", "cls")),
        ({"pooling_mode_mean_tokens": 1, "pooling_mode_cls_token": 1}, ("cls", "mean")),
        ({"pooling_mode": "max", "pooling_mode_cls_token": True}, ("max",)),
    ],
)
def test_every_spelling_of_a_pooling_is_read(
    tmp_path: Path, config: dict[str, Any], modes: tuple[str, ...]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_pooling(tmp_path).modes == modes


@pytest.mark.parametrize("value", ["median", [], ["mean", "median"], 3, [["mean"]], {"mean": 1}])
def test_other_poolings_are_refused(tmp_path: Path, value: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"pooling_mode": value}))
    with pytest.raises(ModelError, match="which is not supported; these are: cls, max, mean"):
        read_pooling(tmp_path)


@pytest.mark.parametrize(
    "kind",
    [
        *("CNN", "LSTM", "WeightedLayerPooling", "WordWeights", "BoW", "Router", "Asym"),
        "WordEmbeddings",
    ],
)
def test_other_modules_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    module = read_module(f"sentence_transformers.models.{kind}", tmp_path)
    assert module == Unsupported(f"sentence_transformers.models.{kind}", "is not supported")
    custom = read_module(f"modeling_mine.{kind}", tmp_path)
    assert isinstance(custom, Unsupported)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "F64"])
def test_weights_of_every_width_are_read(tmp_path: Path, kind: str) -> None:
    values = np.array([[1.5, -2, 0.25], [3, 1e-2, -7]], np.float32)
    if kind == "BF16":  # the upper half of a float32
        values = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
        data = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    else:
        data = values.astype({"F32": "<f4", "F16": "<f2", "F64": "<f8"}[kind]).tobytes()
    entry = {"dtype": kind, "shape": [2, 3], "data_offsets": [0, len(data)]}
    header = json.dumps({"x": entry}).encode()
    path = tmp_path / WEIGHTS
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    (got,) = read_tensors(path).values()
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, values, rtol=1e-3 if kind == "F16" else 0)


def test_weights_that_are_not_floats_or_not_whole_are_refused(tmp_path: Path) -> None:
    path = tmp_path / WEIGHTS
    save_file({"x": np.ones(3, np.int32)}, path)
    with pytest.raises(ModelError, match="holds 'x' as I32"):
        read_tensors(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ModelError, match="cannot read"):
        read_tensors(path)


def test_rows_get_unit_length_and_zero_rows_stay_zero() -> None:
    rows = np.array([[3, 4], [0, 0], [-2, 0], [0, 1e-18]], np.float32)
    unit = normalise(rows)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0, 0], [-1, 0], [0, 1]], rtol=1e-6)
    np.testing.assert_array_equal(rows[0], [3, 4])  # what was given is left alone


def test_a_row_whose_squares_vanish_counts_as_zero() -> None:
    assert not normalise(np.array([[1e-30, -1e-30]], np.float32)).any()


@pytest.mark.parametrize("dim", [1, 7, 384])
def test_a_row_has_the_same_bits_in_any_company(dim: int) -> None:
    rows = np.random.default_rng(dim).standard_normal((9, dim), dtype=np.float32)
    together = normalise(rows)
    np.testing.assert_array_equal(together, np.concatenate([normalise(r[None]) for r in rows]))


def test_what_is_not_a_number_is_not_hidden() -> None:
    rows = normalise(np.array([[np.nan, 1], [1, 0]], np.float32))
    assert np.isnan(rows[0, 0])
    np.testing.assert_array_equal(rows[1], [1, 0])
