"""Datasets built from a real Ray `Dataset`: of items, of Parquet files, of tensors and texts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ray = pytest.importorskip("ray")
data = pytest.importorskip("ray.data")
parquet = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("fsspec")

import pyarrow  # noqa: E402
from cluster_files import DIM, documents, write_jsonl  # noqa: E402

from nestling import ArgumentError, Collection, CorpusError, Index, cluster  # noqa: E402
from nestling.cluster import BuildSettings, Dataset, ShardCache  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

COUNT = 60
WHOLE = BuildSettings(passages=None)


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


def stored(path: Path, tmp_path: Path) -> list[tuple[Any, ...]]:
    """Returns the documents of a dataset in the order of their rows."""
    dataset = Dataset.open(path)
    cache = ShardCache(tmp_path / "cache")
    found = []
    for entry in dataset.manifest().shards:
        with cache.fetch(dataset, entry) as local, Collection(local.folder, create=False) as shard:
            assert shard.check().ok
            vectors = {hit.id: hit.vector for hit in _every(shard)}
            for document in shard:
                values = np.asarray(vectors[document.id]).round(3).tolist()
                found.append((document.id, document.text, document.metadata, values))
    return found


def _every(shard: Collection) -> Any:
    return shard.search(np.ones(DIM, np.float32), len(shard), include=("vector",))


def test_items_become_documents_in_their_order(tmp_path: Path) -> None:
    records = documents(COUNT)
    built = cluster.build(
        data.from_items(records), tmp_path / "out", shards=3, settings=WHOLE, progress=False
    )
    assert (built.bad, built.duplicates, built.manifest.documents) == (0, 0, COUNT)
    source = write_jsonl(tmp_path / "a.jsonl", records)
    cluster.build(source, tmp_path / "files", shards=3, settings=WHOLE, progress=False)
    assert stored(tmp_path / "out", tmp_path) == stored(tmp_path / "files", tmp_path)
    after = cluster.append(
        tmp_path / "out", data.from_items(documents(10, start=COUNT - 2)), progress=False
    )
    assert (after.duplicates, after.manifest.documents) == (2, COUNT + 8)


def test_parquet_files_are_read_as_they_are_needed(tmp_path: Path) -> None:
    """Ray reads nothing before the build; columns are made and renamed on the way."""
    records = documents(COUNT)
    (tmp_path / "tables").mkdir()
    for number, start in enumerate(range(0, COUNT, 25)):
        some = records[start : start + 25]
        table = pyarrow.table(
            {
                "id": [record["id"] for record in some],
                "body": [record["text"] for record in some],
                "year": [record["metadata"]["year"] for record in some],
                "numbers": [record["vectors"][0] for record in some],
            }
        )
        parquet.write_table(table, tmp_path / "tables" / f"{number}.parquet", row_group_size=7)

    def with_tensors(batch: dict[str, Any]) -> dict[str, Any]:
        rows = np.stack([np.asarray(row, np.float32) for row in batch.pop("numbers")])
        return {**batch, "vectors": rows}

    lazy = data.read_parquet(str(tmp_path / "tables")).map_batches(with_tensors)
    settings = BuildSettings(
        passages=None, record=cluster_fields(text="body", metadata=("year",)), fields=("year",)
    )
    built = cluster.build(lazy, tmp_path / "out", shards=2, settings=settings, progress=False)
    assert (built.bad, built.manifest.documents, built.manifest.dim) == (0, COUNT, DIM)
    found = stored(tmp_path / "out", tmp_path)
    assert [row[0] for row in found] == [record["id"] for record in records]
    for (_, text, metadata, vector), record in zip(found, records, strict=True):
        assert (text, metadata) == (record["text"], {"year": record["metadata"]["year"]})
        unit = np.array(record["vectors"][0])
        assert vector == pytest.approx(unit / np.linalg.norm(unit), abs=2e-3)


def cluster_fields(**options: Any) -> Any:
    from nestling.corpus import Fields

    return Fields(**options)


def test_tensors_without_texts_become_indexes(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((COUNT, DIM)).astype(np.float32)
    source = data.from_numpy([vectors[:40], vectors[40:]]).rename_columns({"data": "vectors"})
    built = cluster.build(source, tmp_path / "out", shards=2, progress=False)
    assert (built.manifest.kind, built.manifest.rows, built.bad) == ("index", COUNT, 0)
    whole = Index(DIM)
    whole.add(vectors)
    dataset = Dataset.open(tmp_path / "out")
    parts = []
    for entry in built.manifest.shards:
        with ShardCache(tmp_path / "cache").fetch(dataset, entry) as local:
            parts.append(Index.load(local.folder / "index.nest"))
    merged = Index.merge(parts, shifts=[entry.first for entry in built.manifest.shards])
    found, expected = merged.search(vectors[:9], 4), whole.search(vectors[:9], 4)
    assert found.ids.tolist() == expected.ids.tolist()
    assert found.scores.tolist() == expected.scores.tolist()


def test_a_named_source_is_written_once(tmp_path: Path) -> None:
    def broken(row: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("the source is not read again")

    records = data.from_items(documents(COUNT))
    out = tmp_path / "out"
    first = cluster.build(records, out, shards=2, source_name="news", progress=False)
    again = cluster.build(records.map(broken), out, shards=2, source_name="news", progress=False)
    assert (again.manifest, again.resumed) == (first.manifest, 2)
    assert list((out / "sources" / "news").glob("*.parquet"))
    assert cluster.prune(out) > 0
    assert not (out / "sources" / "news" / "finished").exists()
    with pytest.raises(ArgumentError, match="name of a folder"):
        cluster.build(records, out, source_name="../news", progress=False)


def test_a_source_that_fails_or_is_empty_is_an_error(tmp_path: Path) -> None:
    def broken(row: dict[str, Any]) -> dict[str, Any]:
        raise ValueError(f"the row {row['id']} is bad")

    with pytest.raises(CorpusError, match="the row d0 is bad"):
        cluster.build(data.from_items(documents(3)).map(broken), tmp_path / "out", progress=False)
    empty = data.from_items(documents(3)).limit(0)
    with pytest.raises(CorpusError, match="no rows"):
        cluster.build(empty, tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "manifests").exists()
