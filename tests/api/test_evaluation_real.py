"""Real models on real collections: qualities as measured, equal to trec_eval's and ranx's."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest

from nestling import Encoder
from nestling.evaluation import (
    Dataset,
    EvaluationSettings,
    Run,
    evaluate,
    measure,
    read_dataset,
    read_run,
    write_run,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SHARED = Path(os.environ.get("NESTLING_SHARED") or Path(__file__).parents[3] / "shared")
IGNORED = pytest.mark.filterwarnings("ignore::nestling.TruncationWarning")


def real(name: str, *, limit: int | None = None) -> Dataset:
    folder = SHARED / "data" / name
    if not folder.is_dir():
        pytest.skip("shared data absent")
    return read_dataset(folder, limit=limit, ignore_identical_ids=False)


@IGNORED
@pytest.mark.parametrize(
    ("model", "name", "low", "high"),
    [
        ("wordllama", "cranfield", 0.414, 0.424),
        ("minilm", "squad-dev", 0.763, 0.780),
        ("e5", "arcd", 0.785, 0.805),
    ],
)
def test_quality_is_as_known_and_the_default_funnel_keeps_it(
    model: str, name: str, low: float, high: float
) -> None:
    table = evaluate(
        Encoder(model), real(name, limit=2000), EvaluationSettings(bits=[8, 4], rounds=0)
    )
    full, *others, funnel = table.rows
    assert low < full.metrics["ndcg@10"] < high
    assert funnel.kept is not None
    assert funnel.kept > 0.99
    by_system = {row.system: row.metrics["ndcg@10"] for row in others}
    lengths = sorted({row.dims for row in others if row.dims})
    values = [by_system[f"{length}@8"] for length in lengths]
    assert values == sorted(values), "longer prefixes are better"
    assert by_system[f"{lengths[-1]}@8"] == pytest.approx(full.metrics["ndcg@10"], abs=0.005)


@pytest.fixture(scope="module")
def ranked() -> tuple[Dataset, Run]:
    """Cranfield by the 1-bit codes of wordllama, with ties and mistakes enough."""
    dataset, runs = real("cranfield"), []
    settings = EvaluationSettings(dims=[64], bits=[1], funnels=[], rounds=0)
    evaluate(Encoder("wordllama"), dataset, settings, on_run=runs.append)
    return dataset, runs[1]


def as_dicts(dataset: Dataset, run: Run) -> tuple[Any, Any]:
    grades = dataset.judgements
    qrels: dict[str, dict[str, int]] = {query: {} for query in dataset.query_ids}
    for place, document in enumerate(dataset.document_ids):
        column = grades.grades_of(run.ranking[:, :1] * 0 + place)[:, 0]
        for row in column.nonzero()[0]:
            qrels[dataset.query_ids[row]][document] = int(column[row])
    found = {
        query: {dataset.document_ids[d]: float(s) for d, s in zip(row, scores, strict=True)}
        for query, row, scores in zip(dataset.query_ids, run.ranking, run.scores, strict=True)
    }
    return qrels, found


def test_measures_of_a_real_run_equal_those_of_trec_eval(ranked: tuple[Dataset, Run]) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    dataset, run = ranked
    qrels, found = as_dicts(dataset, run)
    asked = {"ndcg_cut.10", "map_cut.100", "recall.10,100", "P.10", "recip_rank", "map"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, asked).evaluate(found)
    pairs = {
        "ndcg@10": "ndcg_cut_10",
        "map@100": "map_cut_100",
        "recall@10": "recall_10",
        "recall@100": "recall_100",
        "precision@10": "P_10",
        "mrr@100": "recip_rank",
    }
    ours = measure(run.ranking, dataset.judgements, pairs)
    for name, their in pairs.items():
        expected = [theirs[query][their] for query in dataset.query_ids]
        assert ours[name].tolist() == pytest.approx(expected, abs=1e-6), name
    first = {q: dict(list(hits.items())[:10]) for q, hits in found.items()}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(first)
    ours = measure(run.ranking, dataset.judgements, ["mrr@10"])
    expected = [theirs[query]["recip_rank"] for query in dataset.query_ids]
    assert ours["mrr@10"].tolist() == pytest.approx(expected, abs=1e-6)


def test_measures_of_a_real_run_equal_those_of_ranx(ranked: tuple[Dataset, Run]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranx = pytest.importorskip("ranx")
        dataset, run = ranked
        qrels, found = as_dicts(dataset, run)
        # ranx leaves ties as its sort has them: ranks stand for the scores.
        ranks = {q: {d: -float(i) for i, d in enumerate(hits)} for q, hits in found.items()}
        names = ["ndcg@10", "mrr@10", "map@100", "recall@10", "recall@100", "precision@10"]
        theirs = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(ranks), names)
    ours = measure(run.ranking, dataset.judgements, names)
    for name in names:
        assert ours[name].mean() == pytest.approx(theirs[name], abs=1e-6), name


def test_a_real_run_goes_through_its_file(ranked: tuple[Dataset, Run], tmp_path: Path) -> None:
    dataset, run = ranked
    write_run(run, tmp_path / "run.trec", dataset)
    back = read_run(tmp_path / "run.trec", dataset)
    assert (back.ranking == run.ranking).all()
    assert (back.scores == run.scores).all()
