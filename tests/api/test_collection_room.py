"""The room of removed documents is given back, in steps that nobody else notices."""

from __future__ import annotations

import errno
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from collection_helpers import (
    WORDS,
    Model,
    assert_searches_agree,
    assert_whole,
    assert_words_agree,
    contents,
    opened,
    python,
)
from disks import small_file_system

from nestling import Collection, StorageError
from nestling.collection import CompactResult
from nestling.collection.storage.database import DATABASE_FILE
from nestling.collection.upkeep import compaction


def text(number: int, words: int = 60) -> str:
    rng = random.Random(number)
    return " ".join([*rng.choices(WORDS, k=3), *(f"w{rng.randrange(3000)}" for _ in range(words))])


def fill(path: Path, count: int, **options: Any) -> Collection:
    collection = opened(path, passages=None, **options)
    collection.add(map(text, range(count)), ids=range(count), progress=False)
    return collection


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def free_pages(folder: Path) -> int:
    connection = sqlite3.connect(folder / DATABASE_FILE)
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    connection.close()
    return int(free)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "_PAGES", 5)


def test_an_emptied_collection_is_as_small_as_a_new_one(tmp_path: Path) -> None:
    opened(tmp_path / "new", passages=None, fields=["n"]).close()
    with fill(tmp_path / "c", 3000, fields=["n"]) as collection:
        collection.delete(where={})
        before = collection.info().disk
        assert collection.compact().result().freed == before - collection.info().disk
        assert_whole(collection)
        collection.add(["apple"], ids=["a"])
        assert collection.search("apple", mode="lexical")[0].id == "a"
    assert size(tmp_path / "c") < size(tmp_path / "new") + 50_000


def test_half_a_collection_takes_little_more_than_a_new_one_of_it(tmp_path: Path) -> None:
    with fill(tmp_path / "c", 3000) as collection:
        collection.delete(range(0, 3000, 2))
        kept = contents(collection)
        collection.compact()
        assert contents(collection) == kept
        assert_words_agree(collection, kept)
        assert_whole(collection)
        again = collection.compact().result()
        assert again.freed == 0
    with opened(tmp_path / "new", passages=None) as new:
        new.add([model.text for model in kept.values()], ids=list(kept), progress=False)
        new.compact()
    assert size(tmp_path / "c") < 1.1 * size(tmp_path / "new")


def test_what_remains_is_unchanged(tmp_path: Path, small_steps: None) -> None:
    with fill(tmp_path / "c", 600) as collection:
        collection.delete(range(0, 600, 3))
        before = contents(collection)
        found = [collection.search(word, 50, mode="lexical") for word in WORDS]
        collection.compact()
        assert contents(collection) == before
        for word, hits in zip(WORDS, found, strict=True):
            again = collection.search(word, 50, mode="lexical")
            assert [(hit.id, round(hit.score, 6)) for hit in again] == [
                (hit.id, round(hit.score, 6)) for hit in hits
            ]
        assert_searches_agree(collection)
        assert_words_agree(collection, before)
        assert_whole(collection)
        assert collection.compact().result() == CompactResult(0, 0)
    assert free_pages(tmp_path / "c") == 0


def test_readers_and_writers_continue_meanwhile(tmp_path: Path, small_steps: None) -> None:
    path = tmp_path / "c"
    collection = fill(path, 800)
    collection.delete(range(0, 800, 2))
    expected = contents(collection)
    faults: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        try:
            with opened(path, read_only=True) as reader:
                while not stop.is_set():
                    documents = [document for document in reader if document.id.isdigit()]
                    assert {d.id: Model(d.text, d.title, d.metadata) for d in documents} == expected
                    assert reader.search("apple", mode="lexical")
        except BaseException as error:
            faults.append(error)

    def write() -> None:
        try:
            for number in range(30):
                collection.add([f"river {number}"], ids=[f"new{number}"], progress=False)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=read), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    while threads[1].is_alive() and not faults:
        collection.compact()
    stop.set()
    for thread in threads:
        thread.join()
    assert not faults, faults
    assert len(collection) == 430
    collection.compact()
    assert_whole(collection)
    collection.close()
    assert free_pages(path) == 0


READER = """
import sys
from pathlib import Path
from collection_helpers import contents, opened
with opened(Path(sys.argv[1]), read_only=True) as reader:
    expected = contents(reader)
    print("ready", flush=True)
    for _ in range(20):
        assert contents(reader) == expected
        assert reader.search("apple", mode="lexical")
    print("checked", flush=True)
    sys.stdin.readline()
    assert contents(reader) == expected
"""


def test_another_process_reads_meanwhile(tmp_path: Path, small_steps: None) -> None:
    collection = fill(tmp_path / "c", 500)
    collection.delete(range(0, 500, 2))
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with python(READER, tmp_path / "c", **pipes) as reader:
        assert reader.stdout is not None
        assert reader.stdin is not None
        assert reader.stdout.readline() == b"ready\n"
        collection.compact()
        assert reader.stdout.readline() == b"checked\n"
        reader.stdin.write(b"\n")
        reader.stdin.close()
        assert reader.wait(200) == 0
    assert_whole(collection)
    collection.close()
    assert free_pages(tmp_path / "c") == 0


def test_a_full_disk_during_a_compaction_loses_nothing(tmp_path: Path, small_steps: None) -> None:
    with small_file_system(tmp_path / "disk", "16m") as disk, fill(disk / "c", 1500) as collection:
        collection.delete(range(0, 1500, 2))
        before = contents(collection)
        for left in (0, 8_192, 100_000, 500_000):
            with (disk / "rest").open("wb", buffering=0) as rest:
                try:
                    while rest.write(bytes(65_536)):
                        pass
                except OSError as error:
                    assert error.errno == errno.ENOSPC  # noqa: PT017
                rest.truncate(max(0, rest.tell() - left))
            try:
                collection.compact()
            except StorageError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017
            assert contents(collection) == before
            assert_whole(collection)
            (disk / "rest").unlink()
        collection.compact()
        assert contents(collection) == before
        assert_words_agree(collection, before)
        assert_whole(collection)


COMPACTOR = """
import sys
from pathlib import Path
from collection_helpers import opened
from nestling.collection.upkeep import compaction
compaction._PAGES = 3
with opened(Path(sys.argv[1])) as collection:
    print("ready", flush=True)
    collection.compact()
"""


def kill_compactions(folder: Path, seeds: range) -> None:
    model: dict[str, Model] = {}
    with fill(folder / "c", 1200) as collection:
        model = contents(collection)
    for seed in seeds:
        rng = random.Random(seed)
        with opened(folder / "c") as collection:
            gone = rng.sample(sorted(model), 60)
            collection.delete(gone)
            model = {id: document for id, document in model.items() if id not in gone}
            new = {f"n{seed}-{i}": Model(text(seed * 1000 + i)) for i in range(60)}
            collection.add([m.text for m in new.values()], ids=list(new), progress=False)
            model |= new
        with python(COMPACTOR, folder / "c", stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                process.wait(rng.uniform(0, 0.6))
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
            process.wait()
        with opened(folder / "c") as collection:
            assert contents(collection) == model
            assert_whole(collection)
            assert_words_agree(collection, model)
    with opened(folder / "c") as collection:
        collection.compact()
        assert_whole(collection)
        assert_words_agree(collection, model)
    assert free_pages(folder / "c") == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_compactions_lose_nothing(tmp_path: Path) -> None:
    kill_compactions(tmp_path, range(3))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_hundred_killed_compactions_lose_nothing(tmp_path: Path) -> None:
    kill_compactions(tmp_path, range(100, 200))
