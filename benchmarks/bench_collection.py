"""Collections: adding, filtering, and dense, lexical and hybrid search."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nestling.bench.collection.texts import FIELDS, YEARS, lines_of, metadata_of
from nestling.bench.generate import generate
from nestling.collection import Collection

DIM = 256
DOCUMENTS = 20_000
QUESTIONS = 50


class Drawn:
    """An encoder without a model: texts get generated vectors in turn."""

    name = "drawn"
    dim = DIM

    def __init__(self) -> None:
        vectors, queries = generate(DOCUMENTS, DIM, queries=QUESTIONS)
        self._vectors = itertools.cycle(vectors)
        self._queries = itertools.cycle(queries)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack(list(itertools.islice(self._vectors, len(texts))))

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack(list(itertools.islice(self._queries, len(texts))))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(itertools.islice(lines_of(None, seed=0), DOCUMENTS))


@pytest.fixture(scope="module")
def collection(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    folder = tmp_path_factory.mktemp("bench") / "collection"
    with Collection(folder, Drawn(), fields=FIELDS, threads=1) as made:
        made.add(texts, metadata=map(metadata_of, range(DOCUMENTS)))
        yield made


def test_add(benchmark: Any, texts: list[str], tmp_path: Path) -> None:
    """Documents per second, from the text to the disk, without the encoder."""
    places = itertools.count()

    def empty() -> tuple[tuple[Collection], dict[str, Any]]:
        return (Collection(tmp_path / str(next(places)), Drawn(), fields=FIELDS, threads=1),), {}

    def add(made: Collection) -> Collection:
        made.add(texts, metadata=map(metadata_of, range(DOCUMENTS)))
        return made

    benchmark.group = "collection, add"
    made = benchmark.pedantic(add, setup=empty, rounds=3)
    benchmark.extra_info["documents/s"] = round(DOCUMENTS / benchmark.stats.stats.median)
    assert len(made) == len(set(zip(texts, (i % YEARS for i in range(DOCUMENTS)), strict=True)))


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_search(benchmark: Any, collection: Collection, texts: list[str], mode: Any) -> None:
    """One query after the other."""
    questions = itertools.cycle(texts[:QUESTIONS])
    benchmark.group = "collection, search"
    hits = benchmark(lambda: collection.search(next(questions), k=10, mode=mode))
    assert len(hits) == 10
    if mode == "lexical":
        assert collection.search(texts[7], k=1, mode=mode)[0].text == texts[7]


def test_filter(benchmark: Any, collection: Collection, texts: list[str]) -> None:
    """A filter of 1 %, whose rows are not cached."""
    turns = itertools.count()

    def search() -> Any:
        turn = next(turns)
        year = 1900 + turn % YEARS
        where = {"year": {"$gte": year, "$lt": year + 0.5 + turn * 1e-7}}
        return year, collection.search(texts[turn % QUESTIONS], k=10, where=where)

    benchmark.group = "collection, filter of 1 %"
    year, hits = benchmark(search)
    assert len(hits) == 10
    assert {hit.metadata["year"] for hit in hits} == {year}
