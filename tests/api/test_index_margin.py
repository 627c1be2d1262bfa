"""Margins: of a stage's best rows, those stay whose score comes near enough to the k-th best."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import Funnel, FunnelError, Hits, Index, Stage
from nestling.bench.generate import generate
from nestling.index.cells import Cells
from oracle import funnel_search, prefix_scores, same, within_margin
from strategies import Problem, embeddings, sign_problems

MARGINS = (1.0, 1.05, 1.3, 2.0, 1000.0)


@given(problem=sign_problems())
def test_exact_arithmetic_equals_the_oracle_to_the_bit(problem: Problem) -> None:
    index = Index(problem.dim, funnel=problem.funnel)
    index.add(problem.rows, ids=problem.ids)
    hits = index.search(problem.queries, problem.k)
    ids, scores = funnel_search(
        problem.queries,
        problem.rows,
        problem.known_ids,
        problem.funnel,
        problem.k,
        problem.metric,
    )
    np.testing.assert_array_equal(hits.ids, ids)
    np.testing.assert_array_equal(hits.scores, scores.astype(np.float32))


def kept_by(stage_hits: Hits, margin: float, k: int) -> list[np.ndarray]:
    """The ids that a first stage keeps, by its own scores of all rows, in float32 as it reckons."""
    kept = []
    for ids, scores in zip(stage_hits.ids, stage_hits.scores, strict=True):
        lowest = np.float32(1) - np.float32(margin) * (np.float32(1) - scores[k - 1])
        kept.append(ids[scores >= min(lowest, scores[k - 1])])
    return kept


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_coded_stage_keeps_by_its_own_scores(bits: int, margin: float) -> None:
    """The hits are those of the last stage over the rows that the first one's scores tell."""
    rows, queries = generate(3000, 64, queries=6)
    index = Index(64, funnel=f"32@{bits}:3000~{margin} > 64@32")
    index.add(rows)
    hits = index.search(queries, k=7)
    first = index.search(queries, k=3000, funnel=f"32@{bits}")
    kept = kept_by(first, margin, 7)
    assert hits.stages[0].rows_kept == sum(map(len, kept))
    for query, ids, found, scores in zip(queries, kept, hits.ids, hits.scores, strict=True):
        mask = np.zeros(3000, bool)
        mask[ids] = True
        expected = index.search(query, k=7, funnel=f"32@{bits}:3000 > 64@32", where=mask)
        np.testing.assert_array_equal(found, expected.ids)
        np.testing.assert_array_equal(scores, expected.scores)


def test_later_stages_have_margins_too() -> None:
    rows, queries = generate(3000, 64, queries=1)
    index = Index(64, funnel="16@8:500 > 32@32:300~1.2 > 64@32")
    index.add(rows)
    hits = index.search(queries, k=10)
    coded = index.search(queries, k=500, funnel="16@8").ids[0]
    scores = np.sort(prefix_scores(queries, rows[coded], 32, "cosine")[0])[::-1][:300]
    assert hits.stages[0].rows_kept == hits.stages[1].rows_seen == 500
    for shift, bound in ((1e-6, np.less_equal), (-1e-6, np.greater_equal)):
        count = within_margin(scores, 10, 1.2 + shift).sum()
        assert bound(hits.stages[1].rows_kept, count)
    assert 10 < hits.stages[1].rows_kept < 300


def test_easy_queries_keep_fewer_rows_than_hard_ones() -> None:
    """A query that is nearly a row leaves little room below its best; a random one has many."""
    rows, _ = generate(5000, 64, queries=1)
    rng = np.random.default_rng(0)
    index = Index(64, funnel="32@4:5000~1.2 > 64@32")
    index.add(np.concatenate([rows, rows[:50] + 1e-3 * embeddings(rng, 50, 64)]))
    easy = index.search(rows[:50], k=2).stages[0].rows_kept
    hard = index.search(embeddings(rng, 50, 64), k=2).stages[0].rows_kept
    assert easy >= 2 * 50
    assert hard > 5 * easy


