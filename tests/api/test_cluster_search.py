"""A cluster finds what one collection finds whose segments are its shards, to the last bit."""

from __future__ import annotations

import pickle
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fsspec")

from cluster_world import Cluster, Document, cluster_of, collection_of, plain
from hypothesis import given, settings
from hypothesis import strategies as st

from nestling import (
    ArgumentError,
    Collection,
    FilterError,
    FormatError,
    FunnelError,
    Index,
    VectorError,
)
from nestling.cluster.requests import (
    CompletionRequest,
    CountRequest,
    DenseRequest,
    LexicalRequest,
    PassageRequest,
)
from nestling.cluster.routing import Routing, measure_routing
from nestling.cluster.shard import INDEX_FILE, Shard
from nestling.cluster.source import ClusterVersion
from nestling.collection import Passages, Synonyms
from nestling.collection.query.options import INCLUDES
from nestling.index.cells import Cells

WORDS = ("apple", "bread", "river", "stone", "violet", "running", "runs", "apples", "apply")
WORDS += ("كتاب", "المدرسة", "مدرسه", "نهر", "東京都")
SYNONYMS = Synonyms(["apple, red stone", "houze => river", "نهر, river"])
SHARDS = 4


@dataclass
class World:
    """One collection, and a cluster whose shards are its segments."""

    whole: Collection
    cluster: Cluster
    folder: Path
    removed: list[str]


def documents(seed: int, count: int, words: int) -> list[Document]:
    """Documents of few words, so that many have the same text and the same scores."""
    chosen = random.Random(seed)
    return [
        {
            "id": f"d{number}",
            "text": " ".join(chosen.choices(WORDS, k=chosen.randint(1, words))),
            "title": chosen.choice(["", "", "A stone"]),
            "metadata": {"n": number, "even": number % 2 == 0},
        }
        for number in range(count)
    ]


OPTIONS: dict[str, dict[str, Any]] = {
    "passages": {"funnel": "4@4:9 > 16@16", "passages": Passages(size=60, overlap=20)},
    "cells": {"funnel": "8@4:6 > 16@16", "passages": None, "title_weight": 3},
    "margin": {"funnel": "4@8:20~1.2 > 8@8:6 > 16@16", "passages": None, "title_weight": 3},
    "inner products": {"funnel": "16@8", "metric": "ip", "passages": Passages(size=90, overlap=0)},
}
BATCHES = ((0, 31), (31, 33), (33, 33), (33, 90))  # one of them is empty
REMOVED = [f"d{number}" for number in (3, 4, 31, 50, 51, 89)]


@pytest.fixture(scope="module", params=OPTIONS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    options = OPTIONS[request.param]
    cells = Cells(5, probes=2) if request.param == "cells" else None
    made = documents(7, 90, 40 if options["passages"] else 4)
    folder = tmp_path_factory.mktemp("cluster")
    batches = [made[start:end] for start, end in BATCHES]
    for number, batch in enumerate(batches):
        shard_cells = cells if len(batch) > 4 else None
        collection_of(folder / f"s{number}", [batch], shard_cells, **options).close()
    whole = collection_of(folder / "whole", batches, **options)
    if cells is not None:
        partition_large(whole, cells)
    whole.delete(REMOVED)
    cluster = cluster_of(
        [folder / f"s{number}" for number in range(SHARDS)], removed=REMOVED, like=whole
    )
    yield World(whole, cluster, folder, REMOVED)
    cluster.close()
    whole.close()


def partition_large(whole: Collection, cells: Cells) -> None:
    """Gives the segments of more than four rows cells, as their shards have them."""
    made = whole._store
    for part in made.view().segments:
        if len(part.index) > 4:
            with made.lock.holding():
                made.replace(made.view(), [part], lambda part=part: part.index.rebuilt(cells=cells))


def queries() -> st.SearchStrategy[str]:
    spelled = st.sampled_from([*WORDS, "appel", "brea", "ri", "violte", '"apple bread"', "houze"])
    return st.lists(spelled, max_size=5).map(" ".join)


def wheres() -> st.SearchStrategy[dict[str, Any] | None]:
    return st.one_of(
        st.none(),
        st.integers(-1, 91).map(lambda n: {"n": {"$gte": n}}),
        st.just({"even": True, "n": {"$lt": 40}}),
        st.just({"n": {"$in": [3, 4, 31, 51]}}),  # all of them are removed
        st.just({}),
    )


def searches() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "query": st.one_of(queries(), st.lists(queries(), min_size=1, max_size=3)),
            "k": st.sampled_from([1, 2, 5, 20, 1000]),
            "mode": st.sampled_from(["dense", "lexical", "hybrid"]),
            "where": wheres(),
            "include": st.lists(st.sampled_from(INCLUDES), unique=True),
            "fusion": st.sampled_from(["rrf", "weighted"]),
            "weight": st.sampled_from(["auto", 0.0, 0.3, 1.0]),
            "synonyms": st.sampled_from([None, SYNONYMS]),
            "fuzzy": st.booleans(),
            "prefix": st.booleans(),
            "explain": st.booleans(),
            "probes": st.sampled_from([None, 0, 1, 3]),
        }
    )


