"""Streams: committed by the clock however slow the source is, beside other writers."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from collection_helpers import (
    assert_searches_agree,
    assert_whole,
    contents,
    opened,
    python,
)
from waiting import until

from fake_clock import FakeClock
from nestling import Collection, IdError, LockedError
from nestling.collection import ingestor


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestor, "_MAX_COMMIT_SECONDS", 0.05)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with opened(tmp_path / "c", lock_timeout=200) as collection:
        yield collection


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "nestling-commit"]


class Source:
    """A source that gives some documents and then blocks until it is released."""

    def __init__(self, texts: Sequence[str], rest: Sequence[str] = ()) -> None:
        self.texts, self.rest = texts, rest
        self.blocked, self.go = threading.Event(), threading.Event()
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[dict[str, str]]:
        for text in self.texts:
            self.threads.add(threading.get_ident())
            yield {"id": text, "text": text}
        self.blocked.set()
        assert self.go.wait(200)
        for text in self.rest:
            self.threads.add(threading.get_ident())
            yield {"id": text, "text": text}


class Adding:
    """An `add` in a thread of its own."""

    def __init__(self, collection: Collection, source: Any, **options: Any) -> None:
        self.error: BaseException | None = None
        self.result: Any = None

        def work() -> None:
            try:
                self.result = collection.add(source, progress=False, **options)
            except BaseException as error:
                self.error = error

        self.thread = threading.Thread(target=work)
        self.thread.start()


def test_what_came_is_committed_while_the_source_blocks(
    collection: Collection, soon: None, tmp_path: Path
) -> None:
    source = Source(["apple", "bread", "river"], ["stone"])
    adding = Adding(collection, source)
    until(lambda: len(collection) == 3)
    assert adding.thread.is_alive()
    # The commit is seen a moment before its writer lets go of the lock.
    with opened(tmp_path / "c", lock_timeout=200) as other:
        other.add(["violet"], ids=["other"])
        assert other.delete("apple") == 1
    source.go.set()
    adding.thread.join(200)
    assert adding.error is None
    assert (adding.result.added, adding.result.passages) == (4, 4)
    assert contents(collection).keys() == {"bread", "river", "other", "stone"}
    assert source.threads == {adding.thread.ident}, "a generator belongs to the caller's thread"
    assert not helpers()
    assert_searches_agree(collection)
    assert_whole(collection)


def test_ids_that_block_are_committed_around_too(collection: Collection, soon: None) -> None:
    source = Source(["a", "b"], ["c"])
    adding = Adding(collection, ["apple", "bread", "river"], ids=(item["id"] for item in source))
    until(lambda: len(collection) == 2)
    source.go.set()
    adding.thread.join(200)
    assert adding.error is None
    assert adding.result.ids == ["a", "b", "c"]


def test_a_slow_stream_is_committed_every_ten_seconds(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr(ingestor, "time", clock)
    lost = []

    def crawl() -> Iterator[str]:
        for number in range(200):
            clock.advance(1)
            yield f"page {number}"
            lost.append(number + 1 - len(collection))

    collection.add(crawl(), progress=False)
    assert len(collection) == 200
    assert max(lost) <= 11
    assert min(lost) == 0


def test_the_lock_is_free_while_a_source_is_waited_for(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingestor, "_MAX_COMMIT_SECONDS", 1e6)  # nothing is due meanwhile
    source = Source([f"text {i}" for i in range(300)])  # more than a chunk: some is encoded
    adding = Adding(collection, source)
    assert source.blocked.wait(200)
    with opened(collection.path, lock_timeout=0) as other:
        other.add(["apple"], ids=["x"])
        other.compact()
    source.go.set()
    adding.thread.join(200)
    assert adding.error is None
    assert len(collection) == 301
    assert_searches_agree(collection)
    assert_whole(collection)


def test_an_error_of_the_other_thread_reaches_the_caller(
    collection: Collection, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(texts: Sequence[str]) -> Any:
        raise OSError("the encoder is gone")

    monkeypatch.setattr(collection._encoder, "encode", encode)
    source = Source(["apple"], ["bread", "river"])
    adding = Adding(collection, source)
    until(lambda: source.blocked.is_set() and not helpers())
    source.go.set()
    adding.thread.join(200)
    assert isinstance(adding.error, OSError)
    assert len(collection) == 0


def test_a_lock_that_others_hold_when_a_commit_is_due(tmp_path: Path, soon: None) -> None:
    with opened(tmp_path / "c", lock_timeout=0.05) as collection:
        source = Source(["apple"], ["bread"])

        def blocked() -> Iterator[Any]:
            documents = iter(source)
            with opened(tmp_path / "c")._store.lock.changing():
                yield next(documents)
                until(lambda: not helpers())
            source.go.set()
            yield from documents

        with pytest.raises(LockedError):
            collection.add(blocked())
        assert len(collection) == 0


def test_an_interrupt_ends_the_other_thread_too(collection: Collection, soon: None) -> None:
    def interrupted() -> Iterator[str]:
        for number in itertools.count():
            yield f"page {number}"
            if len(collection):  # a commit came; the next one is on its way
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collection.add(interrupted())
    assert not helpers()
    kept = len(collection)
    time.sleep(0.1)
    assert 0 < len(collection) == kept
    assert_whole(collection)


def changed_meanwhile(collection: Collection, change: Callable[[], Any], **options: Any) -> Any:
    """Adds documents, of which the first was changed between its look-up and the commit."""

    def source() -> Iterator[dict[str, str]]:
        for number in range(100):  # the first chunk is looked up at once
            yield {"id": f"d{number}", "text": f"apple {number}"}
        change()

    return collection.add(source(), progress=False, **options)


def test_what_was_unchanged_and_is_removed_meanwhile_is_added(collection: Collection) -> None:
    collection.add(["apple 0"], ids=["d0"])
    result = changed_meanwhile(collection, lambda: collection.delete("d0"))
    assert (result.added, result.unchanged) == (100, 0)
    assert_searches_agree(collection)
    assert_whole(collection)


def test_what_was_new_and_is_added_meanwhile_is_counted_as_it_is(collection: Collection) -> None:
    for text, name in (("apple 0", "unchanged"), ("stone", "replaced")):
        collection.delete(where={})
        result = changed_meanwhile(collection, lambda text=text: collection.add([text], ["d0"]))
        assert (result.added, getattr(result, name)) == (99, 1)
        assert contents(collection)["d0"].text == "apple 0"
    collection.delete(where={})
    with pytest.raises(IdError, match="d0"):
        changed_meanwhile(
            collection, lambda: collection.add(["stone"], ["d0"]), on_conflict="error"
        )
    assert contents(collection).keys() == {"d0"}
    result = changed_meanwhile(collection, lambda: None, on_conflict="skip")
    assert (result.added, result.skipped) == (99, 1)
    assert contents(collection)["d0"].text == "stone"
    assert_searches_agree(collection)
    assert_whole(collection)


def test_what_was_replaced_and_is_removed_meanwhile_is_added(collection: Collection) -> None:
    collection.add(["stone"], ids=["d0"])
    result = changed_meanwhile(collection, lambda: collection.delete("d0"))
    assert (result.added, result.replaced) == (100, 0)
    assert_whole(collection)


def interleave(folder: Path, rounds: int, seed: int) -> None:
    """Several streams, deletions and compactions at once, in two handles of one folder."""
    faults: list[BaseException] = []
    with opened(folder, lock_timeout=250) as one, opened(folder, lock_timeout=250) as two:

        def work(number: int) -> None:
            rng = random.Random(seed * 100 + number)
            collection = (one, two)[number % 2]
            try:
                for _ in range(rounds):
                    texts = {
                        f"d{rng.randrange(150)}": f"apple {rng.randrange(9)}" for _ in "x" * 90
                    }
                    collection.add(
                        ({"id": id, "text": text} for id, text in texts.items()), progress=False
                    )
                    collection.delete([f"d{rng.randrange(150)}" for _ in range(20)])
                    if rng.random() < 0.2:
                        collection.compact()
            except BaseException as error:
                faults.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults, faults
        assert contents(one) == contents(two)
        assert_searches_agree(one)
        assert_whole(one)


def test_streams_interleave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestor, "_CHUNK", 16)
    monkeypatch.setattr(ingestor, "_FIRST_CHUNK", 1.0)
    interleave(tmp_path / "c", 3, seed=0)


@pytest.mark.slow
def test_many_streams_interleave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestor, "_CHUNK", 16)
    monkeypatch.setattr(ingestor, "_FIRST_CHUNK", 1.0)
    for seed in range(1, 11):
        interleave(tmp_path / f"c{seed}", 8, seed)


CRAWL = """
import sys, time
from pathlib import Path
from collection_helpers import opened
from nestling.collection import ingestor
ingestor._MAX_COMMIT_SECONDS = 1.0
def crawl():
    for number in range(10**9):
        time.sleep(0.02 if number % 100 else 2.5)
        yield {"id": number, "text": f"page {number}"}
        print(number, flush=True)
opened(Path(sys.argv[1])).add(crawl(), progress=False)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_crawl_loses_what_came_since_the_last_commit_only(tmp_path: Path) -> None:
    for seconds in (5.0, 8.0, 11.0):
        path = tmp_path / str(seconds)
        with python(CRAWL, path, stdout=subprocess.PIPE) as crawler:
            assert crawler.stdout is not None
            crawler.stdout.readline()
            time.sleep(seconds)
            os.kill(crawler.pid, signal.SIGKILL)
            crawled = len(crawler.stdout.read().split()) + 1
        with opened(path) as collection:
            assert crawled > 30
            assert crawled - 80 <= len(collection) <= crawled + 1
            assert_whole(collection)
