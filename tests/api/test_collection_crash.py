"""A writer killed at any moment leaves its commits, and perhaps the one in flight."""

from __future__ import annotations

import os
import random
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from collection_helpers import (
    QUERIES,
    WORDS,
    Model,
    WordsEncoder,
    assert_whole,
    assert_words_agree,
    contents,
    exact,
    opened,
    orphans,
    scratch,
)

from nestling import Collection
from nestling.collection import ingestor
from nestling.collection.storage import store
from nestling.collection.upkeep import compaction

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

CHUNK = 10  # documents of one commit
State = dict[str, Model]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingestor, "_CHUNK", CHUNK)
    monkeypatch.setattr(ingestor, "_FIRST_CHUNK", 1.0)  # of a chunk: each is whole
    monkeypatch.setattr(ingestor, "_MAX_COMMIT_ROWS", CHUNK)
    monkeypatch.setattr(store, "PENDING_ROWS", 25)
    monkeypatch.setattr(compaction, "_MIN_SIZE", 25)
    monkeypatch.setattr(compaction, "FAN", 2)
    monkeypatch.setattr(compaction, "_PAGES", 3)


def plan(seed: int) -> Iterator[tuple[str, Any, list[State]]]:
    """An endless stream of changes: a method, its argument, and the states in between."""
    rng = random.Random(seed)
    model: State = {}
    while True:
        name = rng.choices(
            ["add", "delete", "metadata", "compact", "behind", "declare", "tune"],
            [8, 4, 4, 2, 2, 1, 0.5],
        )[0]
        states: list[State] = []
        given: Any = None
        if name == "add":
            given = [
                (
                    f"d{rng.randrange(80)}",
                    Model(" ".join(rng.choices(WORDS, k=rng.randint(1, 25))), "", {"n": 0}),
                )
                for _ in range(rng.randint(1, 35))
            ]
            for start in range(0, len(given), CHUNK):
                model = model | dict(given[start : start + CHUNK])
                states.append(model)
        elif name == "delete":
            given = [f"d{rng.randrange(80)}" for _ in range(rng.randint(1, 25))]
            model = {id: document for id, document in model.items() if id not in given}
        elif name == "metadata" and model:
            given = [
                (id, model[id]._replace(metadata={"n": rng.randrange(9)}))
                for id in rng.sample(sorted(model), min(len(model), 8))
            ]
            model = model | dict(given)
        elif name == "declare":
            given = rng.choice(["n", "m", "n.n"])
        yield name, given, states or [model]


def do(collection: Collection, name: str, given: Any) -> None:
    if name in ("add", "metadata"):
        stream = ({"id": id, **document._asdict()} for id, document in given or ())
        collection.add(stream, progress=False)
    elif name == "delete":
        collection.delete(given)
    elif name == "declare":
        collection.declare(given)
    elif name == "tune":
        if len(collection):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                collection.tune(0.9, k=3, budget_seconds=0.05, verbose=False)
    else:
        collection.compact(wait=name == "compact")


def write(path: Path, seed: int, journal: int) -> None:
    """Changes a collection until it is killed; writes a byte after each change."""
    with opened(path) as collection:
        os.write(journal, b"r")
        for name, given, _ in plan(seed):
            do(collection, name, given)
            os.write(journal, b".")


def killed(path: Path, seed: int, changes: int, seconds: float) -> int:
    """Starts a writer, kills it so long after some changes, and returns how many it completed."""
    reading, journal = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            write(path, seed, journal)
        finally:
            os._exit(1)
    os.close(journal)
    try:
        done = -1  # the first byte is not of a change
        while done < changes:
            assert os.read(reading, 1), "the writer died by itself"
            done += 1
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the writer died by itself"
        while some := os.read(reading, 4096):
            done += len(some)
        return done
    finally:
        os.close(reading)


def assert_searches_as_scratch(collection: Collection) -> None:
    """As `assert_searches_agree`, for a collection that may have been tuned."""
    last = str(collection.funnel.stages[-1])
    index = scratch(collection, like=collection._store.view().template)
    for question in WordsEncoder().encode(QUERIES):
        hits = collection.search(question, 1000, funnel=last, probes=0)
        found = [(hit.id, hit.passage, hit.score) for hit in hits]
        assert found == exact(index, collection, question, 1000, funnel=last)


def kill_and_check(folder: Path, seeds: range) -> None:
    partly = done_in_all = 0
    for seed in seeds:
        path = folder / f"c{seed}"
        with opened(path):
            pass
        done = killed(path, seed, 3 * (seed % 2), random.Random(seed).uniform(0, 0.6))
        done_in_all += done
        changes = plan(seed)
        before: State = {}
        for _ in range(done):
            before = next(changes)[2][-1]
        allowed = [before, *next(changes)[2]]
        with opened(path) as collection:
            found = contents(collection)
            assert found in allowed, f"seed {seed}, {done} changes done"
            partly += found != before
            assert_whole(collection)
            assert collection.check().orphans == ()
            assert_searches_as_scratch(collection)
            assert_words_agree(collection, found)
            assert collection.count({"n": {"$gte": 1}}) == sum(
                document.metadata["n"] >= 1 for document in found.values()
            )
            collection.add(["apple and stone"], ids=["after"])
            collection.compact()
            assert_searches_as_scratch(collection)
        assert orphans(path) == ()
    assert done_in_all > len(seeds), "the writers were killed before they had changed anything"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_killed_writer_leaves_its_commits(tmp_path: Path, small: None) -> None:
    kill_and_check(tmp_path, range(6))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_two_hundred_killed_writers_leave_their_commits(tmp_path: Path, small: None) -> None:
    kill_and_check(tmp_path, range(1000, 1200))