@contextmanager
def sharing(cluster: Cluster, together: int) -> Iterator[None]:
    """Has so many shards share a process."""
    cluster.together = together
    try:
        yield
    finally:
        cluster.together = 1


@settings(max_examples=60, deadline=None)
@given(options=searches(), together=st.integers(1, 4))
def test_a_cluster_finds_what_one_collection_finds(
    world: World, options: dict[str, Any], together: int
) -> None:
    expected = world.whole.search(**options)
    with sharing(world.cluster, together):
        found = world.cluster.search(**options)
    if isinstance(options["query"], str):
        expected, found = [expected], [found]
    assert len(found) == len(expected)
    for one, other in zip(expected, found, strict=True):
        assert plain(other) == (one.hits, one.explanation, one.refined)
        assert (other.coverage, other.late, other.shards) == (1, (), SHARDS)
        assert pickle.loads(pickle.dumps(other)) == other


def test_shards_of_a_process_make_the_filter_of_words_once(world: World) -> None:
    first = next(iter(world.cluster.shards.values()))
    with sharing(world.cluster, SHARDS):
        for number in range(6):
            where = {"n": {"$gte": number}}
            made = set()
            for _ in range(3):
                found = world.cluster.search("apple", 50, where=where, mode="lexical", include=())
                assert found.ids == world.whole.search("apple", 50, where, mode="lexical").ids
                made.add([filter for *_, filter in first._filters._kept.values()][-1])
            assert len(made) == 1
            assert len(first._filters._kept) <= 4


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 7),
    st.sampled_from([1, 3, 10, 100]),
    st.sampled_from([None, "8@4:3 > 16@16", "16@16"]),
    st.integers(1, 4),
)
def test_vectors_find_the_same(
    world: World, seed: int, count: int, k: int, funnel: str | None, together: int
) -> None:
    vectors = np.random.default_rng(seed).standard_normal((count, 16)).astype(np.float32)
    try:
        expected = world.whole.search(vectors, k, funnel=funnel, include=())
    except FunnelError as error:
        with pytest.raises(FunnelError, match=str(error)[:20]):
            world.cluster.search(vectors, k, funnel=funnel, include=())
        return
    with sharing(world.cluster, together):
        found = world.cluster.search(vectors, k, funnel=funnel, include=())
    assert [each.hits for each in found] == [each.hits for each in expected]
    assert len(world.cluster.rounds) >= 1


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 999),
    cuts=st.lists(st.integers(0, 12), min_size=1, max_size=3),
    removed=st.sets(st.integers(0, 11), max_size=4),
    query=queries(),
)
def test_generated_shards_are_one_collection(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    cuts: list[int],
    removed: set[int],
    query: str,
) -> None:
    """Also one whose rows are all in one segment, if the funnel is exact."""
    made = documents(seed, 12, 12)
    bounds = sorted([0, *cuts, 12])
    batches = [made[start:end] for start, end in pairwise(bounds)]
    options = {"funnel": "16@16", "passages": Passages(size=30, overlap=5)}
    folder = tmp_path_factory.mktemp("generated")
    gone = [f"d{number}" for number in removed]
    for number, batch in enumerate(batches):
        collection_of(folder / f"s{number}", [batch], **options).close()
    folders = [folder / f"s{number}" for number in range(len(batches))]
    with (
        collection_of(folder / "parts", batches, **options) as parts,
        collection_of(folder / "one", [made], **options) as one,
    ):
        parts.delete(gone)
        one.delete(gone)
        cluster = cluster_of(folders, removed=gone, like=parts)
        for mode in ("dense", "lexical", "hybrid"):
            for k in (2, 50):
                found = cluster.search(query, k, mode=mode, fuzzy=True, prefix=True)
                for whole in (parts, one):
                    expected = whole.search(query, k, mode=mode, fuzzy=True, prefix=True)
                    assert found.hits == expected.hits
        cluster.close()