def test_a_wider_margin_keeps_more_and_finds_no_less() -> None:
    rows, queries = generate(5000, 64, queries=40)
    index = Index(64, funnel="16@4:5000 > 64@32")
    index.add(rows)
    every = index.search(queries, k=10)
    counts, recalls = [], []
    for margin in (*MARGINS, None):
        funnel = Funnel((Stage(16, 4, 5000, margin), Stage(64, 32)))
        hits = index.search(queries, k=10, funnel=funnel)
        counts.append(hits.stages[0].rows_kept)
        recalls.append(np.mean(np.isin(hits.ids, every.ids)))
        assert (hits.ids >= 0).all(), "k rows come through whatever the margin"
    assert counts == sorted(counts)
    assert counts[0] < counts[2] < counts[-1] == 40 * 5000
    assert recalls == sorted(recalls)
    assert recalls[-1] == 1


def test_the_widest_margin_is_none_for_rows_that_differ() -> None:
    rows, queries = generate(2000, 32, queries=20)
    index = Index(32, funnel="16@8:300 > 32@32")
    index.add(rows)
    same(
        index.search(queries, k=10, funnel="16@8:300~1000 > 32@32"),
        index.search(queries, k=10),
    )


def test_k_rows_come_through_a_margin_of_one_and_all_their_ties() -> None:
    row = embeddings(np.random.default_rng(0), 1, 32)
    index = Index(32, funnel="8@4:50~1 > 32@32")
    index.add(np.repeat(row, 80, axis=0), ids=np.random.default_rng(1).permutation(80))
    hits = index.search(row[0], k=10)
    assert hits.ids.tolist() == list(range(10))
    assert hits.stages[0].rows_kept == 50


@pytest.mark.parametrize("funnel", ["32@4:900~1.2 > 64@16", "16@1:2000~1.3 > 32@8:400~1.1 > 64@32"])
def test_batches_threads_and_cells_change_nothing(funnel: str) -> None:
    """20,000 rows: thresholds are seeded by the margin, and scans are split over threads."""
    rows, queries = generate(20_000, 64, queries=70)
    rows[5000:9000] = rows[3]
    expected = None
    for threads in (1, 2, 5):
        index = Index(64, funnel=funnel, threads=threads)
        index.add(rows)
        hits = index.search(queries, k=10)
        expected = hits if expected is None else expected
        same(hits, expected)
        assert hits.stages[0].rows_kept == expected.stages[0].rows_kept
        for count in (1, 3, 4):
            part = index.search(queries[:count], k=10)
            np.testing.assert_array_equal(part.ids, expected.ids[:count])
            np.testing.assert_array_equal(part.scores, expected.scores[:count])
        alone = [index.search(query, k=10).stages[0].rows_kept for query in queries]
        assert sum(alone) == hits.stages[0].rows_kept
    index.rebuild(cells=Cells(50, probes=50, dims=32, links=0))
    flat = index.search(queries, k=10, probes=0)
    celled = index.search(queries, k=10)
    same(celled, flat)
    assert celled.stages[0].rows_kept == flat.stages[0].rows_kept


@pytest.mark.parametrize("centre", [False, True])
def test_a_filter_that_all_rows_pass_and_a_compaction_change_nothing(centre: bool) -> None:
    """Also where the first stage could keep every row that there is."""
    rows, queries = generate(1000, 32, queries=6)
    index = Index(32, funnel="8@8:2000~1 > 32@32")
    index.add(rows)
    index.rebuild(centre=centre)
    same(index.search(queries, where=np.ones(1000, bool)), index.search(queries))
    index.remove([3])
    before = index.search(queries)
    index.compact()
    same(index.search(queries), before)


@pytest.mark.parametrize("first", ["32@1:500~2", "32@4:5000~1.2", "32@8:500~1", "32@32:500~1000"])
def test_a_query_that_is_a_row_finds_it(first: str) -> None:
    """Its score may be above 1, by a float's last digit or by what codes are off."""
    rows, _ = generate(5000, 64, queries=1)
    index = Index(64, funnel=f"{first} > 64@32")
    index.add(rows)
    for k in (1, 2, 10):
        hits = index.search(rows[:300], k=k)
        assert (hits.ids >= 0).all()
        assert hits.stages[0].rows_kept >= 300 * k
    if first[3:5] != "32":
        index.rebuild(cells=Cells(20, probes=20, links=0))
    same(index.search(rows[:300], k=1), index.search(rows[:300], k=1, probes=0))


