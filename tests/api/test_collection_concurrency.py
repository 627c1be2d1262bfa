"""Readers and one writer, in threads and processes: every result is of one whole commit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from collection_helpers import (
    assert_searches_agree,
    assert_whole,
    contents,
    opened,
    orphans,
    python,
)
from filelock import FileLock

from nestling import Collection, LockedError, NestlingError
from nestling.collection.storage import store
from nestling.collection.storage.lock import LOCK_FILE
from nestling.collection.upkeep import compaction


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small segments, so that flushes and merges are frequent."""
    monkeypatch.setattr(store, "PENDING_ROWS", 30)
    monkeypatch.setattr(compaction, "_MIN_SIZE", 30)
    monkeypatch.setattr(compaction, "FAN", 2)


def generation(number: int, count: int) -> list[dict[str, Any]]:
    """The same documents each time; all name the generation."""
    return [
        {"id": f"d{i}", "text": f"apple generation{number}", "metadata": {"generation": number}}
        for i in range(count)
    ]


def assert_one_generation(collection: Collection, count: int, mode: Any) -> int:
    hits = collection.search("apple", count, mode=mode, include=["text", "metadata"])
    seen = {hit.text: hit.metadata for hit in hits}
    assert len(hits) == count, "documents were lost"
    assert len(seen) == 1, f"several generations in one result: {sorted(map(str, seen))}"
    ((text, metadata),) = seen.items()
    assert metadata is not None
    assert text == f"apple generation{metadata['generation']}"
    return int(metadata["generation"])


def read_while_written(path: Path, commits: int) -> None:
    """Writes until the readers' results were of so many commits."""
    count = 25
    with opened(path) as writer, opened(path) as other:
        writer.add(generation(0, count))
        stop = threading.Event()
        faults: list[BaseException] = []
        answers: set[int] = set()

        def read(number: int) -> None:
            collection = (writer, other)[number % 2]
            mode = ("dense", "lexical", "hybrid")[number % 3]
            last = 0
            try:
                while not stop.is_set():
                    seen = assert_one_generation(collection, count, mode)
                    assert seen >= last, "a result is older than the previous one"
                    last = seen
                    answers.add(seen)
                    found = collection.search("apple", count, {"generation": {"$gte": seen}})
                    assert len(found) == count
            except BaseException as fault:
                faults.append(fault)
                stop.set()

        threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        number = 0
        while len(answers) < commits and not stop.is_set():
            number += 1
            writer.add(generation(number, count))
            if number % 7 == 0:
                writer.compact(wait=number % 2 == 0)
        stop.set()
        for thread in threads:
            thread.join()
        if faults:
            raise faults[0]
        assert_whole(writer)


def test_threads_see_one_commit(tmp_path: Path, small: None) -> None:
    read_while_written(tmp_path / "c", 25)


@pytest.mark.long
def test_threads_see_one_of_many_commits(tmp_path: Path, small: None) -> None:
    read_while_written(tmp_path / "c", 500)


READER = """
import sys
from pathlib import Path
from collection_helpers import opened
from test_collection_concurrency import assert_one_generation

with opened(Path(sys.argv[1]), read_only=sys.argv[3] == "1") as collection:
    print("ready", flush=True)
    seen = set()
    while len(seen) < int(sys.argv[2]):
        mode = ("dense", "lexical", "hybrid")[len(seen) % 3]
        seen.add(assert_one_generation(collection, 25, mode))
        assert len(collection.get([f"d{i}" for i in range(25)])) == 25
"""


