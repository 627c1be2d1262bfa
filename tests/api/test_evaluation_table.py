"""Evaluations with a tiny encoder: against numpy, and what every row tells."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hashing_encoder import HashingEncoder
from rich.console import Console

from nestling.errors import ArgumentError, FunnelError, VectorError
from nestling.evaluation import (
    Dataset,
    Embeddings,
    EvaluationSettings,
    Run,
    evaluate,
    evaluate_runs,
    measure,
)
from nestling.evaluation.report import show
from nestling.evaluation.systems import System, default_dims, plan_systems
from nestling.index.funnel import Funnel

WORDS = ["sea", "hive", "whale", "bee", "sing", "dance", "نهر", "مدينة", "مصر", "خبز", "ماء", "قمر"]


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Questions of three words of the document that answers them, graded 2, and of others."""
    rng = np.random.default_rng(1)
    words = [f"{word}{number}" for word in WORDS for number in range(12)]
    documents = {f"d{i:03}": " ".join(rng.choice(words, 12)) for i in range(300)}
    queries, judgements = {}, []
    for i in range(60):
        queries[f"q{i}"] = " ".join(rng.choice(documents[f"d{i:03}"].split(), 3))
        judgements += [(f"q{i}", f"d{i:03}", 2), (f"q{i}", f"d{i + 60:03}", 1)]
    return Dataset.of("tiny", documents, queries, judgements)


@pytest.fixture(scope="module")
def encoder() -> HashingEncoder:
    return HashingEncoder("hashed", dim=64)


def numpy_value(dataset: Dataset, encoder: HashingEncoder, dims: int) -> float:
    """nDCG@10 of the exact search of a prefix, by a full sort."""
    rows = encoder.encode(dataset.documents, dim=dims).astype(np.float64)
    asked = encoder.encode(dataset.queries, dim=dims).astype(np.float64)
    scores = (asked @ rows.T).round(6)
    by_id = np.argsort(np.argsort(dataset.document_ids))
    ranking = np.array([np.lexsort((-by_id, -row)) for row in scores])
    return float(measure(ranking, dataset.judgements, ["ndcg@10"])["ndcg@10"].mean())


def test_prefixes_are_renormalised_and_searched_exactly(
    dataset: Dataset, encoder: HashingEncoder
) -> None:
    table = evaluate(
        encoder,
        dataset,
        EvaluationSettings(dims=[64, 16, 32], bits=[32], funnels=[], rounds=0, depth=300),
    )
    assert [row.system for row in table.rows] == ["64@32", "32@32", "16@32"]
    for row in table.rows:
        assert row.dims is not None
        expected = numpy_value(dataset, encoder, row.dims)
        assert row.metrics["ndcg@10"] == pytest.approx(expected, abs=1e-6)
    assert table.rows[0].metrics["ndcg@10"] > table.rows[2].metrics["ndcg@10"] + 0.1


def test_every_row_tells_quality_memory_and_speed(
    dataset: Dataset, encoder: HashingEncoder
) -> None:
    funnel = "32@4:200 > 64@16"
    table = evaluate(
        encoder,
        dataset,
        EvaluationSettings(dims=[64], bits=[32, 1], funnels=[funnel], rounds=2, threads=1),
    )
    full, codes, staged = table.rows
    assert [row.kind for row in table.rows] == ["exact", "codes", "funnel"]
    assert [row.bits for row in table.rows] == [32, 1, 4]
    assert [row.dims for row in table.rows] == [64, 64, 64]
    assert full.bytes_per_row == 256
    assert codes.bytes_per_row is not None
    assert 8 < codes.bytes_per_row < 20
    for row in table.rows:
        assert row.speed is not None
        assert 0 < row.speed.low <= row.speed.median <= row.speed.high
    assert full.comparison is None
    assert full.kept == 1
    assert codes.comparison is not None
    drop = codes.metrics["ndcg@10"] - full.metrics["ndcg@10"]
    assert codes.comparison.difference == pytest.approx(drop)
    assert codes.kept == pytest.approx(codes.metrics["ndcg@10"] / full.metrics["ndcg@10"])
    assert staged.metrics["ndcg@10"] >= codes.metrics["ndcg@10"]
    assert (table.threads, table.batch, table.depth, table.rounds) == (1, 60, 100, 2)


def test_the_systems_of_a_model_are_its_nesting_dims_and_the_default_funnel(
    dataset: Dataset,
) -> None:
    encoder = HashingEncoder("hashed", dim=64)
    encoder.nesting = (8, 64)
    table = evaluate(encoder, dataset, EvaluationSettings(bits=[4], rounds=0))
    assert [row.system for row in table.rows] == ["64@32", "64@4", "8@4", "64@8:1000 > 64@16"]
    assert table.model == "hashed"
    assert all(row.speed is None for row in table.rows)


def test_everything_goes_into_json(dataset: Dataset, encoder: HashingEncoder) -> None:
    table = evaluate(
        encoder, dataset, EvaluationSettings(dims=[32], bits=[4], funnels=[], rounds=1)
    )
    told = json.loads(json.dumps(table.as_dict()))
    assert told["main_metric"] == "ndcg@10"
    assert (told["documents"], told["queries"], told["left_out"]) == (300, 60, 0)
    assert told["rows"][1]["system"] == "32@4"
    assert told["rows"][1]["comparison"]["p"] == pytest.approx(table.rows[1].comparison.p)
    assert told["rows"][0]["queries_per_second"]["median"] > 0
    assert "values" not in told["rows"][0]


