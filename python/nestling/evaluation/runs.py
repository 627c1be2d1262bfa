"""Runs: the ranking of a system for every query, and their files in TREC's format.

A line of such a file is `query Q0 document rank score name`. trec_eval orders the documents of a
query by falling score, and equal scores by falling id; it ignores the ranks. A `Run` has the same
order, so that it has the same values everywhere. It lacks the documents that are not results of
their query (`Dataset.excluded`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling._util.value import Value, short_repr
from nestling.corpus import read_lines
from nestling.errors import ArgumentError, CorpusError, StorageError
from nestling.evaluation.datasets import Dataset

__all__ = ["Run", "read_run", "write_run"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Run(Value):
    """A ranking for every query of a dataset.

    Attributes:
        name: The name of the system.
        ranking: (m, depth) int64 positions of documents, best first; -1 for no document.
        scores: (m, depth) float32 scores of the same; -inf for no document.

    Example:
        >>> from nestling.evaluation import Dataset
        >>> dataset = Dataset.of("d", {"a": "x", "b": "y"}, {"q": "?"}, [("q", "b", 1)])
        >>> Run.of("other", [[0, 1]], [[0.9, 0.5]], dataset)
        Run('other', queries=1, depth=2)
    """

    name: str
    ranking: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __repr__(self) -> str:
        queries, depth = self.ranking.shape
        return f"Run({short_repr(self.name)}, queries={queries}, depth={depth})"

    @classmethod
    def of(
        cls,
        name: str,
        ids: ArrayLike,
        scores: ArrayLike,
        dataset: Dataset,
        *,
        depth: int | None = None,
    ) -> Run:
        """Makes a run from hits whose ids are positions of documents, in trec_eval's order.

        Documents that are not results of their query (`Dataset.excluded`) are dropped.

        Args:
            name: The name of the system.
            ids: (m, depth) positions of documents; -1 for no document.
            scores: (m, depth) floats.
            dataset: The dataset that the hits belong to.
            depth: Documents to keep per query; None for all.

        Raises:
            ArgumentError: The shapes do not fit the dataset, or an id is not a document's position.

        Example:
            >>> dataset = Dataset.of("d", {"a": "x", "b": "y"}, {"q": "?"}, [("q", "b", 1)])
            >>> Run.of("tied", [[0, 1]], [[0.5, 0.5]], dataset).ranking
            array([[1, 0]])
        """
        found = np.asarray(ids, np.int64)
        given = np.asarray(scores, np.float32)
        if found.shape != given.shape or found.ndim != 2 or len(found) != len(dataset.query_ids):
            raise ArgumentError(
                f"ids {found.shape} and scores {given.shape} for {len(dataset.query_ids)} queries"
            )
        if found.size and found.max() >= len(dataset.document_ids):
            raise ArgumentError(f"no document has the position {found.max()}")
        # One more element than there are documents: -1 indexes it.
        by_id = np.empty(len(dataset.document_ids) + 1, np.int64)
        by_id[_order(dataset.document_ids)] = np.arange(len(dataset.document_ids))
        by_id[-1] = -1
        none = (found < 0) | (found == dataset.excluded[:, None])
        given = np.where(none, np.float32(-np.inf), given)
        order = np.lexsort((-by_id[found], -given), axis=1)[:, :depth]
        return cls(
            name,
            np.take_along_axis(np.where(none, -1, found), order, axis=1),
            np.take_along_axis(given, order, axis=1),
        )


def write_run(run: Run, path: str | os.PathLike[str], dataset: Dataset) -> None:
    r"""Writes a run in TREC's format, with all digits of the scores, so that ties stay ties.

    Raises:
        CorpusError: An id contains white space, which the format cannot represent.
        StorageError: The system refused to write.

    Example:
        >>> from nestling.evaluation import Dataset
        >>> dataset = Dataset.of("d", {"a": "x", "b": "y"}, {"q": "?"}, [("q", "b", 1)])
        >>> write_run(Run.of("mine", [[1]], [[0.5]], dataset), "mine.trec", dataset)
        >>> Path("mine.trec").read_text()
        'q Q0 b 1 0.5 mine\n'
    """
    for name in (*dataset.query_ids, *dataset.document_ids):
        if len(name.split()) != 1 or name != name.strip():
            raise CorpusError(
                f"the id {name!r} contains white space, which TREC's format cannot represent"
            )
    tag = "".join(run.name.split()) or "nestling"
    try:
        with Path(path).open("w", encoding="utf-8", newline="\n") as stream:
            for query, row, scores in zip(dataset.query_ids, run.ranking, run.scores, strict=True):
                for rank, (position, score) in enumerate(zip(row, scores, strict=True), 1):
                    if position >= 0:
                        document = dataset.document_ids[position]
                        stream.write(f"{query} Q0 {document} {rank} {score!s} {tag}\n")
    except OSError as error:
        raise StorageError(f"{path}: cannot write: {error.strerror or error}") from error


def read_run(path: str | os.PathLike[str], dataset: Dataset) -> Run:
    """Reads a run in TREC's format.

    Queries of the dataset that the file does not answer get no documents; answers to queries that
    the dataset left out are ignored.

    Args:
        path: The file.
        dataset: The dataset that the file belongs to.

    Raises:
        CorpusError: A line is malformed, names an unknown id or repeats a document of its query, or
            the file is empty.

    Example:
        >>> from nestling.evaluation import Dataset
        >>> dataset = Dataset.of("d", {"a": "x", "b": "y"}, {"q": "?"}, [("q", "b", 1)])
        >>> with open("other.trec", "w") as file:
        ...     print("q Q0 b 1 0.5 other", file=file)
        >>> read_run("other.trec", dataset)
        Run('other', queries=1, depth=1)
    """
    queries = {query: position for position, query in enumerate(dataset.query_ids)}
    documents = {document: position for position, document in enumerate(dataset.document_ids)}
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
                        raise CorpusError(f"{where}: the document {document!r} occurs twice")
                    hits[documents[document]] = score
                elif query not in dataset.left_out:
                    raise CorpusError(f"{where}: no query has the id {query!r}")
    except OSError as error:
        raise CorpusError(f"{path}: cannot read: {error.strerror}") from error
    if name is None:
        raise CorpusError(
            f"{path}: the file is empty; expected 'query Q0 document rank score name'"
        )
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
        raise CorpusError(f"{where}: the score {score!r} is not a number") from None
    if not np.isfinite(value):
        raise CorpusError(f"{where}: the score {score!r} is not finite")
    return query, document, value, name


def _order(ids: tuple[str, ...]) -> list[int]:
    """Returns the positions of the ids, sorted by code point."""
    return sorted(range(len(ids)), key=ids.__getitem__)
