"""What must not change a bit of the hits: batches, threads, how rows came, files, the ISA."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import Index, _core
from oracle import funnel_search, same
from strategies import Problem, embeddings, problems

TESTS = Path(__file__).parents[1]
FUNNELS = (
    "64@4:50 > 100@8",
    "33@8:50 > 64@16:20 > 100@32",
    "100@1",
    "100@2",
    "100@4",
    "100@8",
    "100@16",
    "100@32",
    "10@8:60 > 64@8:30 > 100@32",
)


@pytest.mark.parametrize("funnel", FUNNELS)
@pytest.mark.parametrize("count", [1, 2, 7, 65, 300])
def test_a_batch_gives_what_single_queries_give(funnel: str, count: int) -> None:
    rng = np.random.default_rng(1)
    rows, queries = embeddings(rng, 3000, 100), embeddings(rng, 300, 100)
    index = Index(dim=100, funnel=funnel)
    index.add(rows)
    whole = index.search(queries, k=15)
    for start in range(0, 300, max(count, 30)):
        part = index.search(queries[start : start + count], k=15)
        np.testing.assert_array_equal(part.ids, whole.ids[start : start + count])
        np.testing.assert_array_equal(part.scores, whole.scores[start : start + count])


@pytest.mark.parametrize("funnel", FUNNELS)
@pytest.mark.parametrize("queries", [1, 3, 100])
def test_threads_change_nothing(funnel: str, queries: int) -> None:
    rng = np.random.default_rng(2)
    rows, questions = embeddings(rng, 20_000, 100), embeddings(rng, queries, 100)
    rows[rng.integers(0, 20_000, 5000)] = rows[0]  # ties that lie on both sides of every split
    hits = []
    for threads in (1, 2, 5):
        index = Index(dim=100, funnel=funnel, threads=threads)
        index.add(rows)
        hits.append(index.search(questions, k=30))
    same(hits[0], hits[1])
    same(hits[0], hits[2])


@given(problem=problems(), cuts=st.lists(st.integers(0, 400), max_size=6))
def test_rows_may_come_in_any_number_of_adds(problem: Problem, cuts: list[int]) -> None:
    one, many = (Index(problem.dim, funnel=problem.funnel, metric=problem.metric) for _ in range(2))
    one.add(problem.rows, ids=problem.known_ids)
    bounds = sorted({0, len(problem.rows), *(c for c in cuts if c < len(problem.rows))})
    for start, stop in pairwise(bounds):
        many.add(problem.rows[start:stop], ids=problem.known_ids[start:stop])
    assert len(one) == len(many) == len(problem.rows)
    same(one.search(problem.queries, problem.k), many.search(problem.queries, problem.k))


def test_rows_beyond_the_first_chunks_are_as_good_as_others(tmp_path: Path) -> None:
    """Storage comes in chunks of 65,536 rows; adds, files and ids must not show where they end."""
    n, dim = 140_000, 8
    rng = np.random.default_rng(0)
    rows = rng.integers(-9, 9, (n, dim)).astype(np.float32)
    ids = rng.permutation(n).astype(np.int64) * 3
    queries = rng.integers(-9, 9, (3, dim)).astype(np.float32)
    one, many = (Index(dim, funnel="4@32:70000 > 8@32", metric="ip") for _ in range(2))
    one.add(rows, ids=ids)
    for start, stop in pairwise([0, 1, 65_530, 65_536, 65_537, 131_071, 131_080, n]):
        many.add(rows[start:stop], ids=ids[start:stop])
    many.save(tmp_path / "a.nest")
    loaded = Index.load(tmp_path / "a.nest")
    expected = funnel_search(queries, rows, ids, one.funnel, 300, "ip")
    for index in (one, many, loaded):
        hits = index.search(queries, k=300)
        np.testing.assert_array_equal(hits.ids, expected[0])
        np.testing.assert_array_equal(hits.scores, expected[1])
        np.testing.assert_array_equal(index.reconstruct(ids), rows)
    for index in (many, loaded):
        index.add(rows[:9], ids=ids[:9] + 1)
        np.testing.assert_array_equal(index.reconstruct(ids[:9] + 1), rows[:9])
        np.testing.assert_array_equal(index.reconstruct(ids), rows)


@given(problem=problems(), seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(problem: Problem, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(problem.rows))
    one, other = (
        Index(problem.dim, funnel=problem.funnel, metric=problem.metric) for _ in range(2)
    )
    one.add(problem.rows, ids=problem.known_ids)
    other.add(problem.rows[order], ids=problem.known_ids[order])
    same(one.search(problem.queries, problem.k), other.search(problem.queries, problem.k))


@given(problem=problems())
def test_a_saved_index_answers_as_before(
    tmp_path_factory: pytest.TempPathFactory, problem: Problem
) -> None:
    index = Index(problem.dim, funnel=problem.funnel, metric=problem.metric)
    index.add(problem.rows, ids=problem.ids)
    path = tmp_path_factory.mktemp("index") / "a.nest"
    index.save(path)
    before = index.search(problem.queries, problem.k)
    for verify in (True, False):
        loaded = Index.load(path, verify=verify)
        assert (loaded.dim, loaded.metric, loaded.funnel) == (
            index.dim,
            index.metric,
            index.funnel,
        )
        assert len(loaded) == len(index)
        same(loaded.search(problem.queries, problem.k), before)
        np.testing.assert_array_equal(
            loaded.reconstruct(problem.known_ids), index.reconstruct(problem.known_ids)
        )


ISA_SCRIPT = """
import itertools
import sys
import numpy as np
import nestling
from nestling import _core
from nestling.index.cells import Cells
from strategies import embeddings