def test_the_rounds_of_a_query_are_few(world: World) -> None:
    cluster = world.cluster
    vector = np.ones(16, np.float32)
    split = world.whole._store.view().split

    def kinds(query: Any, **options: Any) -> list[type]:
        cluster.search(query, 5, **options)
        return [type(next(iter(requests.values()))) for requests in cluster.rounds]

    if not split:  # which may have to search deeper
        assert kinds(vector, include=()) == [DenseRequest]
        assert kinds(vector) == [DenseRequest, PassageRequest]
        assert kinds(vector, include=["vector"]) == [DenseRequest, PassageRequest]
    cluster.version.counts.clear()
    cluster.version.completed.clear()
    assert kinds("bread river", mode="lexical", include=()) == [CountRequest, LexicalRequest]
    assert kinds("river bread", mode="lexical", include=()) == [LexicalRequest]
    first = kinds("ston", mode="lexical", include=(), prefix=True)
    assert first[0] == CompletionRequest
    assert first[-1] == LexicalRequest
    assert kinds("ston", mode="lexical", include=(), prefix=True) == [LexicalRequest]
    requests = cluster.rounds[-1]
    cluster.search("bread", 2, mode="lexical")
    for name, request in cluster.rounds[-1].items():  # documents of the final hits only
        assert isinstance(request, PassageRequest)
        assert len(request.rows) <= 2
        assert name in requests


def test_answers_are_bounded_by_what_there_is(world: World) -> None:
    world.cluster.search("apple", 10**7, mode="lexical", include=())
    for name, shard in world.cluster.shards.items():
        answer = shard.call(DenseRequest(np.ones((2, 16), np.float32), 10**9, ids=True))
        rows = world.cluster.version.shards[name].rows
        assert answer.rows.shape[1] <= max(rows, 1)  # type: ignore[union-attr]
        few = shard.call(
            DenseRequest(np.ones((2, 16), np.float32), 10**9, where={"n": {"$lt": 40, "$gt": 29}})
        )
        assert few.rows.shape[1] <= 40  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
