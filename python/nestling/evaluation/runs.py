"""Runs: what a system found for every question, and TREC's files of it.

A line of such a file is `query Q0 document rank score name`. trec_eval orders the documents of a
question by falling score, and equal scores by falling id; it does not look at the ranks. A `Run`
has that order too, so that it is measured alike wherever it goes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling.corpus import read_lines
from nestling.errors import ArgumentError, CorpusError, StorageError
from nestling.evaluation.datasets import Dataset

__all__ = ["Run", "read_run", "write_run"]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A ranking for every question of a dataset.

    Attributes:
        name: Of the system.
        ranking: (m, depth) int64, places of documents, best first; -1 where there are no more.
        scores: (m, depth) float32, of the same; -inf where there are no more.
    """

    name: str
    ranking: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __repr__(self) -> str:
        queries, depth = self.ranking.shape
        return f"Run({self.name!r}, queries={queries}, depth={depth})"

    @classmethod
    def of(cls, name: str, ids: ArrayLike, scores: ArrayLike, dataset: Dataset) -> Run:
        """Makes a run of hits, whose ids are places of documents, in trec_eval's order.

        Args:
            name: Of the system.
            ids: (m, depth) places of documents; -1 for none.
            scores: (m, depth) floats.
            dataset: What was asked.

        Raises:
            ArgumentError: The shapes do not fit the dataset, or an id is no place of a document.

        Example:
            >>> dataset = Dataset.of("d", {"a": "x", "b": "y"}, {"q": "?"}, [("q", "b", 1)])
            >>> Run.of("tied", [[0, 1]], [[0.5, 0.5]], dataset).ranking
            array([[1, 0]])
        """
        found = np.asarray(ids, np.int64)
        given = np.asarray(scores, np.float32)
        if found.shape != given.shape or found.ndim != 2 or len(found) != len(dataset.query_ids):
            raise ArgumentError(
                f"ids {found.shape} and scores {given.shape} for {len(dataset.query_ids)} questions"
            )
        if found.size and found.max() >= len(dataset.document_ids):
            raise ArgumentError(f"no document has the place {found.max()}")
        # One more than the documents have: the place that -1 finds.
        by_id = np.empty(len(dataset.document_ids) + 1, np.int64)
        by_id[_order(dataset.document_ids)] = np.arange(len(dataset.document_ids))
        by_id[-1] = -1
        none = found < 0
        given = np.where(none, np.float32(-np.inf), given)
        order = np.lexsort((-by_id[found], -given), axis=1)
        return cls(
            name,
            np.take_along_axis(np.where(none, -1, found), order, axis=1),
            np.take_along_axis(given, order, axis=1),
        )


def write_run(run: Run, path: str | os.PathLike[str], dataset: Dataset) -> None:
    """Writes a run in TREC's format; scores with all their digits, so that ties stay ties.

    Raises:
        CorpusError: An id has white space in it, which the format cannot hold.
        StorageError: The system refused to write.

    Example:
        >>> write_run(run, "nestling.trec", dataset)  # doctest: +SKIP
    """
    for name in (*dataset.query_ids, *dataset.document_ids):
        if len(name.split()) != 1 or name != name.strip():
            raise CorpusError(f"the id {name!r} has white space: TREC's format cannot hold it")
    tag = "".join(run.name.split()) or "nestling"
    try:
        with Path(path).open("w", encoding="utf-8", newline="\n") as stream:
            for query, row, scores in zip(dataset.query_ids, run.ranking, run.scores, strict=True):
                for rank, (place, score) in enumerate(zip(row, scores, strict=True), 1):
                    if place >= 0:
                        document = dataset.document_ids[place]
                        stream.write(f"{query} Q0 {document} {rank} {score!s} {tag}\n")
    except OSError as error:
        raise StorageError(f"{path}: cannot write: {error.strerror or error}") from error


def read_run(path: str | os.PathLike[str], dataset: Dataset) -> Run:
    """Reads a run in TREC's format.

    Questions of the dataset that the file does not answer have no documents; answers to questions
    that the dataset left out are passed over.

    Args:
        path: The file.
        dataset: What was asked.

    Raises:
        CorpusError: A line is malformed, names an unknown id or repeats a document of its question,
            or there is no line.
    """
    queries = {query: place for place, query in enumerate(dataset.query_ids)}
    documents = {document: place for place, document in enumerate(dataset.document_ids)}
    found: list[dict[int, float]] = [{} for _ in queries]
    name = None
    try:
        with Path(path).open("rb") as stream:
            for number, line in enumerate(read_lines(stream, str(path)), 1):
                fields = line.split()
                if not fields:
                    continue
                where = f"{path}, line {number}"
                query, document, score, name = _fields(fields, where)
                if document not in documents:
                    raise CorpusError(f"{where}: no document has the id {document!r}")
                if query in queries:
                    hits = found[queries[query]]
                    if documents[document] in hits:
                        raise CorpusError(f"{where}: the document {document!r} comes twice")
                    hits[documents[document]] = score
                elif query not in dataset.left_out:
                    raise CorpusError(f"{where}: no query has the id {query!r}")
    except OSError as error:
        raise CorpusError(f"{path}: cannot read: {error.strerror}") from error
    if name is None:
        raise CorpusError(f"{path}: no lines in it; expected 'query Q0 document rank score name'")
    depth = max(map(len, found))
    ids = np.full((len(found), depth), -1, np.int64)
    scores = np.full((len(found), depth), -np.inf, np.float32)
    for row, hits in enumerate(found):
        ids[row, : len(hits)] = list(hits)
        scores[row, : len(hits)] = list(hits.values())
    return Run.of(name, ids, scores, dataset)


def _fields(fields: list[str], where: str) -> tuple[str, str, float, str]:
    if len(fields) != 6:
        raise CorpusError(
            f"{where}: {len(fields)} fields; expected 'query Q0 document rank score name'"
        )
    query, _, document, _, score, name = fields
    try:
        value = float(score)
    except ValueError:
        raise CorpusError(f"{where}: the score {score!r} is no number") from None
    if not np.isfinite(value):
        raise CorpusError(f"{where}: the score {score!r} is not finite")
    return query, document, value, name


def _order(ids: tuple[str, ...]) -> list[int]:
    """Returns the places of the ids from the lowest id on, by code point."""
    return sorted(range(len(ids)), key=ids.__getitem__)
