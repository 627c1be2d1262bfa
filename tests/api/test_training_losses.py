"""The losses equal the formulas of the papers in numpy: values, gradients, unit prefixes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from nestling.errors import ArgumentError  # noqa: E402
from nestling.training.losses import LossLog, nested_loss  # noqa: E402

DIM, BATCH = 32, 6
DIMS, WEIGHTS = [32, 16, 5, 2], [1.0, 0.5, 2.0, 0.25]

# torch warns of its own parts; what the losses compute is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Given(torch.nn.Module):
    """A model whose embeddings are given: a token pair is the position of a column and of a row.

    The losses may join columns in one call, so each row names its own.
    """

    def __init__(self, columns: list[np.ndarray]) -> None:
        super().__init__()
        self.rows = torch.nn.Parameter(torch.tensor(np.stack(columns), dtype=torch.float64))

    def __getitem__(self, position: int) -> torch.nn.Module:
        return self

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        column, row = features["input_ids"].T
        return {**features, "sentence_embedding": self.rows[column, row]}

    def get_embedding_dimension(self) -> int:
        return DIM


def columns(count: int) -> list[np.ndarray]:
    """Embeddings that are not at unit length, so that what is not normalised shows."""
    rng = np.random.default_rng(3)
    return [rng.normal(0, 2, (BATCH, DIM)) for _ in range(count)]


def features(count: int) -> list[dict[str, Any]]:
    tokens = [torch.tensor([[position, row] for row in range(BATCH)]) for position in range(count)]
    return [{"input_ids": t, "attention_mask": torch.ones_like(t)} for t in tokens]


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ranking(given: list[np.ndarray], dims: int, scale: float) -> float:
    """Mean of -log softmax of each question's own answer among all answers and negatives."""
    query, *others = (unit(column[:, :dims]) for column in given)
    scores = scale * query @ np.concatenate(others).T
    own = scores[np.arange(BATCH), np.arange(BATCH)]
    return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - own))


def cosent(given: list[np.ndarray], dims: int, scale: float, labels: np.ndarray) -> float:
    """log(1 + sum of exp(scale (cos_i - cos_j)) where j's label is the higher)."""
    first, second = (unit(column[:, :dims]) for column in given)
    cosines = scale * (first * second).sum(axis=1)
    total = 1.0
    for i in range(BATCH):
        for j in range(BATCH):
            if labels[i] < labels[j]:
                total += np.exp(cosines[i] - cosines[j])
    return float(np.log(total))


LABELS = np.array([0.0, 3.0, 1.0, 1.0, 5.0, 2.0])


@pytest.mark.parametrize("scale", [1.0, 20.0])
@pytest.mark.parametrize("negatives", [0, 1, 3])
def test_ranking_is_the_weighted_sum_over_prefixes(negatives: int, scale: float) -> None:
    given = columns(2 + negatives)
    loss, log = nested_loss(Given(given), DIMS, weights=WEIGHTS, scale=scale)
    got = loss(features(2 + negatives), None).item()
    expected = {dims: ranking(given, dims, scale) for dims in DIMS}
    assert got == pytest.approx(sum(w * expected[d] for d, w in zip(DIMS, WEIGHTS, strict=True)))
    assert log.take() == pytest.approx(expected)
    assert log.take() == {}


@pytest.mark.parametrize("scale", [1.0, 20.0])
def test_scored_pairs_are_the_weighted_sum_over_prefixes(scale: float) -> None:
    given = columns(2)
    loss, log = nested_loss(Given(given), DIMS, kind="scored", weights=WEIGHTS, scale=scale)
    got = loss(features(2), torch.tensor(LABELS)).item()
    expected = {dims: cosent(given, dims, scale, LABELS) for dims in DIMS}
    assert got == pytest.approx(sum(w * expected[d] for d, w in zip(DIMS, WEIGHTS, strict=True)))
    assert log.take() == pytest.approx(expected)


def test_weights_default_to_one_and_belong_to_their_dims() -> None:
    given = columns(2)
    for dims, weights in (([2, 32], None), ([2, 32], [1.0, 3.0]), ([32, 2], [3.0, 1.0])):
        loss, _ = nested_loss(Given(given), dims, weights=weights)
        whole = 1 if weights is None else 3
        expected = whole * ranking(given, 32, 20.0) + ranking(given, 2, 20.0)
        assert loss(features(2), None).item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["ranking", "scored"])
def test_every_prefix_reaches_the_loss_at_unit_length(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers.sentence_transformer import losses

    seen: dict[int, list[np.ndarray]] = {}
    base = losses.CoSENTLoss if kind == "scored" else losses.MultipleNegativesRankingLoss
    inner = base.compute_loss_from_embeddings

    def spy(self: Any, embeddings: Any, labels: Any) -> Any:
        seen[embeddings[0].shape[1]] = [e.detach().numpy() for e in embeddings]
        return inner(self, embeddings, labels)

    monkeypatch.setattr(base, "compute_loss_from_embeddings", spy)
    given = columns(2)
    loss, _ = nested_loss(Given(given), DIMS, kind=kind)
    loss(features(2), torch.tensor(LABELS))
    assert sorted(seen) == sorted(DIMS)
    for dims, prefixes in seen.items():
        for prefix, column in zip(prefixes, given, strict=True):
            np.testing.assert_allclose(prefix, unit(column[:, :dims]), atol=1e-12)


def gradient(value: Callable[[list[np.ndarray]], float], given: list[np.ndarray]) -> np.ndarray:
    """Of the first column, by central differences."""
    found = np.zeros_like(given[0])
    for position in np.ndindex(*found.shape):
        for sign in (1, -1):
            moved = given[0].copy()
            moved[position] += sign * 1e-5
            found[position] += sign * value([moved, *given[1:]]) / 2e-5
    return found


@pytest.mark.parametrize("mini_batch", [None, 4])
def test_gradients_are_those_of_the_formula_cached_or_not(mini_batch: int | None) -> None:
    given = columns(3)

    def value(columns: list[np.ndarray]) -> float:
        return sum(w * ranking(columns, d, 20.0) for d, w in zip(DIMS, WEIGHTS, strict=True))

    model = Given(given)
    loss, log = nested_loss(model, DIMS, weights=WEIGHTS, mini_batch=mini_batch)
    total = loss(features(3), None)
    total.backward()
    assert total.item() == pytest.approx(value(given))
    assert log.take() == pytest.approx({dims: ranking(given, dims, 20.0) for dims in DIMS})
    expected = gradient(value, given)
    np.testing.assert_allclose(model.rows.grad[0].numpy(), expected, atol=1e-6)


def test_a_log_gives_means_longest_first() -> None:
    log = LossLog()
    for dims, value in ((2, 1.0), (32, 4.0), (2, 2.0)):
        log.add(dims, torch.tensor(value))
    assert list(log.take().items()) == [(32, 4.0), (2, 1.5)]


def test_arguments_that_do_not_fit_are_refused() -> None:
    model = Given(columns(2))
    for dims, options, message in (
        ([33], {}, r"dims must be 1 to 32, not \[33\]"),
        ([0], {}, "dims must be 1 to 32"),
        ([], {}, "at least one"),
        ([32, 2], {"weights": [1.0]}, "1 weights for 2 dims"),
        ([32], {"kind": "scored", "mini_batch": 2}, "no cached form"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            nested_loss(model, dims, **options)
        assert isinstance(error.value, ArgumentError)
