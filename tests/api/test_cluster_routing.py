"""Datasets by cells: built, appended to and compacted, and still found where queries are sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fsspec")
pytest.importorskip("tenacity")

from cluster_files import DIM, documents, inline, register, write_jsonl
from cluster_world import Cluster

from nestling import ArgumentError, Collection, CorpusError, FormatError, cluster
from nestling.cluster import BuildSettings, Dataset, Manifest, ShardCache, upkeep
from nestling.cluster.routing import (
    RoutedRecall,
    Routing,
    distinct_centroids,
    measure_routing,
    read_centroids,
)
from nestling.cluster.shard import Shard
from nestling.cluster.source import ClusterVersion
from nestling.collection.ingest.encoder import EncoderSlot

register()

FUNNEL = f"{DIM}@16"  # exact, so that hits do not depend on how rows are divided
BY_CELLS = BuildSettings(routing="cells", funnel=FUNNEL, passages=None)
TOPICS = np.random.default_rng(1).standard_normal((12, DIM)).astype(np.float32) * 2


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    inline(monkeypatch, upkeep)


def near_topics(count: int, start: int, seed: int) -> list[Any]:
    records: list[Any] = documents(count, start=start)
    noise = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    for number, record in enumerate(records):
        record["vectors"] = (TOPICS[number % len(TOPICS)] + 0.5 * noise[number]).tolist()
    return records


@contextmanager
def opened(path: Path, tmp_path: Path) -> Iterator[Cluster]:
    """The newest version of a dataset, with its routing, in this process."""
    dataset = Dataset.open(path)
    manifest = dataset.manifest()
    cache = ShardCache(tmp_path / "cache")
    with ExitStack() as stack:
        shards = {}
        for entry in manifest.shards:
            local = stack.enter_context(cache.fetch(dataset, entry))
            shards[entry.name] = Shard.open(local.folder, entry, local.removed, threads=1)
            stack.callback(shards[entry.name].close)
        routing = Routing([read_centroids(dataset.storage, entry) for entry in manifest.shards])
        slot = EncoderSlot(None, None, threads=1, where="the dataset")
        yield Cluster(shards, ClusterVersion(manifest, routing), slot)


def queries(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    noise = np.random.default_rng(9).standard_normal((count, DIM)).astype(np.float32)
    made: np.ndarray[Any, np.dtype[np.float32]] = TOPICS[np.arange(count) % len(TOPICS)]
    return made + np.float32(0.5) * noise


def recalls(found: Cluster) -> list[RoutedRecall]:
    assert found.version.routing is not None

    def search(some: Any, probes: int | None) -> list[list[str]]:
        return [hits.ids for hits in found.search(some, 5, include=(), route=probes)]

    return measure_routing(found.version.routing, search, queries(60), [1, 4, 8, 10_000])


def check(path: Path, tmp_path: Path, records: list[Any]) -> list[RoutedRecall]:
    """Compares a dataset with one collection of the same documents, and routes each to itself."""
    with (
        opened(path, tmp_path) as found,
        Collection(tmp_path / f"one-{len(records)}", dim=DIM, funnel=FUNNEL, passages=None) as one,
    ):
        if not len(one):
            one.add(records, progress=False)
        assert found.version.manifest.documents == len(one) == len(records)
        for hits, expected in zip(
            found.search(queries(30), 7), one.search(queries(30), 7), strict=True
        ):
            assert [(hit.id, hit.score) for hit in hits] == [
                (hit.id, hit.score) for hit in expected
            ]
            assert hits.shards == len(found.shards)
        vectors = np.array([record["vectors"] for record in records], np.float32)
        for record, hits in zip(records, found.search(vectors, 1, route=1), strict=True):
            assert hits.ids == [record["id"]]
            assert hits.coverage == 1
        return recalls(found)


def test_appended_documents_are_found_where_queries_are_sent(tmp_path: Path) -> None:
    first, second, third = (
        near_topics(count, start, seed)
        for count, start, seed in ((400, 0, 2), (90, 400, 3), (60, 490, 4))
    )
    path = tmp_path / "out"
    source = write_jsonl(tmp_path / "a.jsonl", first)
    cluster.build(source, path, shards=4, settings=BY_CELLS)
    check(path, tmp_path, first)

    again = write_jsonl(tmp_path / "b.jsonl", ["not JSON", first[0], *second])
    result = cluster.append(path, again, shards=2)
    assert (result.bad, result.duplicates, result.shards) == (1, 1, 2)
    assert cluster.append(path, again, shards=2).manifest == result.manifest
    cluster.append(path, write_jsonl(tmp_path / "c.jsonl", third))
    everything = [*first, *second, *third]
    measured = check(path, tmp_path, everything)
    print(measured)

    once = tmp_path / "once"
    settings = BY_CELLS
    cluster.build(write_jsonl(tmp_path / "d.jsonl", everything), once, shards=4, settings=settings)
    for routed, built in zip(measured, check(once, tmp_path, everything), strict=True):
        assert routed.recall > built.recall - 0.1
    assert measured[1].recall > 0.85
    assert measured[1].shards < 0.9
    assert measured[-1].recall == measured[-1].shards == 1

    removed = [record["id"] for record in everything[::7]]
    before = cluster.delete(path, removed)
    after = cluster.compact(path, shard_rows=140)
    assert len(after.shards) < len(before.shards)
    assert after.by_cells
    assert not any(shard.tombstones for shard in after.shards)
    left = [record for record in everything if record["id"] not in set(removed)]
    merged = check(path, tmp_path, left)
    assert merged[1].recall > 0.85
    assert cluster.check(path).ok
    assert cluster.prune(path) > 0
    assert not list((path / "builds").rglob("rows/*.jsonl"))
    check(path, tmp_path, left)
    assert cluster.build(source, path, shards=4, settings=BY_CELLS).manifest == after


def test_appended_shards_have_the_centroids_that_their_documents_need(tmp_path: Path) -> None:
    path = tmp_path / "out"
    first = near_topics(300, 0, 2)
    cluster.build(write_jsonl(tmp_path / "a.jsonl", first), path, shards=3, settings=BY_CELLS)
    topic = [record for record in near_topics(240, 300, 5) if int(record["id"][1:]) % 12 == 4]
    source = write_jsonl(tmp_path / "b.jsonl", topic)
    manifest = cluster.append(path, source).manifest
    centroids = [read_centroids(Dataset.open(path).storage, shard) for shard in manifest.shards]
    known, _ = distinct_centroids(centroids[:3])
    every, _ = distinct_centroids(centroids)
    assert len(every) == len(known)  # nothing was learned that would move older documents
    assert 0 < len(centroids[3]) < len(known) / 3
    routing = Routing(centroids)
    far = routing.shards(TOPICS[[4 - 300 % 12, 9]], 1)
    assert far[:, 3].tolist() == [True, False]


def test_a_query_goes_to_every_shard_that_has_a_near_centroid() -> None:
    one, other, third = np.eye(3, dtype=np.float32)
    routing = Routing([np.stack([one, other]), one[None], np.stack([third, other])])
    assert routing.centroids == 3
    assert routing.shards(np.stack([5 * one, other, third]), 1).tolist() == [
        [True, True, False],
        [True, False, True],
        [False, False, True],
    ]
    assert routing.shards(np.stack([third + other / 2]), 2).tolist() == [[True, False, True]]
    assert routing.shards(np.stack([one]), 3).all()


def test_more_shards_than_centroids_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    source = write_jsonl(tmp_path / "a.jsonl", near_topics(40, 0, 2))
    cluster.build(source, path, shards=1, settings=BY_CELLS)
    later = write_jsonl(tmp_path / "b.jsonl", near_topics(40, 40, 3))
    with pytest.raises(CorpusError, match="fewer centroids of the dataset than shards"):
        cluster.append(path, later, shards=17)
    other = tmp_path / "rows"
    cluster.build(source, other, shards=1)
    with pytest.raises(ArgumentError, match="not built by cells"):
        cluster.append(other, later, settings=BuildSettings(routing="cells"))


def test_corrupted_centroids_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "out"
    source = write_jsonl(tmp_path / "a.jsonl", near_topics(40, 0, 2))
    manifest: Manifest = cluster.build(source, path, shards=2, settings=BY_CELLS).manifest
    storage = Dataset.open(path).storage
    file = manifest.shards[0].centroids
    assert file is not None
    (path / file.name).write_bytes(b"x" * file.bytes)
    with pytest.raises(FormatError, match="corrupted"):
        read_centroids(storage, manifest.shards[0])
    (path / file.name).unlink()
    with pytest.raises(FormatError, match="missing"):
        cluster.append(path, write_jsonl(tmp_path / "b.jsonl", near_topics(10, 40, 3)))
