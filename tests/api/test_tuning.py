"""Tuning: the recall it promises, what it leaves alone, and what it reports."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_clock import FakeClock
from nestling import Cells, Funnel, Index, NestlingError, StorageError, TuningWarning, VectorError
from nestling._util.counted import counted
from nestling.bench.generate import generate
from nestling.errors import ArgumentError
from nestling.index.exact import chunks, exact_top, recall
from nestling.tuning import TuneReport
from nestling.tuning.confidence import lower_bound
from nestling.tuning.curve import Curve, round_up
from nestling.tuning.queries import NOT_FOUND, QuerySet
from nestling.tuning.screen import grid
from nestling.tuning.speed import Speed
from nestling.tuning.tuner import funnel_in_cells

DIM = 64
UNSEEN = 300


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    return generate(8000, DIM, queries=1000)


def made(rows: np.ndarray, **options: object) -> Index:
    index = Index(rows.shape[1], **options)
    index.add(rows)
    return index


def found(index: Index, rows: np.ndarray, queries: np.ndarray, k: int = 10) -> float:
    truth = exact_top(chunks(rows), queries, k, cosine=index.metric == "cosine").rows
    return recall(index.search(queries, k).ids, truth)


@pytest.fixture(scope="module")
def tuned(data: tuple[np.ndarray, np.ndarray]) -> tuple[Index, TuneReport]:
    rows, queries = data
    # A funnel that is too poor, so that it cannot stay.
    index = made(rows, funnel="8@4:20 > 64@16")
    report = index.tune(0.95, queries=queries[UNSEEN:], budget_seconds=3, verbose=False)
    return index, report


def test_unseen_queries_find_what_was_asked_for(
    tuned: tuple[Index, TuneReport], data: tuple[np.ndarray, np.ndarray]
) -> None:
    index, report = tuned
    rows, queries = data
    assert report.reached
    assert found(index, rows, queries[:UNSEEN]) >= 0.94
    assert report.before.recall < 0.9


def test_the_index_is_what_the_report_says(tuned: tuple[Index, TuneReport]) -> None:
    index, report = tuned
    chosen = report.chosen
    assert chosen in report.trials
    assert report.before in report.trials
    assert (chosen.funnel, chosen.cells) == (str(index.funnel), index.cells)
    assert (chosen.centred, chosen.rotated) == (index.centred, index.rotated)
    assert index.funnel.stages[-1] == Funnel.parse("64@16").stages[0]
    assert chosen.at_least >= report.target
    assert chosen.bytes_per_row == sum(index.memory.values()) / len(index)


def by_bytes(indexes: Sequence[Index], query_set: QuerySet, *, once: bool = False) -> list[Speed]:
    """Speeds by the bytes that searches read, which are the same on every machine."""
    hits = [index.search(query_set.vectors, query_set.k) for index in indexes]
    read = [sum(stage.bytes_read for stage in each.stages) / 1e9 for each in hits]
    return [Speed(seconds, seconds) for seconds in read]


def test_nothing_that_reaches_the_target_was_measured_to_be_much_faster(
    data: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, queries = data
    monkeypatch.setattr("nestling.tuning.tuner.take_turns", by_bytes)
    index = made(rows, funnel="8@4:20 > 64@16")
    report = index.tune(0.95, queries=queries[UNSEEN:], budget_seconds=3, verbose=False)
    assert sum(trial.reaches for trial in report.trials) > 1
    fastest = max(trial.queries_per_second for trial in report.trials if trial.reaches)
    assert report.chosen.queries_per_second > 0.9 * fastest


def test_a_tuned_index_is_saved_as_it_is(
    tuned: tuple[Index, TuneReport], data: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    index, _ = tuned
    index.save(tmp_path / "tuned.nest")
    loaded = Index.load(tmp_path / "tuned.nest")
    assert (loaded.funnel, loaded.cells) == (index.funnel, index.cells)
    asked = data[1][:20]
    np.testing.assert_array_equal(loaded.search(asked).ids, index.search(asked).ids)


def test_the_report_is_a_table_a_dict_and_a_line(tuned: tuple[Index, TuneReport]) -> None:
    _, report = tuned
    table = str(report)
    assert all(trial.funnel in table for trial in report.trials)
    assert table.count("\n") >= len(report.trials)
    assert json.loads(json.dumps(report.as_dict()))["chosen"]["funnel"] == report.chosen.funnel
    assert "\n" not in report.line()
    assert report.chosen.funnel in report.line()


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a.pdf"])
def test_the_report_is_drawn(tuned: tuple[Index, TuneReport], tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib")
    tuned[1].plot(tmp_path / name)
    assert (tmp_path / name).stat().st_size > 1000


def test_a_plot_that_cannot_be_written_says_so(
    tuned: tuple[Index, TuneReport], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(NestlingError, match=r"\.png"):
        tuned[1].plot(tmp_path / "a.txt")
    with pytest.raises(StorageError, match="cannot write"):
        tuned[1].plot(tmp_path / "absent" / "a.png")


def test_without_matplotlib_the_extra_is_named(
    tuned: tuple[Index, TuneReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(NestlingError, match=r"nestling\[plot\]"):
        tuned[1].plot("a.png")


def test_rows_held_out_ask_and_searches_and_adds_go_on(
    data: tuple[np.ndarray, np.ndarray],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Searches see the old index or the new one, whole; an add waits for its turn."""
    rows, queries = data[0][:3000], data[1][:200]
    ids = np.arange(len(rows)) * 3 + 7
    index = Index(DIM, funnel="16@4:1000 > 64@32")
    index.add(rows, ids)
    index.remove(ids[:500])
    alive, alive_ids = rows[500:], ids[500:]
    truth = alive_ids[exact_top(chunks(alive), queries[:50], 10).rows]
    finished = threading.Event()
    worst, searches = [1.0], [0]
    rebuilt = Index.rebuilt

    def rebuilt_meanwhile(index: Index, **options: Any) -> Index:
        """Stores nothing before a search that began within the tuning has ended."""
        before = searches[0]
        while searches[0] < before + 2 and watching.is_alive():
            time.sleep(0.001)
        return rebuilt(index, **options)

    monkeypatch.setattr(Index, "rebuilt", rebuilt_meanwhile)

    def watch() -> None:
        while not finished.is_set():
            worst[0] = min(worst[0], recall(index.search(queries[:50]).ids, truth))
            searches[0] += 1

    adding = threading.Thread(target=lambda: (time.sleep(0.3), index.add(rows[:1])))
    watching = threading.Thread(target=watch)
    watching.start()
    adding.start()
    report = index.tune(0.9, budget_seconds=0.5, prefer="latency")
    finished.set()
    watching.join()
    adding.join()
    assert report.held_out
    assert report.rows == len(alive)
    assert report.reached
    assert searches[0] > 3
    assert worst[0] > 0.8
    assert len(index) == len(alive) + 1
    assert (
        recall(index.search(queries).ids, alive_ids[exact_top(chunks(alive), queries, 10).rows])
        > 0.87
    )
    assert report.line() in capsys.readouterr().err


