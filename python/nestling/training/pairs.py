"""Pairs to train on: questions with answers, or texts with a score of how alike they are.

| source | what it holds |
|---|---|
| .jsonl | `{"query": "…", "positive": "…"}` per line; the other keys are optional |
| .jsonl, .tsv | scored pairs, as `nestling.evaluation.read_pairs` takes them |
| a folder | in the layout of BEIR: every question with each of its relevant documents |

Other keys of a line are `negative`, a text, or `negatives`, a list of texts, and `group`, a name of
what the positive belongs to. The groups of a folder are its documents' titles.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from nestling.corpus import read_documents, read_lines
from nestling.errors import CorpusError
from nestling.evaluation.datasets import read_dataset
from nestling.evaluation.similarity import Pair, read_pairs
from nestling.training.losses import Kind

__all__ = ["Example", "TrainingData", "read_training_data"]

_FORM: Final = "query and positive, both texts, and optionally negative or negatives"
_JSON_SUFFIXES: Final = (".jsonl", ".ndjson")
_MOST_HELD_OUT: Final = 1_000  # by default: enough for a standard error of 0.01
_HELD_OUT_SHARE: Final = 10  # one in so many


@dataclass(frozen=True, slots=True)
class Example:
    """A question and its answer.

    Attributes:
        query: The question.
        positive: A text that answers it.
        negatives: Texts that only seem to answer it.
        group: What the positive belongs to, such as an article; "" when unknown. Other texts of the
            group are harder negatives than the rest (`nestling.training.finetune.batches`).

    Example:
        >>> Example("what do whales do?", "whales sing in the sea").negatives
        ()
    """

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Either examples or scored pairs.

    Attributes:
        name: Of the file or folder.
        examples: Questions with answers; empty where there are pairs.
        pairs: Scored pairs; empty where there are examples.

    Example:
        >>> data = TrainingData("two", (Example("a", "A"), Example("b", "B")))
        >>> len(data), data.kind
        (2, 'ranking')
    """

    name: str
    examples: tuple[Example, ...] = ()
    pairs: tuple[Pair, ...] = ()

    def __len__(self) -> int:
        """The number of examples or pairs."""
        return len(self.examples) or len(self.pairs)

    @property
    def kind(self) -> Kind:
        """The kind of loss that they are for."""
        return "ranking" if self.examples else "scored"

    @property
    def negatives(self) -> int:
        """Hard negatives that every example has, so that each can contribute as many to a batch."""
        return min((len(example.negatives) for example in self.examples), default=0)

    def columns(self) -> dict[str, list[Any]]:
        """Returns one list per column, as a trainer reads them; the label is called `score`.

        Example:
            >>> TrainingData("one", (Example("a", "A"),)).columns()
            {'query': ['a'], 'positive': ['A']}
        """
        if not self.examples:
            return {
                "first": [pair.first for pair in self.pairs],
                "second": [pair.second for pair in self.pairs],
                "score": [pair.score for pair in self.pairs],
            }
        columns = {
            "query": [example.query for example in self.examples],
            "positive": [example.positive for example in self.examples],
        }
        for position in range(self.negatives):
            texts = [example.negatives[position] for example in self.examples]
            columns[f"negative_{position + 1}"] = texts
        return columns

    def digest(self) -> str:
        """Returns 16 hexadecimal digits that depend on the content and its order.

        Example:
            >>> len(TrainingData("one", (Example("a", "A"),)).digest())
            16
        """
        digest = hashlib.sha256()
        for example in self.examples:
            row = [example.group, example.query, example.positive, *example.negatives]
            digest.update(json.dumps(row).encode())
        for pair in self.pairs:
            digest.update(json.dumps([pair.first, pair.second, pair.score]).encode())
        return digest.hexdigest()[:16]

    def split(self, holdout: int | None, *, seed: int) -> tuple[TrainingData, TrainingData]:
        """Draws what is held out for evaluation; the order of the rest is kept.

        Examples that share a text must stay together, or the evaluation would use texts of the
        training. So all questions of a positive are held out together, or, where there are fewer
        different questions than positives, all positives of a question.

        Args:
            holdout: How many examples or pairs at least. Default: a tenth, at most 1,000.
            seed: Seed of the draw.

        Returns:
            What to train on, and what is held out.

        Raises:
            CorpusError: Nothing is left to train on.

        Example:
            >>> data = TrainingData("ten", tuple(Example(f"q{i}", f"p{i}") for i in range(10)))
            >>> train, held_out = data.split(2, seed=0)
            >>> len(train), len(held_out)
            (8, 2)
        """
        share = len(self) // _HELD_OUT_SHARE
        # A single one says nothing, and a single scored pair has no rank.
        default = min(_MOST_HELD_OUT, share) if share > 1 else 0
        requested = default if holdout is None else holdout
        keys = self._keys()
        different = list(dict.fromkeys(keys))
        sizes = dict.fromkeys(different, 0)
        for key in keys:
            sizes[key] += 1
        held_out: set[str] = set()
        count = 0
        for position in np.random.default_rng(seed).permutation(len(different)):
            if count >= requested:
                break
            held_out.add(different[position])
            count += sizes[different[position]]
        if count == len(self):
            raise CorpusError(
                f"{self.name}: {len(self):,} examples, of which {requested:,} would be held out "
                "with all that share their texts: nothing is left to train on"
            )
        return self._part(keys, held_out, inside=False), self._part(keys, held_out, inside=True)

    def check_batch(self, size: int) -> None:
        """Checks that there are enough texts for a batch.

        Raises:
            CorpusError: There are fewer than `size`.
        """
        texts = {example.positive for example in self.examples} if self.examples else self.pairs
        if len(texts) < size:
            what = "different positives" if self.examples else "pairs"
            raise CorpusError(
                f"{self.name}: {len(texts):,} {what} to train on, fewer than the {size} of a "
                "batch: add more, or choose a smaller batch size"
            )

    def _keys(self) -> list[str]:
        """Returns, for each example or pair, what must not be on both sides of a split."""
        if not self.examples:
            return [pair.first for pair in self.pairs]
        queries = [example.query for example in self.examples]
        positives = [example.positive for example in self.examples]
        return positives if len(set(positives)) <= len(set(queries)) else queries

    def _part(self, keys: list[str], held_out: set[str], *, inside: bool) -> TrainingData:
        chosen = [position for position, key in enumerate(keys) if (key in held_out) == inside]
        return TrainingData(
            self.name,
            tuple(self.examples[i] for i in chosen) if self.examples else (),
            tuple(self.pairs[i] for i in chosen) if self.pairs else (),
        )


