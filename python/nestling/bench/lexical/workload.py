"""Documents and questions for the benchmark, resampled from the sentences of real texts.

A document is a run of words from each of two sentences of one text, so a small corpus gives any
number of documents. Words are as frequent as in the texts, and those of a document belong together.
Two things differ from a real corpus of that size: words that the texts do not have never come, so
that the rarest words are in more documents than they would be, and documents overlap in runs of
words. Every engine meets both alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nestling.bench.rows import read_texts
from nestling.collection.ingest.analysis import query_parts, words
from nestling.corpus.stdlib_docs import read_stdlib_docs
from nestling.errors import CorpusError

__all__ = ["LONG", "SHORT", "Question", "Tags", "Workload", "make_workload"]

SHORT: Final = "short"
LONG: Final = "long"

_RUN: Final = (4, 16)  # the fewest and the most words of a run
_MIN_WORDS: Final = 4  # of a sentence
_SHORT_WORDS: Final = 3
_LONG_WORDS: Final = 12
_TRIES: Final = 100  # of a question without distinctive words
_END: Final = re.compile(r"(?<=[.!?؟।。])\s+|\n{2,}")

Sentence = list[str]


class Question(NamedTuple):
    """A question.

    Attributes:
        text: As a user asks it.
        words: The words that every engine searches for, between spaces.
        every_word: All of its words, function words included.
    """

    text: str
    words: str
    every_word: str

    @classmethod
    def of(cls, text: str) -> Question | None:
        """Returns the question of a text; None if it has no words.

        Example:
            >>> Question.of("What is the capital of Egypt?")
            Question(text=..., words='capital egypt', every_word='what is the capital of egypt')
        """
        found = " ".join(term for part in query_parts(text) for term in part)
        every_word = " ".join(word.term for word in words(text))
        return cls(text, found, every_word) if found else None


class Tags(NamedTuple):
    """What filters select documents by.

    Attributes:
        hundredth: (n,) uint8, 0 to 99, drawn at random.
        half: (n,) uint8, 0 or 1, drawn at random.
    """

    hundredth: NDArray[np.uint8]
    half: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Workload:
    """Documents in files, and questions.

    Attributes:
        documents: A file with one document a line.
        tags: A .npy file of their tags: (2, n) uint8, hundredths and halves.
        questions: By kind, "short" and "long".
        words: Words of a document, on average.
        origin: Where the texts come from, in words.
    """

    documents: str
    tags: str
    questions: dict[str, tuple[Question, ...]]
    words: float
    origin: str

    def read(self, count: int) -> tuple[list[str], Tags]:
        """Reads the first `count` documents."""
        with Path(self.documents).open(encoding="utf-8", newline="\n") as stream:
            texts = [line[:-1] for line, _ in zip(stream, range(count), strict=False)]
        return texts, Tags(*np.load(self.tags)[:, :count])


def make_workload(
    folder: Path,
    count: int,
    *,
    texts: Path | None,
    questions: Path | None,
    question_count: int,
    seed: int,
) -> Workload:
    """Writes `count` documents into files, and chooses questions.

    Args:
        folder: An empty folder.
        count: Documents to write. The first ones of a larger number are the same.
        texts: A corpus; None for the documentation of Python's standard library.
        questions: The long questions: the lines of a .txt file, or the texts of a corpus. Without
            it they are runs of 12 words. Short questions are always runs of 3 words.
        question_count: Questions of each kind.
        seed: Seed of everything that is drawn.

    Raises:
        CorpusError: A file cannot be read, or has no sentence or no question.
    """
    passages = [document.text for document in read_stdlib_docs()] if texts is None else None
    name = "the documentation of Python's standard library" if texts is None else str(texts)
    groups = _sentences(read_texts(texts) if texts is not None else passages or [])
    if not groups:
        raise CorpusError(f"{name}: there is no sentence of {_MIN_WORDS} words or more")
    documents_seed, tags_seed, short_seed, long_seed = np.random.SeedSequence(seed).spawn(4)
    file = folder / "documents.txt"
    total = 0
    with file.open("w", encoding="utf-8", newline="\n") as stream:
        for drawn in _documents(groups, count, np.random.default_rng(documents_seed)):
            total += len(drawn)
            stream.write(f"{' '.join(drawn)}\n")
    tags = folder / "tags.npy"
    rng = np.random.default_rng(tags_seed)
    # Drawn document by document, so that the first ones do not depend on their number.
    drawn_tags = rng.integers(0, (100, 2), (count, 2), np.uint8)
    np.save(tags, np.ascontiguousarray(drawn_tags.T))
    short = _runs(groups, _SHORT_WORDS, question_count, np.random.default_rng(short_seed))
    long_rng = np.random.default_rng(long_seed)
    if questions is None:
        long = _runs(groups, _LONG_WORDS, question_count, long_rng)
    else:
        long = _chosen(questions, question_count, long_rng)
    origin = f"resampled from {sum(map(len, groups)):,} sentences of {name}"
    return Workload(str(file), str(tags), {SHORT: short, LONG: long}, total / count, origin)


def _sentences(texts: Sequence[str]) -> list[list[Sentence]]:
    """Returns the sentences of each text that has any, as words between spaces."""
    found = (
        [words for sentence in _END.split(text) if len(words := sentence.split()) >= _MIN_WORDS]
        for text in texts
    )
    return [sentences for sentences in found if sentences]


def _documents(
    groups: Sequence[Sequence[Sentence]], count: int, rng: np.random.Generator
) -> Iterator[Sentence]:
    block = 10_000
    for start in range(0, count, block):
        chosen = rng.integers(0, len(groups), block)
        lengths = rng.integers(*_RUN, (block, 2), endpoint=True)
        places = rng.random((block, 4))
        for group, run_lengths, place in zip(
            chosen[: count - start].tolist(), lengths.tolist(), places.tolist(), strict=False
        ):
            sentences = groups[group]
            document: Sentence = []
            for length, which, where in zip(run_lengths, place[:2], place[2:], strict=True):
                sentence = sentences[int(which * len(sentences))]
                first = int(where * (max(len(sentence) - length, 0) + 1))
                document += sentence[first : first + length]
            yield document


def _runs(
    groups: Sequence[Sequence[Sentence]], length: int, count: int, rng: np.random.Generator
) -> tuple[Question, ...]:
    """Returns questions that are runs of words, of which at most half are function words."""
    found: list[Question] = []
    for _ in range(_TRIES * count):
        sentences = groups[int(rng.integers(len(groups)))]
        sentence = sentences[int(rng.integers(len(sentences)))]
        first = int(rng.integers(max(len(sentence) - length, 0) + 1))
        question = Question.of(" ".join(sentence[first : first + length]))
        if question is not None and 2 * len(question.words.split()) >= length:
            found.append(question)
            if len(found) == count:
                break
    return tuple(found)


def _chosen(path: Path, count: int, rng: np.random.Generator) -> tuple[Question, ...]:
    every = read_texts(path)
    order = rng.permutation(len(every))[:count].tolist()
    found = tuple(q for i in order if (q := Question.of(every[i])) is not None)
    if not found:
        raise CorpusError(f"{path}: there is no question")
    return found