def test_inner_products_are_tuned_without_centres_and_margins(
    data: tuple[np.ndarray, np.ndarray],
) -> None:
    rows, queries = data
    rows = rows * np.linspace(0.5, 1.5, len(rows), dtype=np.float32)[:, np.newaxis]
    index = made(rows, metric="ip", funnel="8@4:10 > 64@32")
    report = index.tune(0.9, queries=queries[UNSEEN:], budget_seconds=2, verbose=False)
    assert report.reached
    assert found(index, rows, queries[:UNSEEN]) >= 0.89
    assert not any(trial.centred or "~" in trial.funnel for trial in report.trials)


def test_cells_are_tried_when_asked_for_and_never_when_not(
    data: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, queries = data[0][:3000], data[1][:400]
    index = made(rows)
    with monkeypatch.context() as patch:
        patch.setattr("nestling.tuning.target.time", FakeClock())  # whose budget never ends
        report = index.tune(0.8, queries=queries, budget_seconds=3, cells=True, verbose=False)
    assert any(trial.cells is not None for trial in report.trials)
    index.rebuild(funnel="64@4:200 > 64@16", cells=Cells(16, probes=4))
    report = index.tune(0.9, queries=queries, budget_seconds=0.1, cells=False, verbose=False)
    assert all(trial.cells is None for trial in report.trials if trial != report.before)


@pytest.mark.parametrize(
    ("first", "last", "funnel"),
    [
        ("64@1:9", "64@16", "64@1:9 > 64@4:9 > 64@16"),
        ("32@4:9", "64@16", "32@4:9 > 64@4:9 > 64@16"),
        ("64@4:9", "64@16", "64@4:9 > 64@16"),
        ("64@8:9", "64@16", "64@8:9 > 64@16"),
        ("32@8:9", "64@32", "32@8:9 > 64@32"),
        ("64@1:9", "64@4", "64@1:9 > 64@4"),
    ],
)
def test_in_cells_a_stage_stands_between_where_it_tells_more(
    first: str, last: str, funnel: str
) -> None:
    given = Funnel.parse(f"{first} > {last}")
    assert str(funnel_in_cells(*given.stages)) == funnel


@pytest.mark.parametrize("count", [0, 1, 2, 5, 12])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.filterwarnings("ignore::nestling.TuningWarning")
def test_a_tiny_index_finds_all(count: int, given: bool) -> None:
    rows, queries = generate(count, 16, queries=5)
    index = made(rows)
    report = index.tune(queries=queries if given else None, budget_seconds=0.5, verbose=False)
    assert report.chosen.recall >= 0.98
    assert report.reached == (count > 0)
    assert report.chosen.funnel in str(report)
    assert f"{counted(count, 'row')}, {counted(report.threads, 'thread')};" in str(report)
    if count == 0:
        assert report.notes
        assert report.chosen == report.before
    k = max(count, 1)
    exact = Index(16, funnel="16@16")
    exact.add(rows)
    np.testing.assert_array_equal(index.search(queries, k).ids, exact.search(queries, k).ids)
    index.add(queries)
    assert len(index) == count + 5


def test_what_cannot_be_confirmed_is_searched_exactly() -> None:
    """Ten queries prove no recall of 0.999, whatever they find."""
    rows, queries = generate(3000, 32, queries=10)
    index = made(rows)
    with pytest.warns(TuningWarning, match="10 queries"):
        report = index.tune(0.999, queries=queries, budget_seconds=1, verbose=False)
    assert str(index.funnel) == "32@16"
    assert report.chosen.recall == 1
    assert report.reached


def test_rows_of_few_bits_are_left_as_they_are() -> None:
    rows, queries = generate(500, 32, queries=100)
    index = made(rows, funnel="32@4")
    report = index.tune(0.9, queries=queries, budget_seconds=1, verbose=False)
    assert str(index.funnel) == "32@4"
    assert any("4 bits" in note for note in report.notes)


def test_equal_rows_are_as_good_as_each_other() -> None:
    """Each row is there five times: any of the five may be a hit."""
    rows, queries = generate(400, 32, queries=200)
    index = made(np.tile(rows, (5, 1)))
    report = index.tune(0.9, k=3, queries=queries, budget_seconds=1, verbose=False)
    exact = [trial for trial in report.trials if trial.funnel == "32@16"]
    assert exact[0].recall == 1
    index.tune(0.9, k=3, budget_seconds=0.1, verbose=False)


def test_a_failure_leaves_the_index_as_it_was(
    data: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, queries = data
    index = made(rows, funnel="16@4:500 > 64@16")
    before = index.search(queries[:20]).scores

    def fail(*_: object, **__: object) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr("nestling.tuning.trial_index.TrialIndex.trial", fail)  # at the very end
    with pytest.raises(MemoryError):
        index.tune(0.9, queries=queries, budget_seconds=0.2, verbose=False)
    assert str(index.funnel) == "16@4:500 > 64@16"
    assert not index.centred
    np.testing.assert_array_equal(index.search(queries[:20]).scores, before)
    index.add(rows[:1])  # nobody holds the lock any more


def test_a_spent_budget_ends_the_tuning(
    data: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that spends the budget within four readings; a full tuning stores some 24 indexes."""
    stored = []
    rebuilt = Index.rebuilt

    def counted(index: Index, **options: Any) -> Index:
        stored.append(options)
        return rebuilt(index, **options)

    monkeypatch.setattr(Index, "rebuilt", counted)
    monkeypatch.setattr("nestling.tuning.target.time", FakeClock(tick=0.05))
    report = made(data[0]).tune(0.95, budget_seconds=0.2, verbose=False)
    assert report.seconds > 0.2
    assert report.reached
    assert 1 < len(stored) < 10


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"recall": 0}, "recall"),
        ({"recall": 1.01}, "recall"),
        ({"recall": float("nan")}, "recall"),
        ({"k": 0}, "k must"),
        ({"budget_seconds": 0}, "budget_seconds"),
        ({"prefer": "both"}, "prefer"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, object], named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        Index(8).tune(**options)


def test_wrong_queries_are_refused() -> None:
    index = made(np.eye(8, dtype=np.float32))
    with pytest.raises(VectorError, match="shape"):
        index.tune(queries=np.ones((3, 7)))
    with pytest.raises(VectorError, match="not finite"):
        index.tune(queries=np.full((3, 8), np.nan))


def test_the_lower_bound_holds_as_often_as_it_says() -> None:
    """Of 2,000 samples of 200 queries, the bound lies over the true mean in about 5 %."""
    rng = np.random.default_rng(0)
    hits = rng.binomial(10, 0.97, size=(2000, 200)) / 10
    over = np.mean([lower_bound(sample, 10) > 0.97 for sample in hits])
    assert 0.02 < over < 0.08
    assert lower_bound(np.ones(10), 10) < 0.99


def test_a_curve_tells_what_a_search_will_keep(data: tuple[np.ndarray, np.ndarray]) -> None:
    """Recall and rows kept, as read off one search, are those of the funnels themselves."""
    rows, queries = data
    index = made(rows, funnel="32@2:10 > 64@16")
    index.rebuild(centre=True)
    truth = exact_top(chunks(rows), queries, 10).rows
    query_set = QuerySet(queries, truth, None, 10)
    alone = index.search(queries, 2000, funnel="32@2")
    curve = Curve.of(query_set, alone.ids, alone.scores)
    fixed = curve.smallest_keep(0.95)
    assert fixed is not None
    margin = curve.smallest_margin(0.95, fixed.keep)
    assert margin is not None
    for one, tail in ((fixed, ""), (margin, f"~{margin.margin}")):
        hits = index.search(queries, 10, funnel=f"32@2:{one.keep}{tail} > 64@16")
        assert hits.stages[0].rows_kept / len(queries) == pytest.approx(one.mean, rel=0.01)
        got = query_set.recalls(hits.ids).mean()
        assert got == pytest.approx(curve.recall(one.keep, one.margin), abs=0.002)
        assert got >= 0.948
    assert curve.recall(fixed.keep * 0.8) < 0.95


def test_the_row_that_asks_is_not_found() -> None:
    query_set = QuerySet(np.ones((2, 1)), np.array([[5, 6, -1], [5, 6, 7]]), np.array([1, 9]), 2)
    ids = np.array([[1, 5, 6], [5, 8, 7]])
    np.testing.assert_array_equal(query_set.recalls(ids), [1, 0.5])
    np.testing.assert_array_equal(query_set.positions(ids), [[1, 2], [0, 2]])
    np.testing.assert_array_equal(query_set.positions(ids[:, :2]), [[1, NOT_FOUND], [0, NOT_FOUND]])


def test_exact_search_leaves_a_row_out_and_reads_chunks() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((1000, 8)).astype(np.float32)
    parts = np.array_split(rows, 7)
    top = exact_top(iter(parts), rows[:50], 5, cosine=False, leave_out=np.arange(50))
    scores = rows[:50] @ rows.T
    np.fill_diagonal(scores, -np.inf)
    np.testing.assert_array_equal(top.rows, np.argsort(-scores, axis=1)[:, :5])


def test_the_grid_is_of_eighths_and_the_present_prefix() -> None:
    assert grid(384, Funnel.parse("100@4").stages[0])[:3] == [384, 336, 288]
    assert 100 in grid(384, Funnel.parse("100@4").stages[0])
    assert grid(5, Funnel.parse("2@4").stages[0]) == [5, 2]
    assert round_up(99.2) == 100


@pytest.mark.parametrize("funnel", ["64@8:1000 > 64@16", "64@16", "64@4:11 > 64@16"])
def test_no_setting_is_listed_twice(funnel: str) -> None:
    index = Index(64, funnel=funnel)
    index.add(np.random.default_rng(0).standard_normal((60, 64), np.float32))
    for target in (0.9, 1.0):
        report = index.tune(target, budget_seconds=0.2, verbose=False)
        settings = [(one.funnel, one.cells, one.centred, one.rotated) for one in report.trials]
        assert len(set(settings)) == len(settings)
        assert {report.before, report.chosen} <= set(report.trials)