@pytest.mark.parametrize("include", [(), ("text", "vector")])
@pytest.mark.parametrize("lost", ["s0", "s3"])
@pytest.mark.parametrize("together", [1, 2])
def test_a_shard_that_does_not_answer_is_left_out(
    world: World, mode: str, include: Sequence[str], lost: str, together: int
) -> None:
    """From whatever round it is silent: the hits are those of the others.

    With it are lost those of its process that were sent something in the same round.
    """
    cluster, rows = world.cluster, world.cluster.version.manifest.rows
    names = list(cluster.shards)
    start = names.index(lost) // together * together
    query = "apple stone نهر"
    with ExitStack() as stack:
        stack.enter_context(sharing(cluster, together))
        stack.callback(setattr, cluster, "silent", cluster.silent)
        others: dict[tuple[str, ...], Cluster] = {}
        for late in {(lost,), tuple(names[start : start + together])}:
            folders = [world.folder / name for name in names if name not in late]
            others[late] = cluster_of(folders, removed=world.removed, like=world.whole)
            stack.callback(others[late].close)
        complete = cluster.search(query, 6, mode=mode, include=include)
        rounds = len(cluster.rounds)
        for since in range(rounds):
            for known in (False, True):  # whether the words were counted in all shards
                if not known:
                    cluster.version.counts.clear()
                cluster.silent = lambda name, number, since=since: name == lost and number >= since
                found = cluster.search(query, 6, mode=mode, include=include)
                assert found.late in others or found == complete
                if not found.late:  # nothing of it was needed after that
                    continue
                without = sum(cluster.version.shards[name].rows for name in found.late)
                assert found.coverage == (rows - without) / rows
                assert not _ids_in(world, found.late) & set(found.ids)
                assert len(found) == 6
                if mode == "dense" or (since == 0 and not known):
                    expected = others[found.late].search(query, 6, mode=mode, include=include)
                    assert found.hits == expected.hits
                cluster.silent = lambda name, number: False
                cluster.search(query, 6, mode=mode, include=include)  # counts words again
        cluster.silent = lambda name, number: False
        assert cluster.search(query, 6, mode=mode, include=include) == complete


def _ids_in(world: World, names: Sequence[str]) -> set[str]:
    """The documents of some shards."""
    ids: set[str] = set()
    for name in names:
        shard = world.cluster.shards[name]
        ids |= set(shard._view.ids(np.array(_living(shard), np.int64)))
    return ids & {hit.id for hit in world.whole.search("", 1000, where={}, include=())}


def _living(shard: Shard) -> list[int]:
    return [
        row + part.first for part in shard._view.filled for row in np.sort(part.index.ids).tolist()
    ]


def test_without_any_answer_there_are_no_hits(world: World) -> None:
    world.cluster.silent = lambda name, number: True
    try:
        for mode in ("dense", "lexical", "hybrid"):
            found = world.cluster.search("apple", mode=mode, prefix=True, fuzzy=True)
            assert (len(found), found.coverage, found.late) == (0, 0, ("s0", "s1", "s2", "s3"))
    finally:
        world.cluster.silent = lambda name, number: False


def test_a_round_leaves_time_for_the_next(world: World) -> None:
    deadlines: list[float] = []
    call = world.cluster.call

    def noting(requests: Any, deadline: float | None) -> Any:
        assert deadline is not None
        deadlines.append(deadline)
        return call(requests, deadline)

    world.cluster.call = noting  # type: ignore[method-assign]
    try:
        start = time.monotonic()
        world.cluster.search("apple", mode="hybrid", deadline=start + 100)
        assert len(deadlines) >= 3
        assert all(start < deadline < start + 95 for deadline in deadlines)
        assert deadlines == sorted(deadlines)
        deadlines.clear()
        world.cluster.search("apple", mode="lexical", include=(), deadline=start + 100)
        assert not world.whole._store.view().split or deadlines[-1] < start + 100
        assert world.whole._store.view().split or deadlines[-1] == start + 100
    finally:
        world.cluster.call = call  # type: ignore[method-assign]


