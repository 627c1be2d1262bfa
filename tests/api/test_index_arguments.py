"""The arguments of an index and of its searches: what is taken, what is refused, what is shown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import Funnel, FunnelError, Index, Stage
from nestling.errors import ArgumentError
from strategies import embeddings, funnels

FUNNEL = "16@4:100 > 32@8:60 > 48@16:20 > 64@32"


@pytest.fixture(scope="module")
def index() -> Index:
    index = Index(64, funnel=FUNNEL)
    index.add(embeddings(np.random.default_rng(0), 500, 64))
    return index


QUERIES = embeddings(np.random.default_rng(1), 4, 64)


def test_an_index_tells_what_it_is(index: Index) -> None:
    assert index.dim == 64
    assert index.metric == "cosine"
    assert index.funnel == Funnel.parse(FUNNEL)
    assert len(index) == 500
    for part in ("500", "64", "cosine", FUNNEL):
        assert part in repr(index)


@pytest.mark.parametrize("funnel", ["8@4:10 > 16@8", Funnel((Stage(8, 4, 10), Stage(16, 8)))])
def test_funnels_are_strings_or_objects(funnel: str | Funnel) -> None:
    assert Index(16, funnel=funnel).funnel == Funnel.parse("8@4:10 > 16@8")


@pytest.mark.parametrize("dim", [0, -1, 2**17, 1.5, "8", None])
def test_a_wrong_dim_is_refused(dim: object) -> None:
    with pytest.raises(ArgumentError, match="dim"):
        Index(dim)  # type: ignore[arg-type]


@pytest.mark.parametrize("metric", ["l2", "COSINE", "", None, 1])
def test_a_wrong_metric_is_refused_with_the_right_ones(metric: object) -> None:
    with pytest.raises(ArgumentError, match=r"cosine.*ip"):
        Index(8, metric=metric)  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2"])
def test_wrong_threads_are_refused(threads: object) -> None:
    with pytest.raises(ArgumentError, match="threads"):
        Index(8, threads=threads)  # type: ignore[arg-type]


@pytest.mark.parametrize("funnel", ["8@4:10 > 16@8", "64@8", "32@32"])
def test_a_funnel_must_end_at_the_dim(funnel: str) -> None:
    with pytest.raises(FunnelError, match="48"):
        Index(48, funnel=funnel)


@pytest.mark.parametrize("k", [0, -1, 1.0, "3", None])
def test_a_wrong_k_is_refused(index: Index, k: object) -> None:
    with pytest.raises(ArgumentError, match="k"):
        index.search(QUERIES, k)  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [2**62, 2**63, 2**64, 2**100])
def test_a_k_beyond_all_memory_is_refused(index: Index, k: int) -> None:
    with pytest.raises((ValueError, MemoryError)):
        index.search(QUERIES, k)


@pytest.mark.parametrize("k", [np.int64(3), np.uint8(3)])
def test_k_may_be_a_whole_number_of_numpy(index: Index, k: int) -> None:
    assert index.search(QUERIES, k).ids.shape == (4, 3)


def test_k_is_ten_by_default(index: Index) -> None:
    assert index.search(QUERIES).ids.shape == (4, 10)


@pytest.mark.parametrize(
    "funnel",
    [
        "16@4:300 > 64@32",
        "16@4:100 > 32@8:5 > 64@32",
        "16@4:50 > 48@16:20 > 64@32",
        FUNNEL,
    ],
)
def test_a_search_may_run_some_of_the_stages(index: Index, funnel: str) -> None:
    hits = index.search(QUERIES, k=5, funnel=funnel)
    stages = Funnel.parse(funnel).stages
    assert [(s.dims, s.bits) for s in hits.stages] == [(s.dims, s.bits) for s in stages]
    assert [s.rows_kept for s in hits.stages] == [4 * (s.keep or 5) for s in stages]


@given(data=st.data())
def test_skipped_stages_leave_the_score_of_the_last(data: st.DataObject) -> None:
    """However a search came to the last stage, a row's score there is the same to float noise."""
    funnel = data.draw(funnels(60, bits=(16, 32)))
    index = Index(60, funnel=funnel)
    rng = np.random.default_rng(9)
    index.add(embeddings(rng, 100, 60))
    queries = embeddings(rng, 2, 60)
    inner = [s for s in funnel.stages[1:-1] if data.draw(st.booleans())]
    first = funnel.stages[:1] if len(funnel.stages) > 1 else ()
    some = Funnel((*(Stage(s.dims, s.bits, 100) for s in (*first, *inner)), funnel.stages[-1]))
    every = Funnel((*(Stage(s.dims, s.bits, 100) for s in funnel.stages[:-1]), funnel.stages[-1]))
    one, other = (index.search(queries, 100, funnel=f) for f in (some, every))
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)


@pytest.mark.parametrize(
    "funnel",
    [
        "16@8:100 > 64@32",
        "8@4:100 > 64@32",
        "16@4:100 > 64@16",
        "16@4:100 > 33@8:60 > 64@32",
        "16@4:100 > 64@32:50 > 128@32",
    ],
)
def test_a_search_refuses_stages_of_another_index(index: Index, funnel: str) -> None:
    with pytest.raises(FunnelError, match=r"16@4"):
        index.search(QUERIES, funnel=funnel)


@pytest.mark.parametrize("funnel", ["nonsense", 64, ("16@4:100",)])
def test_a_search_refuses_what_is_no_funnel(index: Index, funnel: object) -> None:
    with pytest.raises(FunnelError):
        index.search(QUERIES, funnel=funnel)  # type: ignore[arg-type]
