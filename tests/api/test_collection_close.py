"""Closing while other threads use the collection, and what happens if its folder is taken away."""

from __future__ import annotations

import gc
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collection_helpers import DIM, assert_whole, contents, opened, python
from disks import small_file_system
from hashing_encoder import HashingEncoder

from nestling import ClosedError, Collection, Index, LockedError, StorageError
from nestling.collection import collection as module
from nestling.collection.storage.lock import LOCK_FILE

VECTOR = np.ones(DIM, np.float32)


def calls_of(collection: Collection) -> dict[str, Callable[[], Any]]:
    """Every kind of call that touches the database."""
    return {
        "dense": lambda: collection.search(VECTOR),
        "text": lambda: collection.search("apple"),
        "lexical": lambda: collection.search("apple", mode="lexical", where={"n": {"$gte": 0}}),
        "hybrid": lambda: collection.search("apple", mode="hybrid"),
        "documents": lambda: list(collection.documents()),
        "get": lambda: collection.get(["d1", "d2"]),
        "contains": lambda: "d1" in collection,
        "count": lambda: collection.count({"n": {"$gte": 0}}),
        "add": lambda: collection.add("stone", "other", progress=False),
        "stream": lambda: collection.add(iter(["river"]), ["more"], progress=False),
        "delete": lambda: collection.delete("other"),
        "declare": lambda: collection.declare("n", "m"),
        "compact": lambda: collection.compact(),
        "check": lambda: collection.check(),
        "info": lambda: collection.info(),
    }


def filled(path: Path) -> Collection:
    collection = opened(path, HashingEncoder(dim=DIM), fields=["n"])
    texts = [f"apple bread{i}" for i in range(40)]
    ids = [f"d{i}" for i in range(40)]
    collection.add(texts, ids, [{"n": i} for i in range(40)], progress=False)
    return collection


def close_under_calls(path: Path, closes: int, seed: int = 0) -> None:
    """Closes at random moments while every kind of call runs in a thread of its own."""
    chance = random.Random(seed)
    filled(path).close()
    for _ in range(closes):
        collection = opened(path, HashingEncoder(dim=DIM))
        ends: list[BaseException] = []
        calls = chance.sample(list(calls_of(collection).items()), 4)

        def work(call: Callable[[], Any], ends: list[BaseException] = ends) -> None:
            try:
                while True:
                    call()
            except BaseException as error:
                ends.append(error)

        threads = [threading.Thread(target=work, args=(call,)) for _, call in calls]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(0, 0.01))
        collection.close()
        with pytest.raises(ClosedError):
            collection.count()
        for thread in threads:
            thread.join(200)
            assert not thread.is_alive()
        assert len(ends) == len(calls)
        for end in ends:
            if not isinstance(end, (ClosedError, LockedError)):
                raise end
    with opened(path, HashingEncoder(dim=DIM)) as collection:
        assert_whole(collection)
        assert {"d0", "d39"} <= contents(collection).keys()
    assert sorted(entry.name for entry in path.iterdir()) == [
        "collection.db",
        "segments",
        LOCK_FILE,
    ]


def test_a_close_under_running_calls_ends_them_with_an_error(tmp_path: Path) -> None:
    close_under_calls(tmp_path / "c", 15)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_many_closes_under_running_calls(tmp_path: Path) -> None:
    """NESTLING_TEST_CLOSES says how many."""
    count = int(os.environ.get("NESTLING_TEST_CLOSES", "1000"))
    close_under_calls(tmp_path / "c", count, seed=int(os.environ.get("NESTLING_TEST_SEED", "0")))


def test_a_close_waits_for_the_call_that_is_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CLOSE_SECONDS", 200)
    with filled(tmp_path / "c") as collection:
        held, go = threading.Event(), threading.Event()

        other = opened(tmp_path / "c", HashingEncoder(dim=DIM))
        results: list[Any] = []

        def search() -> None:
            with other._store.reading():
                held.set()
                go.wait(200)
                results.append(other.count())

        thread = threading.Thread(target=search)
        thread.start()
        held.wait(200)
        closing = threading.Thread(target=other.close)
        closing.start()
        while not other._store.database.gate._closing:
            time.sleep(0.001)
        with pytest.raises(ClosedError):
            other.search(VECTOR)
        closing.join(0.1)
        assert closing.is_alive()
        go.set()
        thread.join()
        closing.join()
        assert results == [40]
        assert len(collection) == 40


def test_a_close_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CLOSE_SECONDS", 0.1)
    collection = filled(tmp_path / "c")
    held, ends = threading.Event(), list[BaseException]()
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        "SELECT max(i) FROM n WHERE i > 1 OR runs()"
    )

    def run() -> None:
        try:
            with collection._store.reading() as (connection, _):
                connection.create_function("runs", 0, held.set)
                connection.execute(endless).fetchone()
        except BaseException as error:
            ends.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    held.wait(200)
    collection.close()
    thread.join(200)
    assert [type(error) for error in ends] == [ClosedError]
    ends.clear()  # their frames hold the statement
    assert not (tmp_path / "c" / "collection.db-wal").exists(), "a connection is still open"


def test_an_iteration_ends_with_an_error_and_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CLOSE_SECONDS", 200)
    collection = filled(tmp_path / "c")
    documents = iter(collection)
    next(documents)
    began = time.monotonic()
    collection.close()
    assert time.monotonic() - began < 150
    with pytest.raises(ClosedError):
        next(documents)