def test_errors_of_the_caller_are_raised_as_they_are(world: World) -> None:
    cluster = world.cluster
    with pytest.raises(FilterError, match=r"\$nonsense"):
        cluster.search("apple", where={"n": {"$nonsense": 1}})
    with pytest.raises(FunnelError):
        cluster.search("apple", funnel="3@4 > 16@16")
    with pytest.raises(VectorError, match="17"):
        cluster.search(np.ones(17))
    with pytest.raises(ArgumentError, match="words"):
        cluster.search(np.ones(16), mode="lexical")
    with pytest.raises(ArgumentError, match="probes"):
        cluster.search("apple", probes=-1)
    with pytest.raises(ArgumentError, match="not built by cells"):
        cluster.search("apple", route=3)
    with pytest.raises(ArgumentError, match="k must be"):
        cluster.search("apple", 0)
    shard = cluster.shards["s0"]
    with pytest.raises(ArgumentError, match="str is not a request"):
        shard.call("nonsense")  # type: ignore[arg-type]


def test_a_shard_with_other_rows_than_in_the_manifest_is_not_opened(world: World) -> None:
    entry = world.cluster.version.shards["s0"]
    with pytest.raises(FormatError, match="rows, the manifest"):
        Shard.open(world.folder / "s0", entry, ["d0"], threads=1)


def test_opening_a_shard_changes_no_file(world: World) -> None:
    def state() -> dict[str, bytes]:
        files = (world.folder / "s3").rglob("*")
        return {
            str(path): path.read_bytes()
            for path in files
            if path.is_file() and not path.name.endswith(("-shm", "-wal", ".lock"))
        }

    before = state()
    entry = world.cluster.version.shards["s3"]
    with Shard.open(world.folder / "s3", entry, world.removed, threads=1) as shard:
        shard.call(DenseRequest(np.ones((1, 16), np.float32), 5, where={"even": True}))
        assert shard.statistics.rows == entry.rows
        assert shard.statistics.documents == entry.documents
        assert shard.statistics.tokens == entry.tokens
    assert state() == before


# A dataset of bare vectors: shards are indexes, and ids are row numbers.


@pytest.fixture(scope="module")
def vectors() -> Any:
    drawn = np.random.default_rng(3).standard_normal((400, 16)).astype(np.float32)
    drawn[200:210] = drawn[:10]  # equal scores, in two shards
    return drawn


