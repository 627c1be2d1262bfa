"""The weight of hybrid searches, fitted to judged questions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nestling.collection import Collection, WeightFit
from nestling.collection.query.weight import GRID, fit, gains
from nestling.errors import ArgumentError, StorageError
from nestling.evaluation import measure
from nestling.evaluation.judgements import Judgements

COUNT = 60
RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((COUNT, 32)).astype(np.float32)
TEXTS = [f"text number{i} of {i % 7}" for i in range(COUNT)]


def made(path: Path, passages: Any = None) -> Collection:
    collection = Collection(path, dim=32, passages=passages)
    collection.add(TEXTS, range(COUNT), vectors=VECTORS)
    return collection


def judged_by_meaning() -> list[list[int]]:
    """Words lead to other documents than meaning does."""
    return [[(number + 1) % COUNT] for number in range(COUNT)]


def test_gains_are_those_of_trec_eval() -> None:
    rankings = RNG.permuted(np.tile(np.arange(40), (30, 1)), axis=1)[:, :15]
    grades: list[Mapping[int, float]] = [
        {
            int(d): float(g)
            for d, g in zip(RNG.permutation(40)[:12], RNG.integers(1, 4, 12), strict=True)
        }
        for _ in rankings
    ]
    triples = [(q, d, int(g)) for q, each in enumerate(grades) for d, g in each.items()]
    judgements = Judgements(*map(list, zip(*triples, strict=True)), count=30)
    expected = measure(rankings, judgements, ["ndcg@10"])["ndcg@10"]
    assert gains(rankings.tolist(), grades) == pytest.approx(expected)


def test_the_fitted_weight_is_stored_and_used(tmp_path: Path) -> None:
    questions = {"vectors": VECTORS[[(i + 1) % COUNT for i in range(COUNT)]]}
    with made(tmp_path / "c") as collection:
        result = collection.fit_weight(TEXTS, judged_by_meaning(), **questions)
        assert result.questions == COUNT
        assert result.weight > 0.5
        assert result.ndcg > result.default_ndcg
        hits = collection.search(TEXTS, 5, mode="hybrid", include=(), **questions)
        same = collection.search(
            TEXTS, 5, mode="hybrid", include=(), weight=result.weight, **questions
        )
        assert hits == same
        assert [found.ids[0] for found in hits] == [str(ids[0]) for ids in judged_by_meaning()]
        half = collection.search(TEXTS, 5, mode="hybrid", include=(), weight=0.5, **questions)
        assert half != same
        by_ranks = {"mode": "hybrid", "include": (), "fusion": "rrf", **questions}
        assert collection.search(TEXTS, 5, **by_ranks) == collection.search(
            TEXTS, 5, weight=0.5, **by_ranks
        )
    with Collection(tmp_path / "c") as collection:
        assert collection.search(TEXTS, 5, mode="hybrid", include=(), **questions) == same
        collection.backup(tmp_path / "copy")
        collection.declare("year")
        assert collection.search(TEXTS, 5, mode="hybrid", include=(), **questions) == same
        assert collection.check().ok
    with Collection(tmp_path / "copy", read_only=True) as collection:
        assert collection.search(TEXTS, 5, mode="hybrid", include=(), **questions) == same
        with pytest.raises(StorageError, match="read"):
            collection.fit_weight(TEXTS, judged_by_meaning(), **questions)


def test_a_weight_for_ranks_is_another_one(tmp_path: Path) -> None:
    by_words: list[Any] = [{str(number): 2, "absent": 1} for number in range(COUNT)]
    with made(tmp_path / "c") as collection:
        questions = {"vectors": RNG.standard_normal((COUNT, 32)).astype(np.float32)}
        result = collection.fit_weight(TEXTS, by_words, fusion="rrf", **questions)
        assert result.weight < 0.5
        assert result.ndcg < 1, "a document that is not stored counts as relevant"
        assert collection._store.settings.weights == {"rrf": result.weight}


def test_documents_of_several_passages_count_by_their_best(tmp_path: Path) -> None:
    from nestling.collection import Passages

    with Collection(tmp_path / "c", dim=32, passages=Passages(20, 0)) as collection:
        collection.add(
            {"id": str(i), "text": f"{text}. {'other. ' * 9}", "spans": [(0, 15), (15, 30)],
             "vectors": [VECTORS[i], -VECTORS[i]]}
            for i, text in enumerate(TEXTS)
        )  # fmt: skip
        result = collection.fit_weight(TEXTS, [[i] for i in range(COUNT)], vectors=VECTORS)
        assert (result.weight, result.ndcg) == (0.5, 1.0)


def test_where_fitting_does_not_help_the_default_stays() -> None:
    values = np.random.default_rng(1).random((30, len(GRID)))
    values[:, GRID.index(0.5)] = 0.55  # the best but for chance
    assert values.mean(0).max() > 0.55
    result = fit(values)
    assert result.ndcg < result.default_ndcg
    assert result.weight == 0.5
    assert fit(np.ones((20, len(GRID)))) == WeightFit(0.5, 1.0, 1.0, 20)


@pytest.mark.parametrize(
    ("questions", "relevant", "message"),
    [
        (TEXTS[:19], [[0]] * 19, "19 questions with a relevant document are too few"),
        (TEXTS, [["absent"]] * COUNT, "0 questions"),
        (TEXTS, [{"0": 0}] * COUNT, "0 questions"),
        ([], [], "0 questions"),
        (TEXTS, [[0]] * 3, "3 lists of documents for 60 questions"),
        (TEXTS, ["0"] * COUNT, "a list of ids"),
        (TEXTS, [{"0": float("nan")}] * COUNT, "finite"),
        ("text", [[0]], "list of texts"),
        ([0.5], [[0]], "list of texts"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    questions: Any, relevant: Any, message: str, tmp_path: Path
) -> None:
    with made(tmp_path / "c") as collection, pytest.raises(ArgumentError, match=message):
        collection.fit_weight(questions, relevant, vectors=VECTORS[: len(questions)])


def test_a_weight_is_a_share_or_auto(tmp_path: Path) -> None:
    with made(tmp_path / "c") as collection:
        for weight in (-0.1, 1.1, float("nan"), "half"):
            with pytest.raises(ArgumentError, match="weight must be 0 to 1, or 'auto'"):
                collection.search("text", mode="hybrid", vectors=VECTORS[0], weight=weight)
