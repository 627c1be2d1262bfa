"""nestling: a collection's lexical mode, through its public methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from nestling.bench.lexical.engine import Configuration, Selected, WordEngine
from nestling.bench.lexical.workload import Question, Tags
from nestling.collection import Collection

__all__ = ["configurations"]

_DIM: Final = 8  # of vectors that no search here reads


def configurations() -> list[Configuration]:
    """Returns the only configuration; a build stores texts, metadata and small vectors too."""
    return [Configuration("collection", _Collection)]


class _Collection(WordEngine):
    def __init__(self, folder: Path) -> None:
        self._collection = Collection(
            folder / "collection", dim=_DIM, fields=Tags._fields, passages=None, threads=1
        )

    def build(self, texts: Sequence[str], tags: Tags) -> None:
        self._collection.add(_records(texts, tags), progress=False)

    def search(self, question: Question, k: int, where: Selected | None) -> list[str]:
        found: Any = self._collection.search(question.text, k, _filter(where), **_OPTIONS)
        ids: list[str] = found.ids
        return ids

    def search_all(
        self, questions: Sequence[Question], k: int, where: Selected | None
    ) -> list[list[str]]:
        texts = [question.text for question in questions]
        found: Any = self._collection.search(texts, k, _filter(where), **_OPTIONS)
        return [hits.ids for hits in found]

    def size(self) -> int:
        self._collection.search("any", 1, **_OPTIONS)  # indexes the words of rows in no segment yet
        return self._collection.info().memory["words"]


_OPTIONS: Final[dict[str, Any]] = {"mode": "lexical", "include": ()}


def _filter(where: Selected | None) -> dict[str, Any] | None:
    return None if where is None else {where.tag: where.value}


def _records(texts: Sequence[str], tags: Tags) -> Iterator[dict[str, Any]]:
    vectors = np.random.default_rng(0).standard_normal((1_000, 1, _DIM), np.float32)
    for number, (text, *values) in enumerate(
        zip(texts, *(tag.tolist() for tag in tags), strict=True)
    ):
        yield {
            "id": str(number),
            "text": text,
            "metadata": dict(zip(Tags._fields, values, strict=True)),
            "vectors": vectors[number % len(vectors)],
        }
