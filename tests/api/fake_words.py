"""An adapter for the tests of the benchmark of words: a scan of all texts, and ways to fail."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence

from nestling.bench.lexical.engine import Configuration, Selected, WordEngine
from nestling.bench.lexical.workload import Question, Tags


def configurations() -> list[Configuration]:
    """One that answers, one that crashes in its build, and one that raises in a search."""
    return [
        Configuration("scan", lambda _: _Scan()),
        Configuration("crashes", lambda _: _Scan(at_build=_crash)),
        Configuration("raises", lambda _: _Scan(at_search=_refuse)),
    ]


class _Scan(WordEngine):
    """Finds the first documents that hold all of a question's words."""

    def __init__(
        self,
        at_build: Callable[[], None] = lambda: None,
        at_search: Callable[[], None] = lambda: None,
    ) -> None:
        self._at_build = at_build
        self._at_search = at_search

    def build(self, texts: Sequence[str], tags: Tags) -> None:
        self._at_build()
        self._words = [set(text.lower().split()) for text in texts]
        self._tags = tags._asdict()

    def search(self, question: Question, k: int, where: Selected | None) -> Sequence[int]:
        self._at_search()
        words = set(question.text.lower().split())
        found = [number for number, held in enumerate(self._words) if words <= held]
        if where is not None:
            found = [number for number in found if self._tags[where.tag][number] == where.value]
        return found[:k]

    def size(self) -> int:
        return 7 * len(self._words)


def _crash() -> None:
    print("a last word", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def _refuse() -> None:
    raise RuntimeError("no such word")