@pytest.fixture(scope="module")
def bare(vectors: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("bare")
    like = Index(16, funnel="16@16", threads=1)
    for number, (start, end) in enumerate(((0, 150), (150, 150), (150, 400))):
        part = like.empty()
        part.add(vectors[start:end])
        (folder / f"s{number}").mkdir()
        part.save(folder / f"s{number}" / INDEX_FILE)
    cluster = cluster_of(
        [folder / f"s{number}" for number in range(3)],
        kind="index",
        removed_of=[["7", "9"], [], ["163"]],
        like=like,
        gap=0,
    )
    yield cluster
    cluster.close()


def expected_of(bare: Cluster, vectors: Any) -> Index:
    """One index of the same rows and ids."""
    first = bare.version.shards["s2"].first
    ids = np.concatenate([np.arange(5, 155), np.arange(first, first + 250)])
    one = Index(16, funnel="16@16", threads=1)
    one.add(vectors, ids=ids)
    one.remove([7, 9, 163])
    return one


@pytest.mark.parametrize("together", [1, 2, 8])
@pytest.mark.parametrize("k", [1, 10, 1000])
def test_bare_vectors_are_found_as_by_one_index(
    bare: Cluster, vectors: Any, k: int, together: int
) -> None:
    one = expected_of(bare, vectors)
    queries = np.concatenate([vectors[:5], vectors[200:203]])
    expected = one.search(queries, k)
    with sharing(bare, together):
        found = bare.search(queries, k, include=())
    assert len(bare.rounds) == 1
    for hits, ids, scores in zip(found, expected.ids, expected.scores, strict=True):
        living = ids >= 0
        assert hits.ids == ids[living].tolist()
        assert hits.scores == scores[living].tolist()
        assert hits.coverage == 1
    with_vectors = bare.search(queries[0], k, include=["vector"], explain=True)
    stored = np.array([hit.vector for hit in with_vectors])
    assert np.array_equal(stored, one.reconstruct(with_vectors.ids))
    assert with_vectors.explanation.dropped == ()


def test_bare_vectors_have_no_words_and_no_metadata(bare: Cluster) -> None:
    with pytest.raises(ArgumentError, match="bare vectors"):
        bare.search("bread", mode="lexical", include=())
    with pytest.raises(ArgumentError, match="without documents"):
        bare.search(np.ones(16))
    with pytest.raises(FilterError, match="bare vectors"):
        bare.search(np.ones(16), include=(), where={"n": 1})
    with pytest.raises(ArgumentError, match="words"):
        bare.shards["s0"].call(CountRequest((("bread", 0),)))
    with pytest.raises(VectorError, match="no encoder"):
        bare.search("bread", include=())


# Shards by cells.


def routed(bare: Cluster, vectors: Any) -> Cluster:
    """The same shards, as if their rows had been assigned by centroids."""
    centroids = [vectors[:150:30], np.empty((0, 16), np.float32), vectors[160::50]]
    version = ClusterVersion(bare.version.manifest, Routing(centroids))
    return Cluster(bare.shards, version, bare.slot)


def test_a_query_goes_to_the_shards_of_the_nearest_centroids(bare: Cluster, vectors: Any) -> None:
    cluster = routed(bare, vectors)
    for number, name in ((0, "s0"), (60, "s0"), (160, "s2"), (310, "s2")):
        hits = cluster.search(vectors[number], 3, include=(), route=1)
        assert list(cluster.rounds[0]) == [name]
        assert (hits.shards, hits.coverage, hits.late) == (1, 1.0, ())
        assert hits[0].score == pytest.approx(1, abs=1e-3)
    assert cluster.version.routing is not None
    both = np.stack([vectors[30], vectors[260]])
    one, other = cluster.search(both, 3, include=(), route=1)
    requests = cluster.rounds[0]
    assert {name: len(request.vectors) for name, request in requests.items()} == {  # type: ignore[union-attr]
        "s0": 1,
        "s2": 1,
    }
    assert one.hits == cluster.search(both[0], 3, include=(), route=1).hits
    assert other.hits == cluster.search(both[1], 3, include=(), route=1).hits
    every = cluster.search(both, 5, include=(), route=10_000)
    assert [each.hits for each in every] == [each.hits for each in bare.search(both, 5, include=())]


def test_a_routed_query_that_is_not_answered_says_so(bare: Cluster, vectors: Any) -> None:
    cluster = routed(bare, vectors)
    cluster.silent = lambda name, number: name == "s0"
    one, other = cluster.search(vectors[[30, 260]], 3, include=(), route=1)
    assert (one.coverage, one.late, len(one)) == (0, ("s0",), 0)
    assert (other.coverage, other.late, len(other)) == (1, (), 3)


def test_the_recall_of_routing_is_measured(bare: Cluster, vectors: Any) -> None:
    cluster = routed(bare, vectors)
    assert cluster.version.routing is not None
    queries = np.random.default_rng(8).standard_normal((40, 16)).astype(np.float32)

    def search(some: Any, probes: int | None) -> list[list[int]]:
        return [hits.ids for hits in cluster.search(some, 5, include=(), route=probes)]

    measured = measure_routing(cluster.version.routing, search, queries, [1, 3, 10])
    assert [each.probes for each in measured] == [1, 3, 10]
    recalls = [each.recall for each in measured]
    assert recalls == sorted(recalls)
    assert 0.2 < recalls[0] < 1
    assert recalls[-1] == 1
    assert measured[0].shards == pytest.approx(1 / 3)
    with pytest.raises(ArgumentError, match="without queries"):
        measure_routing(cluster.version.routing, search, queries[:0], [1])
    with pytest.raises(ArgumentError, match="probes"):
        cluster.search(queries, 3, include=(), route=0)
    with pytest.raises(VectorError, match="one dim"):
        Routing([np.ones((1, 2), np.float32), np.ones((1, 3), np.float32)])