@pytest.mark.parametrize(("width", "tables"), [(80, 3), (200, 1)])
def test_a_narrow_terminal_gets_the_table_in_parts(
    dataset: Dataset, encoder: HashingEncoder, width: int, tables: int
) -> None:
    settings = EvaluationSettings(dims=[32], bits=[4], funnels=["16@4:300 > 64@32"], rounds=0)
    table = evaluate(encoder, dataset, settings)
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    show(table, console)
    assert out.getvalue().count("system") == tables
    assert out.getvalue().count("16@4:300 > 64@32") == tables
    assert max(map(len, out.getvalue().splitlines())) <= width


def test_embeddings_of_ones_own_are_measured_like_an_encoders(
    dataset: Dataset, encoder: HashingEncoder
) -> None:
    own = Embeddings(encoder.encode(dataset.documents), encoder.encode(dataset.queries), "own")
    settings = EvaluationSettings(bits=[4], funnels=[], rounds=0)
    theirs, ours = evaluate(encoder, dataset, settings), evaluate(own, dataset, settings)
    assert ours.model == "own"
    assert [r.as_dict() for r in ours.rows] == [r.as_dict() for r in theirs.rows]
    few = Embeddings(own.documents[1:], own.queries)
    with pytest.raises(VectorError, match=r"documents of shape \(300, 64\).* not \(299, 64\) and"):
        evaluate(few, dataset, settings)
    longer = Embeddings(own.documents, np.ones((60, 65), np.float32))
    with pytest.raises(VectorError, match=r"queries of \(60, 64\).* and \(60, 65\)"):
        evaluate(longer, dataset, settings)
    assert repr(dataset) == "Dataset('tiny', documents=300, queries=60, judgements=120)"


def test_rankings_from_elsewhere_are_compared(dataset: Dataset, encoder: HashingEncoder) -> None:
    seen: list[Run] = []
    settings = EvaluationSettings(dims=[64], bits=[], funnels=["16@4:300 > 64@32"], rounds=0)
    first = evaluate(encoder, dataset, settings, on_run=seen.append)
    assert [run.name for run in seen] == ["64@32", "16@4:300 > 64@32"]
    again = evaluate(encoder, dataset, settings, runs=[seen[0]]).rows[-1]
    assert (again.kind, again.bytes_per_row, again.speed) == ("run", None, None)
    assert again.metrics == first.rows[0].metrics
    assert again.comparison is not None
    assert (again.comparison.difference, again.comparison.p) == (0, 1)
    alone = evaluate_runs(seen, dataset, metrics=["map@100", "ndcg@10"])
    assert alone.model is None
    assert alone.main_metric == "map@100"
    assert [row.system for row in alone.rows] == [run.name for run in seen]
    with pytest.raises(ArgumentError, match="no run"):
        evaluate_runs([], dataset)


class Sealed(HashingEncoder):
    """Fails where it is asked to work."""

    def encode(self, *_: object, **__: object) -> np.ndarray:
        raise AssertionError("encoded before the systems were checked")

    encode_queries = encode


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dims": [65]}, FunnelError, "65@32 reads more than the 64 dimensions"),
        ({"dims": [0]}, FunnelError, "dims must be 1 to"),
        ({"bits": [3]}, FunnelError, "bits must be one of"),
        ({"funnels": ["64@4:1000"]}, FunnelError, "last stage keeps"),
        ({"funnels": ["64@4:1000 > 128@16"]}, FunnelError, "reads more than the 64"),
        ({"metrics": ["ndcg"]}, ArgumentError, "unknown metric 'ndcg'"),
        ({"metrics": []}, ArgumentError, "metrics is empty"),
        ({"depth": 99}, ArgumentError, "map@100 needs a depth of at least 100, not 99"),
        ({"rounds": -1}, ArgumentError, "rounds must be at least 0, not -1"),
        ({"seed": -1}, ArgumentError, "seed must be at least 0, not -1"),
    ],
)
def test_what_cannot_be_measured_is_told_before_anything_is_encoded(
    dataset: Dataset, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate(Sealed(dim=64), dataset, EvaluationSettings(**options))


def test_more_documents_are_asked_for_than_there_are(encoder: HashingEncoder) -> None:
    few = Dataset.of("few", {"a": "sea", "b": "hive"}, {"q": "sea"}, [("q", "a", 1)])
    table = evaluate(encoder, few, EvaluationSettings(rounds=0, metrics=["recall@100", "ndcg@10"]))
    assert table.rows[0].metrics == {"recall@100": 1, "ndcg@10": 1}


def test_nothing_found_by_the_first_system_has_no_share(encoder: HashingEncoder) -> None:
    none = Dataset.of("none", {"a": "sea", "b": "hive"}, {"q": "sea"}, [("q", "b", 1)])
    table = evaluate(
        encoder,
        none,
        EvaluationSettings(rounds=0, metrics=["success@1"], bits=[4], funnels=[]),
    )
    assert all(row.kept is None for row in table.rows)


def test_systems_are_listed_once_longest_first() -> None:
    plan = plan_systems(
        64, dims=[16, 64, 16], bits=iter([32, 2]), funnels=["64@32", "16@2:9 > 64@8"]
    )
    assert list(map(str, plan)) == ["64@32", "64@2", "16@32", "16@2", "16@2:9 > 64@8"]
    assert default_dims(384) == (48, 96, 192, 384)
    assert default_dims(20) == (20,)
    assert default_dims(256, [64, 128, 256, 512]) == (64, 128, 256)


def test_a_system_of_a_prefix_stores_the_prefix_only() -> None:
    rows = np.random.default_rng(0).standard_normal((100, 64)).astype(np.float32)
    system = System.build(Funnel.parse("16@32"), rows, threads=1)
    assert system.index.dim == 16
    assert system.bytes_per_row == 64
    assert system.search(rows[:3], 1).ids.ravel().tolist() == [0, 1, 2]