def read_training_data(source: str | os.PathLike[str]) -> TrainingData:
    """Reads training data in one of the forms of the module's table.

    Raises:
        CorpusError: It is missing, empty or malformed; the message gives the line.

    Example:
        >>> line = json.dumps({"query": "what do whales do?", "positive": "whales sing"})
        >>> _ = Path("pairs.jsonl").write_text(line)
        >>> read_training_data("pairs.jsonl").examples[0].positive
        'whales sing'
    """
    path = Path(source)
    if path.is_dir():
        return _read_beir(path)
    if path.suffix.lower() not in _JSON_SUFFIXES or not _has_queries(path):
        return TrainingData(path.name, pairs=tuple(read_pairs(path)))
    examples = (_example(record, where) for record, where in _records(path))
    return TrainingData(path.name, examples=tuple(examples))


def _read_beir(folder: Path) -> TrainingData:
    dataset = read_dataset(folder)
    # A title that appears once, as in most collections, makes a group of one.
    titles = [document.title for document in read_documents(folder / "corpus.jsonl")]
    examples = (
        Example(dataset.queries[query], dataset.documents[document], group=titles[document])
        for query, document in dataset.judgements.pairs().tolist()
        if document < len(titles)  # those above are judged, but absent
    )
    return TrainingData(dataset.name, examples=tuple(examples))


def _records(path: Path) -> Iterator[tuple[object, str]]:
    """Yields the object of each line that is not blank, and the name of the line in errors."""
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(read_lines(stream, str(path)), 1):
                if not line.strip():
                    continue
                where = f"{path}, line {number}"
                try:
                    yield json.loads(line), where
                except (ValueError, RecursionError) as error:
                    raise CorpusError(f"{where}: not JSON: {error}") from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot read: {error.strerror}") from error


def _has_queries(path: Path) -> bool:
    """Returns whether a file holds questions with answers, judged by its first line."""
    first, _ = next(_records(path), (None, ""))
    if first is None:
        raise CorpusError(f"{path}: contains no pairs")
    return isinstance(first, Mapping) and ("query" in first or "positive" in first)


def _example(record: object, where: str) -> Example:
    if not isinstance(record, Mapping):
        raise CorpusError(f"{where}: expected an object with {_FORM}")
    texts = [record.get("query"), record.get("positive")]
    given = record.get("negatives", record.get("negative"))
    negatives = [given] if isinstance(given, str) else [] if given is None else given
    if not isinstance(negatives, list):
        raise CorpusError(f"{where}: negatives must be a list of texts, or one text")
    for text in (*texts, *negatives):
        if not isinstance(text, str) or not text.strip():
            raise CorpusError(f"{where}: expected {_FORM}, none of them empty")
    group = record.get("group")
    if group is not None and not isinstance(group, (str, int)):
        raise CorpusError(f"{where}: group must be a name or a number")
    query, positive = map(str, texts)
    if positive in negatives:
        raise CorpusError(f"{where}: the positive is among the negatives")
    return Example(query, positive, tuple(negatives), "" if group is None else str(group))