def test_a_source_that_closes_the_collection_it_is_added_to(tmp_path: Path) -> None:
    collection = filled(tmp_path / "c")

    def texts() -> Iterator[str]:
        yield "river"
        collection.close()
        yield "stone"

    with pytest.raises(ClosedError):
        collection.add(texts(), progress=False)
    with opened(tmp_path / "c", HashingEncoder(dim=DIM)) as again:
        assert_whole(again)


AT_EXIT = """
import sys, threading, time
from pathlib import Path
from collection_helpers import opened
from hashing_encoder import HashingEncoder
from test_collection_close import calls_of

collection = opened(Path(sys.argv[1]), HashingEncoder(dim=16))

def work(call):
    while True:
        call()

calls = calls_of(collection)
del calls["check"]  # np.unique itself may abort then
for call in calls.values():
    threading.Thread(target=work, args=(call,), daemon=True).start()
time.sleep(float(sys.argv[2]))
if sys.argv[3] == "close":
    import atexit
    atexit.register(collection.close)
"""


@pytest.mark.parametrize("how", ["close", "leave"])
def test_the_interpreter_may_exit_while_daemon_threads_use_a_collection(
    tmp_path: Path, how: str
) -> None:
    filled(tmp_path / "c").close()
    for delay in (0.0, 0.05, 0.2):
        process = python(AT_EXIT, tmp_path / "c", delay, how, stderr=subprocess.PIPE)
        _, complaint = process.communicate(timeout=200)
        assert process.returncode == 0, complaint.decode()
    with opened(tmp_path / "c", HashingEncoder(dim=DIM)) as collection:
        assert_whole(collection)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_collection_that_is_garbage_releases_everything(tmp_path: Path) -> None:
    collection = filled(tmp_path / "c")
    documents = iter(collection)
    next(documents)
    del collection, documents
    gc.collect()
    assert not (tmp_path / "c" / "collection.db-wal").exists()


@pytest.mark.parametrize("name", list(calls_of(None)))  # type: ignore[arg-type]
def test_the_working_folder_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with filled(Path("c")) as collection:
        monkeypatch.chdir(tmp_path / "elsewhere")
        calls_of(collection)[name]()
        collection.add([f"violet {i}" for i in range(300)], progress=False)
        collection.export("out.jsonl")
        collection.backup("copy")
        assert_whole(collection)
        assert collection.path == tmp_path / "c"
    assert {path.name for path in Path().iterdir()} == {"out.jsonl", "copy"}


def rename(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def delete(folder: Path) -> None:
    shutil.rmtree(folder)


def replace_by_a_copy(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("copy"))
    folder.rename(folder.with_name("moved"))
    folder.with_name("copy").rename(folder)


def replace_by_a_link(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("copy"))
    folder.rename(folder.with_name("moved"))
    folder.symlink_to(folder.with_name("copy"))


def replace_the_database(folder: Path) -> None:
    shutil.copyfile(folder / "collection.db", folder / "copy")
    (folder / "copy").replace(folder / "collection.db")


@pytest.mark.parametrize(
    "take_away", [rename, delete, replace_by_a_copy, replace_by_a_link, replace_the_database]
)
def test_a_folder_that_is_taken_away_is_noticed_before_a_change_is_acknowledged(
    tmp_path: Path, take_away: Callable[[Path], None]
) -> None:
    collection = filled(tmp_path / "c")
    take_away(tmp_path / "c")
    calls = calls_of(collection)
    for name in ("add", "stream", "compact"):
        with pytest.raises(StorageError, match=r"moved|replaced"):
            calls[name]()
    with pytest.raises(StorageError, match=r"moved|replaced"):
        collection.delete("d1")
    collection.close()
    for place in ("c", "moved"):
        if (tmp_path / place).is_dir():
            with Collection(tmp_path / place, HashingEncoder(dim=DIM)) as kept:
                assert len(kept) == 40
                assert_whole(kept)


@pytest.mark.parametrize("behind", [False, True])
def test_a_disk_that_is_unmounted_is_noticed_before_a_change_is_acknowledged(
    tmp_path: Path, behind: bool
) -> None:
    """A lazy unmount keeps open files alive; what was under the disk may be a collection too."""
    disk = tmp_path / "disk"
    if behind:
        filled(disk / "c").close()
        disk.rename(tmp_path / "kept")
    with small_file_system(disk, "16m"):
        collection = filled(disk / "c")
    if behind:
        disk.rmdir()
        (tmp_path / "kept").rename(disk)
    calls = calls_of(collection)
    for name in ("add", "stream", "delete", "compact"):
        with pytest.raises(StorageError, match=r"moved|replaced"):
            calls[name]()
    collection.close()
    if behind:
        with Collection(disk / "c", HashingEncoder(dim=DIM)) as kept:
            assert len(kept) == 40
            assert_whole(kept)


def test_a_folder_that_is_renamed_and_linked_is_the_same(tmp_path: Path) -> None:
    with filled(tmp_path / "c") as collection:
        (tmp_path / "c").rename(tmp_path / "moved")
        (tmp_path / "c").symlink_to(tmp_path / "moved")
        collection.add("stone", "other", progress=False)
        assert len(collection) == 41
        assert_whole(collection)


def test_an_index_is_saved_and_loaded_at_relative_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    index = Index(2, funnel="2@32")
    index.add(np.eye(2))
    index.save("i.nest")
    loaded = Index.load("i.nest")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert loaded.search(np.array([1.0, 0.0]), k=1).ids.tolist() == [0]
    loaded.add([1.0, 1.0])
    loaded.save("again.nest")
    assert len(Index.load(tmp_path / "elsewhere" / "again.nest")) == 3