@pytest.mark.parametrize("funnel", ["32@4:3000~1.2 > 64@32"])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_margin_is_over_the_rows_that_pass_the_filter(funnel: str, share: float) -> None:
    rows, queries = generate(20_000, 64, queries=5)
    index, subset = Index(64, funnel=funnel), Index(64, funnel=funnel)
    index.add(rows)
    mask = np.random.default_rng(0).random(20_000) < share
    subset.add(rows[mask], ids=np.flatnonzero(mask))
    if mask.sum() > 3000:
        same(index.search(queries, where=mask), subset.search(queries))


@pytest.mark.parametrize("margin", [0.99, 0.0, -1.0, 1000.5, float("inf"), float("nan")])
def test_margins_out_of_range_are_refused(margin: float) -> None:
    with pytest.raises(FunnelError, match="margin must be 1 to 1000"):
        Stage(8, 4, 10, margin)


def test_a_margin_needs_a_keep() -> None:
    with pytest.raises(FunnelError, match="keep"):
        Stage(8, 4, None, 1.5)
    for text in ("8@4~1.5 > 16@8", "8@4:10 > 16@8~2", "8@4:10 > 16@8:~2"):
        with pytest.raises(FunnelError):
            Funnel.parse(text)


@pytest.mark.parametrize(
    "text", ["8@4:10~", "8@4:10~x", "8@4:10~-2", "8@4:10~1.", "8@4:10~.5", "8@4:10~1e2", "8@4:~2"]
)
def test_other_margins_cannot_be_read(text: str) -> None:
    with pytest.raises(FunnelError, match=r"dims@bits:keep~margin|margin must be"):
        Funnel.parse(f"{text} > 16@8")


def test_margins_are_for_cosines_only() -> None:
    with pytest.raises(FunnelError, match="cosine"):
        Index(16, funnel="8@4:10~1.5 > 16@8", metric="ip")
    index = Index(16, funnel="8@4:10 > 16@8", metric="ip")
    index.add(np.eye(16))
    with pytest.raises(FunnelError, match="cosine"):
        index.search(np.ones(16), funnel="8@4:10~1.5 > 16@8")


@given(margin=st.integers(1_000_000, 1_000_000_000).map(lambda n: n / 1e6))
def test_a_printed_margin_reads_back(margin: float) -> None:
    funnel = Funnel((Stage(8, 4, 10, margin), Stage(16, 8)))
    assert Funnel.parse(str(funnel)) == funnel


def test_a_printed_margin_of_any_digits_reads_back() -> None:
    for margin in (1.23456789012, 1 + 2**-52, 999.9999999999, 1000 / 3):
        funnel = Funnel((Stage(8, 4, 10, margin), Stage(16, 8)))
        assert Funnel.parse(str(funnel)) == funnel


@pytest.mark.parametrize("text", ["8@4:10~1.3", " 8 @ 4 : 10 ~ 1.30 ", "8@4:10 ~1.3"])
def test_margins_are_written_as_a_person_would(text: str) -> None:
    funnel = Funnel.parse(f"{text} > 16@8:9~2 > 16@16")
    assert funnel.stages[0].margin == 1.3
    assert str(funnel) == "8@4:10~1.3 > 16@8:9~2 > 16@16"


def test_a_file_and_a_search_have_margins(tmp_path: Path) -> None:
    rows, queries = generate(500, 32, queries=4)
    index = Index(32, funnel="16@4:200~1.3 > 32@16")
    index.add(rows)
    index.save(tmp_path / "a.nest")
    loaded = Index.load(tmp_path / "a.nest")
    assert loaded.funnel == index.funnel
    assert loaded.funnel.stages[0].margin == 1.3
    same(loaded.search(queries), index.search(queries))
    plain = Index(32, funnel="16@4:200 > 32@16")
    plain.add(rows)
    same(plain.search(queries, funnel=index.funnel), index.search(queries))
    same(index.search(queries, funnel=plain.funnel), plain.search(queries))