def read_in_processes(path: Path, commits: int) -> None:
    """Writes until the results of every reader were of so many commits."""
    with opened(path) as writer:
        writer.add(generation(0, 25))
        readers = [
            python(READER, path, commits, number, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for number in range(2)
        ]
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"ready\n"
        number = 0
        while any(reader.poll() is None for reader in readers):
            number += 1
            writer.add([{"id": f"x{i}", "text": "stone"} for i in range(number % 5)])
            writer.add(generation(number, 25))
            writer.delete([f"x{i}" for i in range(number % 5)])
            if number % 5 == 0:
                writer.compact()
        complaints = [reader.communicate()[1].decode() for reader in readers]
        assert [reader.returncode for reader in readers] == [0, 0], complaints
        assert_whole(writer)
        assert_searches_agree(writer)


def test_processes_see_one_commit(tmp_path: Path, small: None) -> None:
    read_in_processes(tmp_path / "c", 10)


@pytest.mark.long
def test_processes_see_one_of_many_commits(tmp_path: Path, small: None) -> None:
    read_in_processes(tmp_path / "c", 1500)


def test_a_reader_that_skipped_commits_forgets_what_they_removed(tmp_path: Path) -> None:
    with opened(tmp_path / "c") as writer, opened(tmp_path / "c") as reader:
        writer.add(["apple", "bread"], ids=["a", "b"])
        assert len(reader.search("apple")) == 2
        writer.delete(["a", "b"])
        writer.compact()
        assert len(reader.search("apple")) == 0
        writer.add(["river"], ids=["c"])
        writer.add(["stone"], ids=["d"])
        assert_searches_agree(reader)


def test_changes_continue_during_a_compaction(tmp_path: Path, small: None) -> None:
    with opened(tmp_path / "c") as collection:
        model = {}
        for number in range(30):
            done = collection.compact(wait=False)
            texts = {f"{number}-{i}": f"apple stone{number} bread{i}" for i in range(20)}
            collection.add(texts.values(), ids=list(texts))
            gone = [f"{number - 2}-{i}" for i in range(0, 20, 3)]
            collection.delete(gone)
            collection.add(
                [{"id": f"{number}-1", "text": texts[f"{number}-1"], "metadata": {"n": number}}]
            )
            done.result(200)
            model |= texts
            model = {id: text for id, text in model.items() if id not in gone}
        assert {id: doc.text for id, doc in contents(collection).items()} == model
        collection.compact()
        assert_searches_agree(collection)
        assert_whole(collection)
    assert orphans(tmp_path / "c") == ()


def test_a_close_waits_for_the_compaction_in_the_background(tmp_path: Path, small: None) -> None:
    with opened(tmp_path / "c") as collection:
        for number in range(5):
            collection.add([f"apple {number}-{i}" for i in range(40)])
        future = collection.compact(wait=False)
    assert future.done()
    assert future.exception() is None
    assert orphans(tmp_path / "c") == ()


def in_child(work: Any) -> int:
    """Runs work in a forked child; returns its exit status, 0 if nothing was raised."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_both_child_and_parent_can_continue_after_a_fork(tmp_path: Path, small: None) -> None:
    with opened(tmp_path / "c") as collection:
        collection.add(["apple bread", "river"], ids=["a", "b"])
        assert len(collection.search("apple")) == 2

        def work() -> None:
            assert len(collection.search("apple")) == 2
            collection.add(["stone"], ids=["child"])
            assert_searches_agree(collection)
            collection.close()

        assert in_child(work) == 0
        assert contents(collection).keys() == {"a", "b", "child"}
        collection.add(["violet"], ids=["parent"])
        assert in_child(lambda: collection.delete("parent")) == 0
        assert contents(collection).keys() == {"a", "b", "child"}
        assert_searches_agree(collection)
        assert_whole(collection)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_during_an_add_cannot_write_beside_its_parent(tmp_path: Path) -> None:
    with opened(tmp_path / "c", lock_timeout=0.2) as collection:

        def attempt() -> None:
            with pytest.raises(LockedError):
                collection.add(["bread"], ids=["b"])
            assert len(collection.search("apple")) == 0

        with collection._store.lock.changing():
            assert in_child(attempt) == 0
        assert collection.add(["apple", "river"]).added == 2
        assert_whole(collection)


HOLDER = """
import sys, time
from pathlib import Path
from collection_helpers import opened

with opened(Path(sys.argv[1]))._store.lock.changing():
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_folder_where_another_process_creates_a_collection_is_locked(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    with FileLock(tmp_path / "c" / LOCK_FILE), pytest.raises(LockedError, match="another process"):
        opened(tmp_path / "c", lock_timeout=0)
    with opened(tmp_path / "c") as collection:
        assert len(collection) == 0


def test_only_one_writer_is_allowed_and_a_killed_one_releases_the_lock(tmp_path: Path) -> None:
    with opened(tmp_path / "c", lock_timeout=0.3) as collection:
        collection.add(["apple"], ids=["a"])
        with python(HOLDER, tmp_path / "c", stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n"
            for change in (
                lambda: collection.add(["bread"]),
                lambda: collection.delete("a"),
                lambda: collection.declare("year"),
                lambda: collection.compact(),
                lambda: collection.tune(verbose=False),
                lambda: collection.compact(wait=False).result(200),
            ):
                began = time.monotonic()
                with pytest.raises(LockedError, match=r"another process .* after 0\.3 s"):
                    change()
                assert time.monotonic() - began >= 0.3
            assert len(collection.search("apple")) == 1
            holder.send_signal(signal.SIGKILL)
        collection.add(["bread"], ids=["b"])
        assert contents(collection).keys() == {"a", "b"}
        assert_whole(collection)


def test_a_reader_that_is_always_overtaken_raises_a_locked_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "c") as collection:
        collection.add(["apple"], ids=["a"])
        attempts: list[bool] = []

        def overtaken(connection: Any, *, patient: bool) -> None:
            attempts.append(patient)

        monkeypatch.setattr(collection._store, "_view_of", overtaken)
        with pytest.raises(LockedError, match="100 times"):
            collection.count()
        assert attempts == [True] * 99 + [False]
        monkeypatch.undo()
        assert collection.count() == 1


def test_a_thread_waits_for_another_or_raises(tmp_path: Path) -> None:
    with opened(tmp_path / "c", lock_timeout=0.2) as collection:
        go, held = threading.Event(), threading.Event()

        def hold() -> None:
            with collection._store.lock.changing():
                held.set()
                go.wait(200)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(200)
        with pytest.raises(LockedError, match="another thread"):
            collection.add(["bread"])
        with opened(tmp_path / "c", lock_timeout=0.1) as second, pytest.raises(LockedError):
            second.add(["bread"])
        go.set()
        thread.join()
        collection.add(["bread"])
        assert len(collection) == 1


def test_an_add_within_an_add_does_not_deadlock(tmp_path: Path) -> None:
    """Its own generator may change the collection: both are stored, or an error is raised."""
    with opened(tmp_path / "c", lock_timeout=1) as collection:

        def texts() -> Any:
            yield {"id": "a", "text": "apple"}
            collection.add(["bread"], ids=["b"])
            yield {"id": "c", "text": "stone"}

        try:
            collection.add(texts())
        except NestlingError:
            pass
        else:
            assert contents(collection).keys() == {"a", "b", "c"}
        assert_searches_agree(collection)
        assert_whole(collection)
