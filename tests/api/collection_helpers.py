"""Helpers of the tests of collections: an encoder of hashed words, documents, an oracle."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hashing_encoder import HashingEncoder
from numpy.typing import NDArray

from nestling import Collection, Index
from nestling.collection import Passages, check, is_collection
from nestling.collection.storage import store
from nestling.collection.storage.database import DATABASE_FILE
from nestling.collection.storage.documents import passage_texts
from nestling.collection.upkeep import compaction

DIM = 16
KEEP = 10_000  # of the first stage: more than the rows of any test, so searches are exact
FUNNEL = f"8@4:{KEEP} > {DIM}@16"
PASSAGES = Passages(size=60, overlap=20)
WORDS = ("apple", "bread", "river", "stone", "violet", "كتاب", "مدرسه", "نهر")
QUERIES = ("apple bread", "river", "نهر stone", "violet violet كتاب")

TESTS = Path(__file__).parents[1]


class Model(NamedTuple):
    """A document of a test."""

    text: str
    title: str = ""
    metadata: Mapping[str, Any] = {}


class WordsEncoder(HashingEncoder):
    """Hashed words in 16 dimensions; records the texts that it encodes.

    Attributes:
        texts: The texts of all passages, in order.
        questions: The number of queries.
    """

    def __init__(self, name: str = "words", *, dim: int = DIM) -> None:
        super().__init__(name, dim=dim)
        self.texts: list[str] = []
        self.questions = 0

    def encode(self, texts: Sequence[str], **options: Any) -> NDArray[np.float32]:
        self.texts += texts
        return super().encode(texts, **options)

    def encode_queries(self, texts: Sequence[str], **options: Any) -> NDArray[np.float32]:
        self.questions += len(texts)
        return super().encode(texts, **options)


def opened(path: Path, encoder: Any = None, **options: Any) -> Collection:
    """A collection with the settings above, created or opened; it waits long for other writers."""
    options = {"lock_timeout": 200, **options}
    if not is_collection(path):
        options = {"funnel": FUNNEL, "passages": PASSAGES, **options}
    return Collection(path, WordsEncoder() if encoder is None else encoder, threads=1, **options)


def contents(collection: Collection) -> dict[str, Model]:
    """All documents, by id, as iterating gives them."""
    found = {d.id: Model(d.text, d.title, d.metadata) for d in collection}
    assert len(found) == len(collection)
    return found


def scratch(
    collection: Collection, vectors: Mapping[str, Any] | None = None, like: Index | None = None
) -> Index:
    """An index built from the vectors of all passages; its ids are their rows."""
    if like is None:
        index = Index(collection.dim, funnel=collection.funnel, metric="cosine", threads=1)
    else:
        index = like.empty()
    for document in collection:
        rows = [document.row + passage for passage in range(len(document.spans))]
        if vectors is not None and document.id in vectors:
            made = np.asarray(vectors[document.id], np.float32).reshape(len(rows), -1)
        else:
            passages = list(passage_texts(document.title, document.text, document.spans))
            made = HashingEncoder(dim=collection.dim).encode(passages)
        index.add(made, ids=rows)
    return index


def exact(
    index: Index,
    collection: Collection,
    query: NDArray[np.float32],
    k: int,
    funnel: str | None = None,
) -> list[tuple[str, int, float]]:
    """The k best documents: id, best passage, and its score."""
    passage_of_row = {
        document.row + passage: (document.id, passage)
        for document in collection
        for passage in range(len(document.spans))
    }
    hits = index.search(query, max(len(index), 1), funnel=funnel)
    best: dict[str, tuple[str, int, float]] = {}
    for row, score in zip(hits.ids.tolist(), hits.scores.tolist(), strict=True):
        if row >= 0:
            id, passage = passage_of_row[row]
            best.setdefault(id, (id, passage, score))
    return list(best.values())[:k]


def assert_searches_agree(
    collection: Collection, k: int = 1000, vectors: Mapping[str, Any] | None = None
) -> None:
    """Compares dense searches with those of an index built from scratch, bit for bit."""
    index = scratch(collection, vectors)
    for question in HashingEncoder(dim=collection.dim).encode(QUERIES):
        found = [(hit.id, hit.passage, hit.score) for hit in collection.search(question, k)]
        assert found == exact(index, collection, question, k)


def assert_words_agree(collection: Collection, model: Mapping[str, Model]) -> None:
    """Checks that lexical searches find exactly the documents with a word."""
    for word in WORDS:
        found = {hit.id for hit in collection.search(word, 1000, mode="lexical")}
        assert found == {
            id for id, doc in model.items() if word in f"{doc.title} {doc.text}".split()
        }, word


def assert_whole(collection: Collection) -> None:
    report = collection.check()
    assert report.ok, str(report)


def orphans(folder: Path) -> tuple[str, ...]:
    """Files of a closed collection that do not belong to it."""
    return check(folder).orphans


def python(script: str, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """Starts a script that may import what tests may."""
    path = os.pathsep.join([str(TESTS), str(TESTS / "api")])
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": path, "NESTLING_THREADS": "1"},
        **options,
    )


TEXTS = {f"d{i}": f"apple bread{i} violet{i % 3}" for i in range(40)}
LEFT = {
    id: Model(text, "", {"n": int(id[1:]), "m": "x"})
    for id, text in TEXTS.items()
    if id not in ("d3", "d20", "d39")
}


def filled(path: Path) -> Path:
    """Creates a collection of `LEFT` in three segments and some pending rows, and closes it."""
    ids = list(TEXTS)
    with opened(path, fields=["n"]) as collection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "PENDING_ROWS", 10)
        patch.setattr(compaction, "FAN", 99)
        patch.setattr(collection, "_finish_ingest", lambda rows: None)  # it would merge them
        for start, end in ((0, 12), (12, 24), (24, 36), (36, 40)):
            some = ids[start:end]
            collection.add(
                [TEXTS[id] for id in some], some, [{"n": int(id[1:]), "m": "x"} for id in some]
            )
        collection.delete(sorted(TEXTS.keys() - LEFT.keys()))
        assert len(collection._store.view().segments) == 3
    return path


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "segments").glob("*.nest"))


def id_files(folder: Path) -> list[Path]:
    return sorted((folder / "segments").glob("*.ids"))


def word_files(folder: Path) -> list[Path]:
    return sorted((folder / "segments").glob("*.words"))


def flip(path: Path, place: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def execute(folder: Path, script: str) -> None:
    connection = sqlite3.connect(folder / DATABASE_FILE)
    connection.executescript(script)
    connection.close()
