"""Datasets built, appended to, compacted and checked, the tasks one after the other; no Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("fsspec")
pytest.importorskip("tenacity")

from cluster_files import DIM, documents, inline, register, write_jsonl
from hashing_encoder import HashingEncoder

from nest_file import NestFile
from nestling import (
    ArgumentError,
    Cells,
    Collection,
    CorpusError,
    EncoderMismatchError,
    Index,
    StorageError,
    cluster,
)
from nestling.cluster import BuildSettings, Dataset, Manifest, ShardCache, storage, upkeep
from nestling.cluster.build import driver
from nestling.cluster.build import source as build_source
from nestling.cluster.build.plan import make_plan, sample_rows
from nestling.cluster.build.source import Source, cut, read_slice
from nestling.collection import Passages

register()


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    inline(monkeypatch, upkeep)
    monkeypatch.setattr(storage, "_SHORTEST_WAIT", 0.0001)
    monkeypatch.setattr(storage, "_LONGEST_WAIT", 0.001)


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the files of a dataset that a version names."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith("builds/"):
            found[name] = path.read_bytes()
    return found


def stored(
    path: Any, tmp_path: Path, manifest: Manifest | None = None
) -> dict[str, tuple[Any, ...]]:
    """Returns the living documents of a dataset by id: row, text, metadata and vector."""
    dataset = Dataset.open(path)
    manifest = manifest or dataset.manifest()
    cache = ShardCache(tmp_path / "cache")
    found: dict[str, tuple[Any, ...]] = {}
    for entry in manifest.shards:
        with (
            cache.fetch(dataset, entry) as local,
            Collection(local.folder, create=False) as shard,
        ):
            assert shard.check().ok
            living = [document for document in shard if document.id not in local.removed]
            assert len(living) == entry.documents
            assert sum(len(document.spans) for document in living) == entry.rows
            for document in living:
                row = entry.first + document.row
                assert row <= entry.last
                assert document.id not in found
                found[document.id] = (row, document.text, document.metadata)
    return found


def test_a_dataset_has_the_documents_of_its_source_in_order(tmp_path: Path) -> None:
    records = documents(50)
    write_jsonl(tmp_path / "a.jsonl", records[:20])
    write_jsonl(tmp_path / "b.jsonl", records[20:])
    result = cluster.build(tmp_path / "*.jsonl", tmp_path / "out", shards=4)
    assert (result.shards, result.resumed, result.bad, result.duplicates) == (4, 0, 0, 0)
    assert (result.manifest.documents, result.manifest.rows) == (50, 50)
    found = stored(tmp_path / "out", tmp_path)
    assert list(found) == [record["id"] for record in records]
    assert [row for row, *_ in found.values()] == list(range(50))
    assert [value[1:] for value in found.values()] == [
        (record["text"], record["metadata"]) for record in records
    ]
    words = sum(len(record["text"].split()) for record in records)
    assert result.manifest.tokens == words


def test_equal_builds_have_equal_files(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", documents(60))
    settings = BuildSettings(
        rotate=True, centre=True, cells=3, fields=("year",), funnel="8@8:20 > 8@16"
    )
    first = cluster.build(source, tmp_path / "one", shards=3, settings=settings)
    again = cluster.build(source, tmp_path / "one", shards=3, settings=settings)
    assert (again.shards, again.resumed, again.manifest) == (0, 3, first.manifest)
    cluster.build(source, tmp_path / "two", shards=3, settings=settings)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_shards_share_what_was_learned(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", documents(80))
    settings = BuildSettings(rotate=True, centre=True, cells=4, funnel="8@8:20 > 8@16")
    manifest = cluster.build(source, tmp_path / "out", shards=3, settings=settings).manifest
    cache = ShardCache(tmp_path / "cache")
    indexes = []
    for entry in manifest.shards:
        with cache.fetch(Dataset.open(tmp_path / "out"), entry) as local:
            (path,) = local.folder.rglob("*.nest")
            indexes.append(Index.load(path))
    assert all(index.rotated and index.centred and index.cells is not None for index in indexes)
    merged = Index.merge(indexes, shifts=[entry.first for entry in manifest.shards])
    assert len(merged) == 80  # raises, where rotations or centres differ


def centroids_of(path: Path) -> list[tuple[bytes, bytes]]:
    """Returns the sections of an index file that hold the centroids of cells."""
    sections = NestFile.read(path.read_bytes()).sections
    names = (b"cell centre", b"centroids ", b"centroid shell")
    return [(name, content) for name, content in sections if name.startswith(names)]


@pytest.mark.parametrize("kind", ["index", "collection"])
def test_all_shards_have_the_same_centroids(tmp_path: Path, kind: Any) -> None:
    """Those that are built, those that are appended, and those that they are merged into."""
    source = write_jsonl(tmp_path / "a.jsonl", documents(120))
    settings = BuildSettings(
        kind=kind, centre=True, cells=Cells(6, probes=6), funnel="8@8:20 > 8@16"
    )
    out = tmp_path / "out"
    built = cluster.build(source, out, shards=3, settings=settings).manifest
    expected = centroids_of(out / built.template.name)
    assert len(expected) == 3
    later = write_jsonl(tmp_path / "b.jsonl", documents(30, start=120, seed=3))
    few = write_jsonl(tmp_path / "c.jsonl", documents(5, start=150, seed=4))
    cluster.append(out, later, settings=settings)
    appended = cluster.append(out, few, settings=settings).manifest
    cluster.delete(out, ["d3", "d4"] if kind == "collection" else [3, 4])
    merged = cluster.compact(out, shard_rows=80)
    assert [len(m.shards) for m in (built, appended, merged)] == [3, 5, 2]
    for shard in (*appended.shards, *merged.shards):
        (path,) = (out / shard.folder).rglob("*.nest")
        # A shard with fewer rows than cells is scanned as a whole.
        assert centroids_of(path) == (expected if shard.rows >= 6 else [])
        index = Index.load(path)
        queries = index.reconstruct(index.ids[:5])
        every, flat = index.search(queries), index.search(queries, probes=0)
        assert every.ids.tolist() == flat.ids.tolist()
        assert every.scores.tobytes() == flat.scores.tobytes()
    if kind == "collection":
        assert len(stored(out, tmp_path)) == 153
    assert cluster.check(out).ok


def test_shards_by_cells_have_centroids_of_their_own(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", documents(120))
    settings = BuildSettings(routing="cells", cells=3, funnel="8@8:20 > 8@16")
    manifest = cluster.build(source, tmp_path / "out", shards=3, settings=settings).manifest
    assert centroids_of(tmp_path / "out" / manifest.template.name) == []
    found = set()
    for shard in manifest.shards:
        (path,) = (tmp_path / "out" / shard.folder).rglob("*.nest")
        found.add(tuple(centroids_of(path)))
    assert len(found) == 3
    assert () not in found


def test_what_was_learned_is_not_learned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a build that was interrupted, even where old versions were pruned meanwhile."""
    source = write_jsonl(tmp_path / "a.jsonl", documents(60))
    settings = BuildSettings(centre=True, cells=4, funnel="8@8:20 > 8@16")
    cluster.build(source, tmp_path / "whole", shards=3, settings=settings)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(driver, "build_shard", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cluster.build(source, tmp_path / "out", shards=3, settings=settings)
    monkeypatch.setattr(driver, "sample_rows", interrupted)
    cluster.build(source, tmp_path / "out", shards=3, settings=settings)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize("rows", [1, 63, 9_000])
def test_a_sample_is_spread_over_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, form: str
) -> None:
    vectors = np.arange(1, rows * DIM + 1, dtype=np.float32).reshape(rows, DIM)
    if form == "jsonl":
        path = write_jsonl(tmp_path / "a.jsonl", [{"vectors": v.tolist()} for v in vectors])
        monkeypatch.setattr(build_source, "_SMALL_BLOCK", 1_000)
    else:
        parquet, pyarrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
        path = tmp_path / "a.parquet"
        column = pyarrow.array(vectors.tolist(), pyarrow.list_(pyarrow.float32(), DIM))
        parquet.write_table(pyarrow.table({"vectors": column}), path, row_group_size=700)
    files = Source.of(path)
    settings = BuildSettings(kind="index", sample=1_000)
    folder = storage.Storage(tmp_path / "out")
    plan = make_plan(files, folder, settings, encoder=None, shards=2, base=None)
    for parts in (1, 3):
        found = [sample_rows((plan, files), part, parts) for part in range(parts)]
        assert [count for count, _ in found] == [len(sample) for _, sample in found]
        joined = np.concatenate([sample for _, sample in found])
        numbers = joined[:, 0].astype(int) // DIM
        assert len(set(numbers.tolist())) == len(joined)
        np.testing.assert_array_equal(joined, vectors[numbers])
        assert min(rows, 900) <= len(joined) <= 1_100
        assert np.diff(np.sort(numbers), prepend=0, append=rows).max() <= 300


