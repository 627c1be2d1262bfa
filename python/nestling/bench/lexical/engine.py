"""What the benchmark needs of an engine that searches for words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from nestling.bench.lexical.workload import Question, Tags

__all__ = ["Configuration", "Ids", "Selected", "WordEngine", "folder_size"]


Ids = Sequence[int] | Sequence[str]


class Selected(NamedTuple):
    """A filter: the documents with a value of a tag."""

    tag: Literal["hundredth", "half"]
    value: int


class WordEngine(ABC):
    """One index of one library, in a worker's process.

    `build` is called first, then the two kinds of search any number of times. The id of a document
    is its number, or the digits of it where a library's ids are strings.
    """

    @abstractmethod
    def build(self, texts: Sequence[str], tags: Tags) -> None:
        """Builds the index, until searches run at full speed."""

    @abstractmethod
    def search(self, question: Question, k: int, where: Selected | None) -> Ids:
        """Returns the ids of the k best documents, or fewer, best first."""

    def search_all(
        self, questions: Sequence[Question], k: int, where: Selected | None
    ) -> Sequence[Ids]:
        """Answers several questions, in one call where the library has one."""
        return [self.search(question, k, where) for question in questions]

    @abstractmethod
    def size(self) -> int:
        """Returns the bytes of the index of words; not timed."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """One way to index and search with a library.

    Attributes:
        name: What distinguishes it.
        open: Makes an empty engine with its files in a folder; imports the library.
    """

    name: str
    open: Callable[[Path], WordEngine]


def folder_size(folder: Path) -> int:
    """Returns the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
