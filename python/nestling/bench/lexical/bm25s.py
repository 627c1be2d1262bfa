"""bm25s: scores of all documents, computed beforehand word by word, in memory."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.bench.lexical.engine import Configuration, Selected, WordEngine, folder_size
from nestling.bench.lexical.workload import Question, Tags
from nestling.collection.ingest.analysis import token

__all__ = ["configurations"]

_WORD: Final = r"(?u)\b\w+\b"


def configurations() -> list[Configuration]:
    """Returns the backend that is the fastest of those installed."""
    backend = "numpy" if importlib.util.find_spec("numba") is None else "numba"
    return [Configuration(backend, lambda folder: _Scores(folder, backend))]


class _Scores(WordEngine):
    def __init__(self, folder: Path, backend: str) -> None:
        import bm25s

        self._bm25s: Any = bm25s
        self._folder = folder
        self._index = bm25s.BM25(k1=1.2, b=0.75, method="lucene", backend=backend)
        self._masks: dict[str, NDArray[np.uint8]] = {}
        self._values: dict[Selected, NDArray[np.float32]] = {}
        self._count = 0

    def build(self, texts: Sequence[str], tags: Tags) -> None:
        self._index.index(self._tokens(texts), show_progress=False)
        self._masks = tags._asdict()
        self._count = len(texts)

    def search(self, question: Question, k: int, where: Selected | None) -> Sequence[int]:
        return self.search_all([question], k, where)[0]

    def search_all(
        self, questions: Sequence[Question], k: int, where: Selected | None
    ) -> list[Sequence[int]]:
        mask = None
        if where is not None:
            if where not in self._values:
                self._values[where] = (self._masks[where.tag] == where.value).astype(np.float32)
            mask = self._values[where]
        ids, scores = self._index.retrieve(
            self._tokens([question.words for question in questions]),
            k=min(k, self._count),
            show_progress=False,
            n_threads=1,
            weight_mask=mask,
        )
        found = zip(ids, scores, strict=True)
        return [row_ids[row_scores > 0].tolist() for row_ids, row_scores in found]

    def _tokens(self, texts: Sequence[str]) -> Any:
        return self._bm25s.tokenize(
            list(texts),
            token_pattern=_WORD,
            stopwords=[],
            stemmer=lambda terms: [token(term) for term in terms],
            show_progress=False,
        )

    def size(self) -> int:
        self._index.save(str(self._folder))
        return folder_size(self._folder)