def test_long_documents_do_not_make_the_sample_longer(tmp_path: Path) -> None:
    records = [{"id": str(n), "text": "bread and apples. " * 10} for n in range(200)]
    files = Source.of(write_jsonl(tmp_path / "a.jsonl", records))
    settings = BuildSettings(sample=50, passages=Passages(20, 0), centre=True)
    folder = storage.Storage(tmp_path / "out")
    encoder = HashingEncoder(dim=DIM)
    plan = make_plan(files, folder, settings, encoder=encoder, shards=2, base=None)
    count, rows = sample_rows((plan, files), 0, 1)
    assert count == len(rows)
    assert 50 <= count < 90


@pytest.mark.parametrize("last", [2, 8, 15])
@pytest.mark.parametrize("routing", ["rows", "cells"])
def test_an_interrupted_build_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int, routing: Any
) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", documents(40))
    settings = BuildSettings(routing=routing)
    cluster.build(source, tmp_path / "whole", shards=4, settings=settings)
    _interrupted_at(last, monkeypatch, source, tmp_path / "out", settings)
    result = cluster.build(source, tmp_path / "out", shards=4, settings=settings)
    if routing == "rows":
        assert result.resumed == (last - 1) // 5
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def _interrupted_at(
    last: int, monkeypatch: pytest.MonkeyPatch, source: Path, out: Path, settings: BuildSettings
) -> None:
    """Begins a build, and interrupts it when it stores its file of this number."""
    put = storage.Storage.put
    calls: list[str] = []

    def interrupted(self: Any, source: Path, name: str, **options: Any) -> Any:
        calls.append(name)
        if len(calls) == last:
            raise KeyboardInterrupt
        return put(self, source, name, **options)

    with monkeypatch.context() as patch:
        patch.setattr(storage.Storage, "put", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cluster.build(source, out, shards=4, settings=settings)


def test_bad_records_and_duplicates_are_counted_and_written_aside(tmp_path: Path) -> None:
    records: list[Any] = documents(30)
    records[3] = "not JSON"
    records[11] = {"id": "no text"}
    records[12] = {**records[13], "id": "short", "vectors": [[1.0]]}
    records[14] = {**records[14], "id": "d13"}  # in the same shard
    records[29] = {**records[29], "id": "d0"}  # in another
    source = write_jsonl(tmp_path / "a.jsonl", records)
    result = cluster.build(source, tmp_path / "out", shards=2)
    assert (result.bad, result.duplicates, result.manifest.documents) == (3, 2, 25)
    found = stored(tmp_path / "out", tmp_path)
    assert found["d0"][0] == 0
    assert found["d13"][1] == records[13]["text"]
    lines = [
        json.loads(line)
        for path in sorted((tmp_path / "out" / "rejected").rglob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    assert len(lines) == 5
    assert {line["id"] for line in lines if "id" in line} == {"d13", "d0"}
    data = source.read_bytes()
    places = [line["place"] for line in lines if "place" in line]
    assert data[places[0] :].startswith(b"not JSON")
    words = sum(len(text.split()) for _, text, _ in found.values())
    assert result.manifest.tokens == words


def test_texts_are_encoded(tmp_path: Path) -> None:
    records = [{"id": str(n), "text": f"bread and number{n}"} for n in range(12)]
    source = write_jsonl(tmp_path / "a.jsonl", records)
    encoder = HashingEncoder(dim=DIM)
    manifest = cluster.build(source, tmp_path / "out", encoder=encoder, shards=2).manifest
    assert manifest.encoder is not None
    entry = manifest.shards[1]
    with (
        ShardCache(tmp_path / "cache").fetch(Dataset.open(tmp_path / "out"), entry) as local,
        Collection(local.folder, encoder, create=False) as shard,
    ):
        assert shard.search(records[7]["text"], k=1)[0].id == "7"
    with pytest.raises(EncoderMismatchError):
        cluster.append(tmp_path / "out", source, encoder=HashingEncoder(dim=DIM + 1))


def test_bare_vectors_become_indexes(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    vectors = np.random.default_rng(0).standard_normal((100, DIM)).astype(np.float32)
    vectors[40] = np.nan
    for number, kind in enumerate(
        (pyarrow.list_(pyarrow.float32(), DIM), pyarrow.list_(pyarrow.float32()))
    ):
        column = pyarrow.array(vectors[50 * number : 50 * number + 50].tolist(), kind)
        table = pyarrow.table({"vectors": column})
        parquet.write_table(table, tmp_path / f"{number}.parquet", row_group_size=7)
    result = cluster.build(tmp_path / "*.parquet", tmp_path / "out", shards=3)
    assert (result.manifest.kind, result.manifest.rows, result.bad) == ("index", 99, 1)
    cluster.delete(tmp_path / "out", [5, 70])
    manifest = cluster.compact(tmp_path / "out", shard_rows=1000)
    assert (manifest.rows, len(manifest.shards)) == (97, 1)
    with ShardCache(tmp_path / "cache").fetch(
        Dataset.open(tmp_path / "out"), manifest.shards[0]
    ) as local:
        index = Index.load(local.folder / "index.nest")
    whole = Index(DIM)
    whole.add(np.delete(vectors, 40, axis=0))
    whole.remove([5, 70])
    queries = vectors[:10]
    found, expected = index.search(queries, k=5), whole.search(queries, k=5)
    assert found.ids.tolist() == expected.ids.tolist()
    assert found.scores.tobytes() == expected.scores.tobytes()
    again = cluster.delete(tmp_path / "out", [5, 6, 1_000])
    assert again.rows == 96


def test_appends_deletes_and_merges_make_versions(tmp_path: Path) -> None:
    first = documents(40)
    cluster.build(write_jsonl(tmp_path / "a.jsonl", first), tmp_path / "out", shards=2)
    cluster.delete(tmp_path / "out", ["d3", "d30", "none"])
    changed = {**documents(1, seed=5)[0], "id": "d3", "text": "a new text"}
    later = write_jsonl(tmp_path / "b.jsonl", [changed, *documents(10, start=38, seed=2)])
    result = cluster.append(tmp_path / "out", later, shards=2)
    assert (result.manifest.version, result.duplicates) == (3, 2)  # d38 and d39
    again = cluster.append(tmp_path / "out", later, shards=2)
    assert again.manifest == result.manifest
    before = stored(tmp_path / "out", tmp_path)
    assert set(before) == {f"d{n}" for n in range(48)} - {"d30"}
    assert before["d3"][1] == "a new text"
    manifest = cluster.compact(tmp_path / "out", shard_rows=30)
    assert manifest.version == 4
    assert len(manifest.shards) == 2  # 20 rows; 19 and 4 and 4
    after = stored(tmp_path / "out", tmp_path)
    assert after == before
    assert (manifest.rows, manifest.documents, manifest.tokens) == (
        result.manifest.rows,
        result.manifest.documents,
        result.manifest.tokens,
    )
    assert not any(shard.tombstones for shard in manifest.shards)
    assert cluster.compact(tmp_path / "out", shard_rows=30) == manifest
    old = Dataset.open(tmp_path / "out").manifest(1)
    assert set(stored(tmp_path / "out", tmp_path, old)) == {f"d{n}" for n in range(40)}
    assert cluster.prune(tmp_path / "out") > 0
    assert Dataset.open(tmp_path / "out").versions() == [4]
    assert stored(tmp_path / "out", tmp_path / "other") == before
    assert cluster.check(tmp_path / "out").ok


def test_a_check_names_every_file_that_is_wrong(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", documents(20))
    manifest = cluster.build(source, tmp_path / "out", shards=2).manifest
    report = cluster.check(tmp_path / "out")
    assert (report.ok, report.files) == (True, len(manifest.files()))
    first, second = (shard.files[0].name for shard in manifest.shards)
    content = bytearray((tmp_path / "out" / first).read_bytes())
    content[100] ^= 1
    (tmp_path / "out" / first).write_bytes(content)
    (tmp_path / "out" / second).unlink()
    report = cluster.check(tmp_path / "out")
    assert len(report.problems) == 2
    assert first in report.problems[0]
    assert second in report.problems[1]
    assert "2 problems" in str(report)


@pytest.mark.parametrize("protocol", ["wrapped", "flaky"])
def test_other_storage_gets_the_same_files(tmp_path: Path, protocol: str) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", documents(30))
    cluster.build(source, tmp_path / "local", shards=3)
    cluster.build(f"{protocol}://{source}", f"{protocol}://{tmp_path}/other", shards=3)
    names = {name.rpartition("-")[2] for name in contents(tmp_path / "local") if "shards" in name}
    other = {name.rpartition("-")[2] for name in contents(tmp_path / "other") if "shards" in name}
    assert names == other
    for path in (tmp_path / "local" / "shards").rglob("*"):
        if path.is_file():
            name = path.relative_to(tmp_path / "local" / "shards").as_posix().partition("-")[2]
            (same,) = (tmp_path / "other" / "shards").glob(f"*-{name}")
            assert same.read_bytes() == path.read_bytes()


def test_a_full_disk_is_an_error_that_says_so(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", documents(30))
    with pytest.raises(StorageError, match="the disk is full"):
        cluster.build(source, f"full://{tmp_path}/out", shards=3)
    assert not (tmp_path / "out" / "shards").exists()
    assert not (tmp_path / "out" / "manifests").exists()


def test_documents_that_are_near_one_another_share_a_shard(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    topics = chance.standard_normal((4, DIM)) * 3
    records: list[Any] = documents(200)
    for number, record in enumerate(records):
        vector = topics[number % 4] + chance.standard_normal(DIM) * 0.1
        record["vectors"] = [vector.tolist()]
    records[7] = "not JSON"
    source = write_jsonl(tmp_path / "a.jsonl", records)
    settings = BuildSettings(routing="cells")
    result = cluster.build(source, tmp_path / "out", shards=4, settings=settings)
    assert (result.bad, result.manifest.documents, result.manifest.by_cells) == (1, 199, True)
    assert min(shard.rows for shard in result.manifest.shards) >= 30  # balanced
    found = stored(tmp_path / "out", tmp_path)
    expected = {r["id"]: (r["text"], r["metadata"]) for r in records if isinstance(r, dict)}
    assert {id: value[1:] for id, value in found.items()} == expected
    storage = Dataset.open(tmp_path / "out").storage
    centroids = []
    for shard in result.manifest.shards:
        assert shard.centroids is not None
        centroids.append(np.load(storage.local_path(shard.centroids.name)))  # type: ignore[arg-type]
    for record in records:
        if isinstance(record, dict):
            best = max(range(4), key=lambda n: (centroids[n] @ record["vectors"][0]).max())
            shard = result.manifest.shards[best]
            assert shard.first <= found[record["id"]][0] <= shard.last
    cluster.build(source, tmp_path / "again", shards=4, settings=settings)
    assert contents(tmp_path / "out") == contents(tmp_path / "again")


def test_what_cannot_be_built_is_an_error(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", documents(5))
    with pytest.raises(CorpusError, match="no such file"):
        cluster.build(tmp_path / "none.jsonl", tmp_path / "out")
    with pytest.raises(CorpusError, match=r"no \.parquet or \.jsonl file"):
        cluster.build(tmp_path / "*.parquet", tmp_path / "out")
    bad = write_jsonl(tmp_path / "b.jsonl", [{"text": 3, "vectors": [1.0] * DIM}] * 3)
    with pytest.raises(CorpusError, match="no record of the source can be stored"):
        cluster.build(bad, tmp_path / "out")
    cluster.build(source, tmp_path / "out", shards=1)
    with pytest.raises(ArgumentError, match="holds a dataset already"):
        cluster.build(source, tmp_path / "out", shards=2)


lines = st.lists(st.sampled_from(['{"a": 1}', "", "   ", "not JSON", '{"b": "é"}', "[1]"]))


@given(lines, st.integers(1, 7), st.booleans())
def test_slices_have_each_line_once(content: list[str], count: int, ends: bool) -> None:
    path = Path("lines.jsonl").absolute()
    path.write_text("\n".join(content) + ("\n" if ends and content else ""))
    try:
        source = Source.of(path)
        records = [
            (place, repr(record))
            for part in cut(source, count)
            for piece in part
            for batch in read_slice(piece, {}, vectors="v", rows=2)
            for place, record in zip(batch.places, batch.records, strict=True)
        ]
        data = path.read_bytes()
    finally:
        path.unlink()
    assert len(records) == sum(1 for line in content if line.strip())
    assert [place for place, _ in records] == sorted({place for place, _ in records})
    kept = [line for line in content if line.strip()]
    for (place, _), line in zip(records, kept, strict=True):
        assert data[place:].startswith(line.encode())
