"""Datasets in storage that fails, races and fills up; shards on the local disk; no Ray."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("fsspec")
pytest.importorskip("tenacity")

from cluster_files import FlakyFileSystem, register

from nestling import FormatError, StorageError
from nestling.cluster import Dataset, FileEntry, Manifest, ShardCache, ShardEntry, storage
from nestling.cluster.build.removal import find_duplicates
from nestling.cluster.digests import PARTITIONS, digests_of, read_digests, write_digests
from nestling.cluster.storage import Storage
from nestling.cluster.tombstones import read_tombstones, write_tombstones
from nestling.collection.ingest.identity import EncoderIdentity
from nestling.collection.ingest.passages import Passages
from nestling.index.cells import Cells

register()


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_SHORTEST_WAIT", 0.0001)
    monkeypatch.setattr(storage, "_LONGEST_WAIT", 0.001)


@pytest.fixture(params=["local", "wrapped", "flaky", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    path = str(tmp_path / "dataset")
    yield Storage(path if request.param == "local" else f"{request.param}://{path}")
    if request.param == "memory":
        import fsspec

        fsspec.filesystem("memory").rm("/", recursive=True)


def shard_of(files: tuple[FileEntry, ...], name: str = "a", **values: Any) -> ShardEntry:
    counts: dict[str, Any] = {"first": 0, "last": 9, "rows": 10, "documents": 10, "tokens": 30}
    return ShardEntry(name=name, kind="index", files=files, **{**counts, **values})


def manifest_of(shards: tuple[ShardEntry, ...] = (), **values: Any) -> Manifest:
    made: dict[str, Any] = {
        "version": 1,
        "kind": "index",
        "dim": 4,
        "metric": "cosine",
        "funnel": "4@32",
        "encoder": None,
        "passages": None,
        "title_weight": 1,
        "fields": (),
        "cells": None,
        "template": FileEntry(name="templates/t.nest", bytes=1, checksum="0" * 16),
        "next_row": 1_000_000,
        "builds": ("b",),
        "shards": shards,
    }
    return Manifest(**{**made, **values})


names = st.text("abc-_é. ", min_size=1, max_size=8).filter(lambda name: name not in (".", ".."))
checksums = st.integers(0, 2**64 - 1).map(lambda number: f"{number:016x}")


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    row = 0
    shards = []
    for name in draw(st.lists(names, unique=True, max_size=4)):
        count = draw(st.integers(1, 50))
        files = tuple(
            FileEntry(name=f"shards/{name}/{file}", bytes=size, checksum=checksum)
            for file, size, checksum in draw(
                st.lists(st.tuples(names, st.integers(0, 2**50), checksums), max_size=3)
            )
        )
        rows = draw(st.integers(0, count))
        tombstones = files[:1] if rows < count else ()
        shards.append(
            shard_of(
                files,
                name,
                first=row,
                last=row + count - 1,
                rows=rows,
                documents=draw(st.integers(0, rows)),
                tombstones=tombstones,
            )
        )
        row += count + draw(st.integers(0, 3))
    return manifest_of(
        tuple(shards),
        version=draw(st.integers(1, 10**11)),
        next_row=row,
        encoder=draw(st.sampled_from([None, EncoderIdentity("x", 4, "object", "m.X")])),
        passages=draw(st.sampled_from([None, Passages(100, 10)])),
        title_weight=draw(st.integers(1, 16)),
        cells=draw(st.sampled_from([None, Cells(4)])),
        fields=tuple(draw(st.lists(names, max_size=2))),
    )


@given(manifests())
def test_a_manifest_survives_its_file(manifest: Manifest) -> None:
    back = Manifest.from_json(manifest.to_json())
    assert back == manifest
    assert [shard.key for shard in back.shards] == [shard.key for shard in manifest.shards]
    assert back.rows == sum(shard.rows for shard in manifest.shards)


@given(manifests(), st.data())
def test_a_corrupted_manifest_is_refused(manifest: Manifest, data: st.DataObject) -> None:
    content = bytearray(manifest.to_json())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    try:
        back = Manifest.from_json(bytes(content))
    except FormatError:
        return
    assert back == manifest  # white space, or another way to write the same


def test_a_key_says_whether_answers_are_the_same() -> None:
    file = FileEntry(name="shards/a/index.nest", bytes=3, checksum="0" * 16)
    shard = shard_of((file,))
    assert replace(shard).key == shard.key
    for other in (
        replace(shard, files=(replace(file, checksum="1" * 16),)),
        replace(shard, tombstones=(file,)),
        replace(shard, first=1, last=10),
    ):
        assert other.key != shard.key


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/../b", "a/.", "a\\b"])
def test_a_name_cannot_lead_out_of_the_dataset(name: str) -> None:
    with pytest.raises(FormatError):
        FileEntry(name=name, bytes=0, checksum="0" * 16)


def test_files_are_written_read_listed_and_removed(folder: Storage, tmp_path: Path) -> None:
    assert folder.list("a") == []
    folder.write("a/one", b"1")
    folder.write("a/one", b"11")
    (tmp_path / "two").write_bytes(b"22")
    entry = folder.put(tmp_path / "two", "a/b/two")
    folder.create("a/three", b"")
    assert folder.list("a") == ["a/b/two", "a/one", "a/three"]
    assert folder.read("a/one") == b"11"
    assert folder.read("a/b/two", 1, 2) == b"2"
    assert (folder.exists("a/one"), folder.exists("a/four"), folder.size("a/b/two")) == (
        True,
        False,
        2,
    )
    folder.get(entry, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"22"
    folder.remove("a/b/two")
    folder.remove("a/b/two")
    assert folder.list("a") == ["a/one", "a/three"]
    with pytest.raises(FileNotFoundError):
        folder.read("a/b/two")


def test_a_file_is_created_once(folder: Storage) -> None:
    folder.create("one", b"first")
    folder.create("one", b"first")  # as after a reply that was lost
    with pytest.raises(FileExistsError):
        folder.create("one", b"second")
    assert folder.read("one") == b"first"


def test_a_corrupted_or_missing_file_is_named(folder: Storage, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"bread")
    entry = folder.put(tmp_path / "one", "shards/a/one")
    folder.write("shards/a/one", b"breaD")
    for _ in range(2):
        with pytest.raises(FormatError, match="shards/a/one"):
            folder.get(entry, tmp_path / "back")
        assert not (tmp_path / "back").exists()
        folder.remove("shards/a/one")


def test_storage_that_fails_one_time_in_ten_is_tried_again(tmp_path: Path) -> None:
    FlakyFileSystem.calls = FlakyFileSystem.failures = 0
    folder = Storage(f"flaky://{tmp_path}/dataset")
    for number in range(300):
        folder.create(f"files/{number}", b"%d" % number)
        assert folder.read(f"files/{number}") == b"%d" % number
    assert FlakyFileSystem.failures > 30


def test_storage_that_fails_for_good_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: FlakyFileSystem, call: str, path: str) -> None:
        raise ConnectionResetError("gone")

    monkeypatch.setattr(FlakyFileSystem, "before", fail)
    with pytest.raises(StorageError, match=r"cannot read flaky://.*/one: gone"):
        Storage(f"flaky://{tmp_path}").read("one")


def test_a_full_disk_is_not_tried_again_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def full(path: Path) -> None:
        calls.append(path)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage, "sync", full)
    folder = Storage(tmp_path / "dataset")
    with pytest.raises(StorageError, match="the disk is full") as caught:
        folder.write("a/one", b"1")
    assert caught.value.errno == errno.ENOSPC
    assert len(calls) == 1
    assert [path for path in (tmp_path / "dataset").rglob("*") if path.is_file()] == []


def test_of_several_commits_each_gets_a_version_of_its_own(folder: Storage) -> None:
    dataset = Dataset(folder)
    assert dataset.create(manifest_of())
    assert not dataset.create(manifest_of(dim=8))

    def commit(number: int) -> None:
        dataset.commit(
            lambda before: replace(
                before, version=before.version + 1, builds=(*before.builds, f"b{number}")
            )
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(commit, range(8)))
    assert dataset.versions() == list(range(1, 10))
    assert sorted(dataset.manifest().builds) == sorted(["b", *(f"b{n}" for n in range(8))])
    assert dataset.manifest(1) == manifest_of()
    assert dataset.commit(lambda before: before).version == 9


def test_what_is_not_a_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not a dataset"):
        Dataset.open(tmp_path)


@given(st.lists(st.text(), max_size=20))
def test_tombstones_survive_their_file(ids: list[str]) -> None:
    folder = Storage("memory://tombstones")
    ids = [id for id in ids if id.isprintable()]
    file = write_tombstones(folder, "a", ids)
    assert read_tombstones(folder, shard_of((), tombstones=(file,))) == tuple(sorted(set(ids)))


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=60), st.integers(0, 4))
def test_digests_are_read_by_partitions(numbers: list[int], power: int) -> None:
    folder = Storage("memory://digests")
    ids = [f"id{number}" for number in numbers]
    rows = np.arange(len(ids)) * 3
    path = Path(f"digests-{os.getpid()}")
    write_digests(digests_of(ids), rows, path)
    try:
        file = folder.put(path, "digests/a")
    finally:
        path.unlink()
    found = {}
    step = PARTITIONS >> power
    for start in range(0, PARTITIONS, step):
        digests, places = read_digests(folder, file, start, start + step)
        assert sorted(map(tuple, digests.tolist())) == list(map(tuple, digests.tolist()))
        found.update(zip(map(tuple, digests.tolist()), places.tolist(), strict=True))
    assert found == dict(zip(map(tuple, digests_of(ids).tolist()), rows.tolist(), strict=True))


@given(
    st.lists(st.lists(st.integers(0, 30), unique=True, max_size=20), min_size=1, max_size=5),
    st.integers(0, 4),
    st.sets(st.integers(0, 30)),
)
def test_of_equal_ids_the_first_one_stays(
    shards: list[list[int]], old: int, removed: set[int]
) -> None:
    """Old shards have no id twice; some of their documents were removed."""
    old = min(old, len(shards) - 1)
    seen: set[int] = set()
    for number in range(old):
        shards[number] = [id for id in shards[number] if id not in seen]
        seen |= set(shards[number])
    folder = Storage("memory://duplicates")
    entries = []
    for number, ids in enumerate(shards):
        path = Path(f"digests-{os.getpid()}")
        write_digests(digests_of(map(str, ids)), np.arange(len(ids)), path)
        try:
            file = folder.put(path, f"digests/{number}")
        finally:
            path.unlink()
        dead = [str(id) for id in ids if number < old and id in removed]
        tombstones = (write_tombstones(folder, str(number), dead),) if dead else ()
        entries.append(shard_of((), str(number), digests=file, tombstones=tombstones))
    expected: list[set[int]] = [set() for _ in shards[old:]]
    living: set[int] = set()
    for number, ids in enumerate(shards):
        for id in ids:
            if number < old:
                living |= {id} - removed
            elif id in living:
                expected[number - old].add(id)
            else:
                living.add(id)
    found: list[set[tuple[int, ...]]] = [set() for _ in expected]
    half = PARTITIONS // 2
    for start, end in ((0, half), (half, PARTITIONS)):
        counts, *digests = find_duplicates((folder, entries, old), start, end)
        assert counts == [len(each) for each in digests]
        for place, each in zip(found, digests, strict=True):
            place |= set(map(tuple, each.tolist()))  # type: ignore[union-attr]
    wanted = [set(map(tuple, digests_of(map(str, ids)).tolist())) for ids in expected]
    assert found == wanted


def dataset_with(tmp_path: Path, sizes: list[int], path: str | None = None) -> Dataset:
    """Returns a dataset of shards of one file each."""
    folder = Storage(path or tmp_path / "dataset")
    shards = []
    for number, size in enumerate(sizes):
        local = tmp_path / "file"
        local.write_bytes(bytes([number]) * size)
        file = folder.put(local, f"shards/{number}/index.nest")
        shards.append(shard_of((file,), str(number), first=10 * number, last=10 * number + 9))
    dataset = Dataset(folder)
    folder.create("manifests/000000000001.json", manifest_of(tuple(shards)).to_json())
    return dataset


@pytest.mark.parametrize("protocol", ["", "wrapped://", "flaky://"])
def test_a_shard_is_fetched_once(tmp_path: Path, protocol: str) -> None:
    dataset = dataset_with(tmp_path, [100, 200], f"{protocol}{tmp_path}/dataset")
    cache = ShardCache(tmp_path / "cache")
    for entry in dataset.manifest().shards:
        with cache.fetch(dataset, entry) as first:
            content = (first.folder / "index.nest").read_bytes()
    assert content == b"\x01" * 200
    assert cache.size == 300
    for path in (tmp_path / "dataset" / "shards").rglob("*.nest"):
        path.unlink()
    with cache.fetch(dataset, dataset.manifest().shards[1]) as again:
        assert (again.folder / "index.nest").read_bytes() == content
        assert again.removed == ()


def test_a_corrupted_shard_is_named_and_not_kept(tmp_path: Path) -> None:
    dataset = dataset_with(tmp_path, [100])
    (tmp_path / "dataset/shards/0/index.nest").write_bytes(b"\x01" * 100)
    cache = ShardCache(tmp_path / "cache")
    entry = dataset.manifest().shards[0]
    with (
        pytest.raises(FormatError, match=r"shards/0/index\.nest: corrupted"),
        cache.fetch(dataset, entry),
    ):
        pass
    assert cache.size == 0


def test_shards_that_nobody_uses_make_room(tmp_path: Path) -> None:
    dataset = dataset_with(tmp_path, [100] * 4)
    shards = dataset.manifest().shards
    cache = ShardCache(tmp_path / "cache", max_bytes=250)
    with cache.fetch(dataset, shards[0]) as pinned:
        for shard in shards[1:]:
            with cache.fetch(dataset, shard):
                pass
        assert (pinned.folder / "index.nest").exists()
        assert cache.size == 200
        with (
            cache.fetch(dataset, shards[1]),
            pytest.raises(StorageError, match="no room") as caught,
            cache.fetch(dataset, shards[2]),
        ):
            pass
        assert caught.value.errno == errno.ENOSPC
    with cache.fetch(dataset, shards[1]), cache.fetch(dataset, shards[2]):
        assert cache.size == 200


def test_a_full_disk_makes_room_or_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = dataset_with(tmp_path, [100, 100], f"wrapped://{tmp_path}/dataset")
    first, second = dataset.manifest().shards
    cache = ShardCache(tmp_path / "cache")
    with cache.fetch(dataset, first):
        pass
    fetch = dataset.storage.get

    def get(entry: FileEntry, target: Path, *, link: bool = False) -> None:
        if cache.size > 100:  # the shard that is there, and the one that is being fetched
            target.write_bytes(b"part")
            raise StorageError(errno.ENOSPC, "No space left on device")
        fetch(entry, target, link=link)

    monkeypatch.setattr(dataset.storage, "get", get)
    with cache.fetch(dataset, second):
        assert cache.size == 100
        with (
            pytest.raises(StorageError, match="the disk is full"),
            cache.fetch(dataset, first),
        ):
            pass
    assert [path.name for path in (tmp_path / "cache").glob("*.tmp")] == []


def test_threads_share_a_cache_without_losing_a_shard(tmp_path: Path) -> None:
    dataset = dataset_with(tmp_path, [100] * 6)
    shards = dataset.manifest().shards
    cache = ShardCache(tmp_path / "cache", max_bytes=450)
    failures: list[str] = []

    def use(thread: int) -> None:
        for shard in itertools.islice(itertools.cycle(shards), thread, thread + 30):
            with cache.fetch(dataset, shard) as local:
                content = (local.folder / "index.nest").read_bytes()
                if content != bytes([int(shard.name)]) * 100:
                    failures.append(shard.name)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.slow
def test_a_process_that_is_killed_pins_nothing(tmp_path: Path) -> None:
    dataset = dataset_with(tmp_path, [100, 100])
    script = f"""
import os, signal
from nestling.cluster import Dataset, ShardCache
dataset = Dataset.open({str(tmp_path / "dataset")!r})
with ShardCache({str(tmp_path / "cache")!r}).fetch(dataset, dataset.manifest().shards[0]):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == -9
    cache = ShardCache(tmp_path / "cache", max_bytes=150)
    assert cache.size == 100
    with cache.fetch(dataset, dataset.manifest().shards[1]):
        assert cache.size == 100