assert _core.isa() == sys.argv[1], (_core.isa(), sys.argv[1])
out = {}
for metric in ("cosine", "ip"):
    for dim in (1, 2, 7, 31, 32, 33, 64, 100, 129, 256):
        rng = np.random.default_rng(dim)
        rows, queries = embeddings(rng, 700, dim), embeddings(rng, 21, dim)
        rows[::50] = 0
        funnels = [f"{dim}@{bits}" for bits in (1, 2, 4, 8, 16, 32)]
        if dim > 2:
            pairs = [(1, 8), (2, 16), (4, 8), (4, 16), (4, 32)]
            pairs += [(8, 8), (8, 16), (8, 32), (16, 16), (32, 32)]
            funnels += [f"{dim // 2}@{b}:99 > {dim}@{c}" for b, c in pairs]
        for funnel in funnels:
            index = nestling.Index(dim, funnel=funnel, metric=metric)
            index.add(rows)
            name = f"{metric} {funnel}"
            out[name + " ids"], out[name + " scores"] = index.search(queries, k=50)
            out[name + " one ids"], out[name + " one scores"] = index.search(queries[0], k=50)
            out[name + " rows"] = index.reconstruct(np.arange(700))
            index.save(sys.argv[2] + ".nest")
            with open(sys.argv[2] + ".nest", "rb") as file:
                out[name + " file"] = np.frombuffer(file.read(), np.uint8)
for metric, funnel in itertools.product(("cosine", "ip"), ("40@1:99 > 65@16", "33@4:99 > 65@32")):
    rng = np.random.default_rng(1)
    rows, queries = embeddings(rng, 700, 65), embeddings(rng, 21, 65)
    index = nestling.Index(65, funnel=funnel, metric=metric)
    index.add(rows)
    index.rebuild(rotate=True, centre=metric == "cosine", cells=Cells(20, probes=3))
    index.add(rows[:50] * -1)
    index.remove(np.arange(0, 700, 7))
    margin = f"{funnel.split(' >')[0]}~2 >{funnel.split('>')[1]}" if metric == "cosine" else funnel
    for where in (None, np.arange(0, 700, 2), np.arange(0, 700, 50)):
        for probes in (None, 0, 20):
            hits = index.search(queries, k=50, where=where, probes=probes, funnel=margin)
            name = f"{metric} {funnel} {where is None or len(where)} {probes}"
            out[name + " ids"], out[name + " scores"] = hits
    index.compact()
    index.save(sys.argv[2] + ".nest")
    with open(sys.argv[2] + ".nest", "rb") as file:
        out[f"{metric} {funnel} file"] = np.frombuffer(file.read(), np.uint8)
np.savez(sys.argv[2], **out)
"""


def answers(isa: str, folder: Path) -> dict[str, np.ndarray]:
    """Runs the script under one ISA and returns its arrays by name."""
    path = folder / isa
    subprocess.run(
        [sys.executable, "-c", ISA_SCRIPT, isa, str(path)],
        env=os.environ | {"NESTLING_ISA": isa, "PYTHONPATH": str(TESTS)},
        check=True,
        timeout=300,
    )
    with np.load(f"{path}.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def scalar(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return answers("scalar", tmp_path_factory.mktemp("scalar"))


@pytest.mark.parametrize("isa", [isa for isa in _core.available_isas() if isa != "scalar"])
def test_every_isa_gives_the_bits_of_scalar(
    isa: str, scalar: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """Hits, rows and even files: whoever writes an index, everyone reads the same."""
    mine = answers(isa, tmp_path)
    assert mine.keys() == scalar.keys()
    for name, expected in scalar.items():
        np.testing.assert_array_equal(mine[name], expected, err_msg=name)


def test_the_isas_that_ci_requires_are_there() -> None:
    """A machine of a CI may demand ISAs, so that no test of them vanishes without a word."""
    required = set(os.environ.get("NESTLING_TEST_REQUIRE_ISA", "scalar").split(","))
    assert required <= set(_core.available_isas())


@pytest.mark.parametrize("funnel", ["40@4:200 > 64@16", "40@1:200 > 64@16", "64@16:200 > 64@32"])
def test_a_scan_split_over_threads_finds_the_same(funnel: str) -> None:
    """Enough rows that a single query's scan is split, too, and that thresholds are seeded."""
    rng = np.random.default_rng(5)
    rows, queries = embeddings(rng, 90_000, 64), embeddings(rng, 70, 64)
    rows[50_000:50_300] = rows[7]  # ties across ranges, more than are kept
    results = []
    for threads in (1, 2, 5):
        index = Index(64, funnel=funnel, threads=threads)
        index.add(rows)
        results.append([index.search(queries, k=20), index.search(rows[7], k=20)])
    for batch, single in results[1:]:
        for got, wanted in zip((batch, single), results[0], strict=True):
            np.testing.assert_array_equal(got.ids, wanted.ids)
            np.testing.assert_array_equal(got.scores, wanted.scores)
    assert results[0][1].ids[0] == 7
