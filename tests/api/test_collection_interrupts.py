"""Interrupts at any moment of any call: nothing stays locked, open or half done."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collection_helpers import DIM, assert_whole, opened, python
from hashing_encoder import HashingEncoder
from interrupts import Interrupter, ThreadInterrupter

from nestling import Collection, _core
from nestling.collection.storage import store
from nestling.collection.storage.lock import LOCK_FILE
from nestling.collection.upkeep import compaction

# An interrupt may strike within the destructor of something, or between opening a file and `with`.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]

WRITER = """
import sys
from pathlib import Path
from collection_helpers import opened
from hashing_encoder import HashingEncoder

with opened(Path(sys.argv[1]), HashingEncoder(dim=16), lock_timeout=200) as collection:
    for line in sys.stdin:
        collection.add(f"stone {line}", "other", progress=False)
        print(len(collection), flush=True)
"""

_STEPS = 200  # between two checks of everything
IDS = [f"d{i}" for i in range(60)]
Call = Callable[[], Any]


class Session:
    """A collection whose calls are interrupted, and a model of what it must hold."""

    def __init__(self, path: Path, interrupter: Interrupter) -> None:
        self.path = path
        self.interrupter = interrupter
        self.random = interrupter.random
        self.collection = self.open()
        self.texts: dict[str, str] = {}
        self.calls = 0

    def open(self) -> Collection:
        return opened(self.path, HashingEncoder(dim=DIM), lock_timeout=200, fields=["n"])

    def step(self) -> None:
        """Makes one random call, interrupts it at a random moment, and checks what is left."""
        self.calls += 1
        name = self.random.choice(WEIGHTED)
        getattr(self, name)(name)
        free = _core.FileLock(os.fsencode(self.path / LOCK_FILE))
        end = time.monotonic() + 200  # a compaction in the background goes on
        while not free.acquire():
            assert time.monotonic() < end, f"the writer lock is held after {name}"
            time.sleep(0.001)
        free.release()

    def reading(self, name: str) -> None:
        c, word = self.collection, self.random.choice(["apple", "stone", "violet bread"])
        vector = np.ones(DIM, np.float32)
        calls: dict[str, Call] = {
            "dense": lambda: c.search(vector),
            "text": lambda: c.search(word, k=3, explain=True),
            "lexical": lambda: c.search(word, mode="lexical", include=["highlight", "vector"]),
            "hybrid": lambda: c.search([word, "river"], mode="hybrid", where={"n": {"$lt": 9}}),
            "filtered": lambda: c.search(vector, where={"n": {"$gte": self.random.random()}}),
            "get": lambda: c.get(IDS[:9]),
            "contains": lambda: "d1" in c,
            "count": lambda: c.count({"n": {"$gt": 3}}),
            "len": lambda: len(c),
            "documents": lambda: list(c.documents()),
            "info": lambda: c.info(),
            "repr": lambda: repr(c),
        }
        chosen = self.random.choice(list(calls))
        self.interrupter.call(chosen, calls[chosen])

    def writing(self, name: str) -> None:
        ids = self.random.sample(IDS, self.random.choice([1, 1, 2, 20]))
        choice = self.random.choice(["add", "replace", "metadata", "delete", "where", "stream"])
        new: dict[str, str | None] = {}
        c = self.collection
        if choice in ("delete", "where"):
            new = dict.fromkeys(ids)
            where = None if choice == "delete" else {"n": {"$gte": -1}}
            done = self.interrupter.call(choice, lambda: c.delete(ids, where=where))
        elif choice == "metadata":
            ids = [id for id in ids if id in self.texts]
            records = [
                {"id": id, "text": self.texts[id], "metadata": {"n": self.calls}} for id in ids
            ]
            new = {id: self.texts[id] for id in ids}
            done = self.interrupter.call(choice, lambda: c.add(records, progress=False))
        else:
            new = {id: f"apple bread{self.calls} {id}" for id in ids}
            records = [
                {"id": id, "text": text, "metadata": {"n": self.calls % 10}}
                for id, text in new.items()
            ]
            stream = choice == "stream" and self.interrupter.may_start_threads
            given: Any = iter(records) if stream else records
            done = self.interrupter.call(choice, lambda: c.add(given, progress=False))
        found = self.collection.get(ids)
        for id, document in zip(ids, found, strict=True):
            text = None if document is None else document.text
            allowed = {new[id]} if done else {new[id], self.texts.get(id)}
            assert text in allowed, f"{choice}: {id} is {text!r}, not one of {allowed}"
            if text is None:
                self.texts.pop(id, None)
            else:
                self.texts[id] = text

    def upkeep(self, name: str) -> None:
        c, target = self.collection, self.path.with_name(f"copy{self.calls}")
        calls: dict[str, Call] = {
            "compact": lambda: c.compact(),
            "background": lambda: c.compact(wait=False).result(200),
            "check": lambda: c.check(),
            "export": lambda: c.export(target.with_suffix(".jsonl")),
            "backup": lambda: c.backup(target),
            "declare": lambda: c.declare(self.random.choice(["n", "year", "a.b"])),
        }
        if not self.interrupter.may_start_threads:
            del calls["background"]
        chosen = self.random.choice(list(calls))
        self.interrupter.call(chosen, calls[chosen])
        left = [path for path in self.path.parent.iterdir() if path.name.startswith(target.name)]
        for path in left:
            if path.is_dir():
                with Collection(path, HashingEncoder(dim=DIM), read_only=True) as copy:
                    assert len(copy) >= len(self.texts)
                subprocess.run(["rm", "-r", str(path)], check=True)
            else:
                path.unlink()

    def reopening(self, name: str) -> None:
        self.interrupter.call("close", self.collection.close)
        self.collection.close()

        def open_and_keep() -> None:
            self.collection = self.open()

        if not self.interrupter.call("open", open_and_keep):
            self.collection = self.open()

    def check(self, writer: subprocess.Popen[bytes]) -> None:
        """Another process can write, this one too, and the contents are those of the model."""
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write(b"%d\n" % self.calls)
        writer.stdin.flush()
        assert writer.stdout.readline(), "another process cannot write"
        found = {d.id: d.text for d in self.collection}
        found.pop("other")
        assert found == self.texts
        assert_whole(self.collection)


WEIGHTED = ["reading"] * 12 + ["writing"] * 12 + ["upkeep", "reopening"]


def interrupt(path: Path, interrupter: Interrupter, count: int) -> None:
    """Makes calls until so many were interrupted."""
    with python(WRITER, path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        session = Session(path, interrupter)
        session.collection.add("stone", "other", progress=False)
        session.check(writer)
        while interrupter.count < count:
            for _ in range(_STEPS):
                session.step()
            session.check(writer)
        session.collection.close()
        assert writer.stdin is not None
        writer.stdin.close()
        assert writer.wait(200) == 0


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushes and merges often."""
    monkeypatch.setattr(store, "PENDING_ROWS", 40)
    monkeypatch.setattr(compaction, "FAN", 3)


@pytest.mark.usefixtures("small_segments")
def test_a_signal_at_any_moment_leaves_nothing_held_or_half_done(tmp_path: Path) -> None:
    interrupter = Interrupter()
    interrupt(tmp_path / "c", interrupter, 20)


@pytest.mark.usefixtures("small_segments")
def test_an_exception_of_another_thread_leaves_nothing_held_or_half_done(tmp_path: Path) -> None:
    interrupter = ThreadInterrupter()
    faults: list[BaseException] = []

    def work() -> None:
        try:
            interrupt(tmp_path / "c", interrupter, 20)
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if faults:
        raise faults[0]


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", range(int(os.environ.get("NESTLING_TEST_INTERRUPTERS", "1"))))
@pytest.mark.usefixtures("small_segments")
def test_many_signals_leave_nothing_held_or_half_done(tmp_path: Path, seed: int) -> None:
    """NESTLING_TEST_INTERRUPTS says how many."""
    interrupter = Interrupter(seed)
    count = int(os.environ.get("NESTLING_TEST_INTERRUPTS", "20000"))
    interrupt(tmp_path / "c", interrupter, count)
