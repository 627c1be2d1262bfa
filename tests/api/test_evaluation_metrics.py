"""Measures of rankings: against a naive oracle, trec_eval's own code, and ranx."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.errors import ArgumentError
from nestling.evaluation import measure
from nestling.evaluation.judgements import Judgements
from nestling.evaluation.metrics import DEFAULT_METRICS, parse_metric

DOCUMENTS, DEPTH = 12, 8
CUTS = (1, 3, 5, 10)
NAMES = [f"{kind}@{k}" for kind in ("ndcg", "mrr", "map", "recall", "precision", "success")
         for k in CUTS]  # fmt: skip

Case = tuple[list[list[int]], list[dict[int, int]]]


@st.composite
def cases(draw: st.DrawFn, *, least_grade: int = -1) -> Case:
    """Rankings of a few questions, some shorter than others, and their judgements."""
    count = draw(st.integers(1, 4))
    places = st.integers(0, DOCUMENTS - 1)
    rankings = [draw(st.lists(places, max_size=DEPTH, unique=True)) for _ in range(count)]
    grades = st.integers(least_grade, 3)
    return rankings, [draw(st.dictionaries(places, grades, max_size=6)) for _ in range(count)]


def as_arrays(case: Case) -> tuple[np.ndarray, Judgements]:
    rankings, judged = case
    matrix = np.full((len(rankings), DEPTH), -1, np.int64)
    for row, ranking in zip(matrix, rankings, strict=True):
        row[: len(ranking)] = ranking
    triples = [(q, d, g) for q, grades in enumerate(judged) for d, g in grades.items()]
    columns = np.array(triples, np.int64).reshape(-1, 3).T
    return matrix, Judgements(*columns, count=len(rankings))


def naive(name: str, ranking: list[int], judged: dict[int, int]) -> float:
    kind, k = parse_metric(name)
    gains = [max(judged.get(document, 0), 0) for document in ranking[:k]]
    relevant = sum(grade > 0 for grade in judged.values())
    if kind == "precision":
        return sum(gain > 0 for gain in gains) / k
    if relevant == 0:
        return 0.0
    if kind == "ndcg":
        best = sorted((grade for grade in judged.values() if grade > 0), reverse=True)[:k]
        sums = [sum(g / math.log2(i + 2) for i, g in enumerate(row)) for row in (gains, best)]
        return sums[0] / sums[1]
    ranks = [rank for rank, gain in enumerate(gains, 1) if gain > 0]
    if kind == "mrr":
        return 1 / ranks[0] if ranks else 0.0
    if kind == "map":
        return sum((i + 1) / rank for i, rank in enumerate(ranks)) / relevant
    return len(ranks) / relevant if kind == "recall" else float(bool(ranks))


@given(cases())
def test_every_measure_is_what_a_naive_count_gives(case: Case) -> None:
    found = measure(*as_arrays(case), NAMES)
    for name in NAMES:
        expected = [naive(name, *pair) for pair in zip(*case, strict=True)]
        np.testing.assert_allclose(found[name], expected, atol=1e-12, err_msg=name)


@given(cases(least_grade=0))
def test_measures_equal_those_of_trec_eval(case: Case) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    names = {"ndcg_cut": "ndcg", "map_cut": "map", "recall": "recall", "P": "precision",
             "success": "success"}  # fmt: skip
    cuts = ",".join(map(str, CUTS))
    asked = {f"{name}.{cuts}" for name in names} | {"recip_rank"}
    rankings, judged = case
    run = {
        f"q{q}": {f"d{d:02}": float(DEPTH - rank) for rank, d in enumerate(ranking)}
        for q, ranking in enumerate(rankings)
    }
    qrels = {f"q{q}": {f"d{d:02}": g for d, g in grades.items()} for q, grades in enumerate(judged)}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, asked).evaluate(run)
    matrix, judgements = as_arrays(case)
    ours = measure(matrix, judgements, [*NAMES, f"mrr@{DEPTH}"])
    for q, (ranking, grades) in enumerate(zip(rankings, judged, strict=True)):
        if not ranking or not grades:
            continue  # trec_eval passes over them
        for theirs_name, name in names.items():
            for k in CUTS:
                their = theirs[f"q{q}"][f"{theirs_name}_{k}"]
                assert ours[f"{name}@{k}"][q] == pytest.approx(their, abs=1e-6)
        assert ours[f"mrr@{DEPTH}"][q] == pytest.approx(theirs[f"q{q}"]["recip_rank"], abs=1e-6)


@pytest.mark.slow
def test_measures_equal_those_of_ranx() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranx = pytest.importorskip("ranx")
    rng = np.random.default_rng(5)
    count, documents, depth = 60, 40, 15
    ranking = np.array([rng.permutation(documents)[:depth] for _ in range(count)])
    judged = [
        dict(zip(rng.permutation(documents)[:9].tolist(), grades.tolist(), strict=True))
        for grades in rng.integers(0, 4, (count, 9))
    ]
    triples = [(q, d, g) for q, grades in enumerate(judged) for d, g in grades.items()]
    judgements = Judgements(*np.array(triples).T, count=count)
    run = ranx.Run(
        {
            f"q{q}": {f"d{d}": float(depth - rank) for rank, d in enumerate(row.tolist())}
            for q, row in enumerate(ranking)
        }
    )
    # ranx counts a judged grade of 0 as relevant unless it is left out.
    qrels = ranx.Qrels(
        {
            f"q{q}": {f"d{d}": g for d, g in grades.items() if g > 0}
            for q, grades in enumerate(judged)
        }
    )
    names = [name for name in NAMES if not name.startswith("success")]
    ours = measure(ranking, judgements, names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = ranx.evaluate(qrels, run, names, make_comparable=True)
    for name in names:
        assert ours[name].mean() == pytest.approx(theirs[name], abs=1e-6), name


def test_a_worked_example() -> None:
    # Grades 3 and 1 exist; the ranking has the 1 first, nothing, then the 3.
    judgements = Judgements([0, 0], [4, 9], [3, 1], count=1)
    found = measure(np.array([[9, 7, 4]]), judgements, ["ndcg@10", "mrr@10", "map@10", "recall@1"])
    best = 3 + 1 / math.log2(3)
    assert found["ndcg@10"][0] == pytest.approx((1 + 3 / 2) / best)
    assert found["mrr@10"][0] == 1
    assert found["map@10"][0] == pytest.approx((1 + 2 / 3) / 2)
    assert found["recall@1"][0] == 0.5


def test_questions_without_answers_or_judgements_have_nothing() -> None:
    judgements = Judgements([1], [0], [0], count=3)
    found = measure(np.array([[0, 1], [0, 1], [-1, -1]]), judgements, NAMES)
    assert all((values == 0).all() for values in found.values())
    nothing = measure(np.zeros((2, 0), np.int64), Judgements([], [], [], count=2), NAMES)
    assert all((values == 0).all() for values in nothing.values())


@pytest.mark.parametrize("name", ["ndcg", "ndcg@0", "ndcg@", "dcg@10", "ndcg@-1", "@10", ""])
def test_a_measure_that_does_not_exist_is_told(name: str) -> None:
    with pytest.raises(ArgumentError, match="choose from ndcg@k, mrr@k"):
        measure(np.zeros((1, 1), np.int64), Judgements([0], [0], [1], count=1), [name])


def test_the_default_measures_exist() -> None:
    assert [parse_metric(name)[1] for name in DEFAULT_METRICS] == [10, 10, 100, 10, 100]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0], [0], []), "1 queries, 1 documents, 0 grades"),
        (([2], [0], [1]), "out of range"),
        (([0], [-1], [1]), "out of range"),
        (([0, 0], [3, 3], [1, 2]), "judged twice"),
        (([0.5], [0], [1]), "integers"),
    ],
)
def test_judgements_that_are_none_are_refused(
    columns: tuple[list[int], list[int], list[int]], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        Judgements(*columns, count=2)


def test_a_ranking_of_other_questions_is_refused() -> None:
    with pytest.raises(ArgumentError, match="3 queries"):
        measure(np.zeros((2, 5), np.int64), Judgements([0], [0], [1], count=3))
