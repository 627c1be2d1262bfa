"""Test collections: documents, queries, and which documents answer which queries.

A folder in the layout of BEIR (Thakur et al. 2021, "BEIR: A Heterogenous Benchmark for Zero-shot
Evaluation of Information Retrieval Models"):

| file | a line of it |
|---|---|
| corpus.jsonl | `{"_id": "d1", "title": "…", "text": "…"}`; the title may be absent |
| queries.jsonl | `{"_id": "q1", "text": "…"}` |
| qrels/test.tsv (dev, train …), or qrels.tsv | `q1`, `d1`, grade, between tabs, after a header |

The judgements may also have TREC's form, `q1 0 d1 2`, without a header.

What counts follows BEIR's `EvaluateRetrieval` and MTEB, so that values are equal to theirs:

* Every query with a judgement counts, with 0 where none of its documents is relevant. Others are
  left out.
* A relevant document that is absent from the corpus counts as one that was not found.
* A document with the id of the query is not a result of it: in ArguAna and Quora, queries are
  documents themselves. MTEB decides that for each task (`ignore_identical_ids`).
* Of several judgements of a pair the last one counts.
"""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.value import Value, short_repr
from nestling.corpus import Document, read_documents, read_lines
from nestling.errors import CorpusError, CorpusWarning
from nestling.evaluation.judgements import Judgements

__all__ = ["Dataset", "read_dataset"]

_FORM: Final = "query-id, corpus-id and score between tabs, or TREC's 'query 0 document grade'"

_MOST: Final = 2**31  # of a grade, up or down

Judgement = tuple[str, str, int]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Dataset(Value):
    """A test collection. Only judged queries are kept.

    Attributes:
        name: Its name.
        document_ids: n unique ids.
        documents: n texts for the encoder, as in BEIR and MTEB: title, space, text.
        query_ids: m unique ids.
        queries: m texts.
        judgements: Judgements of the m queries, by position. Positions of n and above are those of
            judged documents that are absent.
        left_out: Ids of the queries without a judgement, or beyond a limit.
        missing: Ids of the judged documents that are absent.
        ignore_identical_ids: Whether a document is not a result of the query that has its id.
        remarks: What does not fit in the data, and what is done about it.

    Example:
        >>> Dataset.of("two", {"a": "one", "b": "two"}, {"q": "2?", "p": "3?"}, [("q", "b", 1)])
        Dataset('two', documents=2, queries=1, judgements=1)
    """

    name: str
    document_ids: tuple[str, ...]
    documents: tuple[str, ...]
    query_ids: tuple[str, ...]
    queries: tuple[str, ...]
    judgements: Judgements
    left_out: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    ignore_identical_ids: bool = True
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"Dataset({short_repr(self.name)}, documents={len(self.documents)}, "
            f"queries={len(self.queries)}, judgements={len(self.judgements)})"
        )

    @property
    def excluded(self) -> NDArray[np.int64]:
        """(m,) position of the document that is not a result of a query, or -1 for none.

        Example:
            >>> Dataset.of("one", {"a": "x", "b": "y"}, {"b": "y"}, [("b", "a", 1)]).excluded
            array([1])
        """
        rows: dict[str, int] = {}
        if self.ignore_identical_ids:
            rows = {document: row for row, document in enumerate(self.document_ids)}
        return np.array([rows.get(query, -1) for query in self.query_ids], np.int64)

    @classmethod
    def of(
        cls,
        name: str,
        documents: Mapping[str, str],
        queries: Mapping[str, str],
        judgements: Iterable[Judgement],
        *,
        limit: int | None = None,
        ignore_identical_ids: bool = True,
    ) -> Dataset:
        """Makes a dataset of its parts.

        Args:
            name: Its name.
            documents: Texts by id.
            queries: Texts by id.
            judgements: Id of a query, id of a document, grade.
            limit: Number of queries to keep: the first that are judged.
            ignore_identical_ids: Whether a document is not a result of the query that has its id,
                as in BEIR. Give False where equal ids mean nothing, such as numbers of both.

        Raises:
            CorpusError: A judgement names an unknown query, or no query has a relevant document.

        Warns:
            CorpusWarning: Judged documents are absent, or have the id of their query, or a pair
                has two grades.

        Example:
            >>> Dataset.of("two", {"a": "one", "b": "two"}, {"q": "2?"}, [("q", "b", 1)]).query_ids
            ('q',)
        """
        grades: dict[tuple[str, str], int] = {}
        contradicted = 0
        for query, document, grade in judgements:
            if query not in queries:
                raise CorpusError(f"{name}: a judgement names the unknown query {query!r}")
            contradicted += grades.get((query, document), grade) != grade
            grades[query, document] = grade
        judged = {query for query, _ in grades}
        kept = [query for query in queries if query in judged][:limit]
        query_rows = {query: row for row, query in enumerate(kept)}
        rows = {document: row for row, document in enumerate(documents)}
        table = np.array(
            [
                (query_rows[query], rows.setdefault(document, len(rows)), grade)
                for (query, document), grade in grades.items()
                if query in query_rows
            ],
            np.int64,
        ).reshape(-1, 3)
        if not (table[:, 2] > 0).any():
            raise CorpusError(
                f"{name}: no query has a relevant document, so there is nothing to measure"
            )
        found = cls(
            name=name,
            document_ids=tuple(documents),
            documents=tuple(documents.values()),
            query_ids=tuple(kept),
            queries=tuple(queries[query] for query in kept),
            judgements=Judgements(*table.T, count=len(kept)),
            left_out=frozenset(queries.keys() - query_rows.keys()),
            missing=frozenset(rows.keys() - documents.keys()),
            ignore_identical_ids=ignore_identical_ids,
        )
        found = replace(found, remarks=tuple(_remarks(found, contradicted)))
        for remark in found.remarks:
            warnings.warn(f"{name}: {remark}", CorpusWarning, stacklevel=2)
        return found


def _remarks(dataset: Dataset, contradicted: int) -> Iterator[str]:
    """Yields what a reader of the results should know about the judgements."""
    if dataset.missing:
        yield (
            f"{len(dataset.missing):,} judged documents are not in the corpus, such as "
            f"{min(dataset.missing)!r}; they count as not found"
        )
    if contradicted:
        yield f"{contradicted:,} judgements contradict an earlier one of their pair, and replace it"
    excluded = dataset.excluded
    own = np.where(excluded < 0, len(dataset.document_ids) + len(dataset.missing), excluded)
    if count := int((dataset.judgements.grades_of(own[:, None]) > 0).sum()):
        yield (
            f"{count:,} queries have the document of their own id as a relevant one, which is not "
            "counted as a result, as in BEIR; give ignore_identical_ids=False if equal ids mean "
            "nothing"
        )


def read_dataset(
    folder: str | os.PathLike[str],
    *,
    split: str | None = None,
    limit: int | None = None,
    ignore_identical_ids: bool = True,
) -> Dataset:
    r"""Reads a folder in the layout of BEIR.

    Args:
        folder: See the module's table.
        split: Name of the judgements: "test" reads qrels/test.tsv. Default: qrels.tsv, or
            qrels/test.tsv, or the only file in qrels.
        limit: As for `Dataset.of`.
        ignore_identical_ids: As for `Dataset.of`.

    Raises:
        CorpusError: A file is missing, a line is malformed (the message gives its number), an id is
            repeated, a query is unknown, or there is no judgement.

    Warns:
        CorpusWarning: As for `Dataset.of`.

    Example:
        >>> from pathlib import Path
        >>> Path("tiny").mkdir()
        >>> _ = Path("tiny/corpus.jsonl").write_text('{"_id": "d1", "text": "one"}')
        >>> _ = Path("tiny/queries.jsonl").write_text('{"_id": "q1", "text": "1?"}')
        >>> _ = Path("tiny/qrels.tsv").write_text("q1\td1\t1")
        >>> read_dataset("tiny")
        Dataset('tiny', documents=1, queries=1, judgements=1)
    """
    root = Path(folder)
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder")
    qrels = _find_qrels(root, split)
    documents = _by_id(root / "corpus.jsonl")
    queries = _by_id(root / "queries.jsonl")
    name = root.resolve().name
    judgements = _read_qrels(qrels, queries)
    return Dataset.of(
        name,
        documents,
        queries,
        judgements,
        limit=limit,
        ignore_identical_ids=ignore_identical_ids,
    )


def _find_qrels(root: Path, split: str | None) -> Path:
    if split is not None:
        path = root / "qrels" / f"{split}.tsv"
        if not path.is_file():
            raise CorpusError(f"{path}: no such file: the dataset has no split {split!r}")
        return path
    for path in (root / "qrels.tsv", root / "qrels" / "test.tsv"):
        if path.is_file():
            return path
    found = sorted((root / "qrels").glob("*.tsv"))
    if len(found) != 1:
        splits = ", ".join(path.stem for path in found) or "none"
        raise CorpusError(
            f"{root}: no qrels.tsv and no qrels/test.tsv; choose one of the splits: {splits}"
        )
    return found[0]


def _by_id(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for document in read_documents(path):
        if document.id is None:
            raise CorpusError(f"{path}: record {len(texts) + 1} has no _id")
        if document.id in texts:
            raise CorpusError(f"{path}: the id {document.id!r} occurs twice")
        texts[document.id] = _passage(document)
    return texts


def _passage(document: Document) -> str:
    return f"{document.title} {document.text}".strip()


def _read_qrels(path: Path, queries: Container[str]) -> Iterator[Judgement]:
    """Yields the judgements of a file; errors name the line."""
    empty = first = True
    for number, line in _lines(path):
        fields = _split(line)
        is_header, first = first and _is_header(fields), False
        if is_header:
            continue
        where = f"{path}, line {number}"
        query, document, grade = _judgement(fields, where)
        if query not in queries:
            raise CorpusError(f"{where}: the query {query!r} is not in queries.jsonl")
        empty = False
        yield query, document, grade
    if empty:
        raise CorpusError(f"{path}: the file has no judgements")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(read_lines(stream, str(path)), 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise CorpusError(f"{path}: cannot read: {error.strerror}") from error


def _split(line: str) -> list[str]:
    """Returns the fields of a line: between tabs, where they may be quoted, else between spaces."""
    if "\t" not in line:
        return line.split()
    return [field.strip() for field in next(csv.reader([line.strip()], delimiter="\t"))]


def _is_header(fields: Sequence[str]) -> bool:
    """Returns whether the first line is a header, whose words vary, rather than a judgement."""
    return len(fields) in (3, 4) and not any(map(str.isdigit, fields[-1]))


def _judgement(fields: Sequence[str], where: str) -> Judgement:
    if len(fields) not in (3, 4):
        raise CorpusError(f"{where}: {len(fields)} fields; expected {_FORM}")
    grade = _whole(fields[-1])
    if grade is None:
        raise CorpusError(
            f"{where}: the grade {fields[-1]!r} is not a whole number; expected {_FORM}"
        )
    return fields[0], fields[-2], grade


def _whole(text: str) -> int | None:
    """Returns a grade, which programs that read it as a float write as 1.0; None for others."""
    try:
        grade = float(text)
    except ValueError:
        return None
    return int(grade) if grade.is_integer() and abs(grade) <= _MOST else None
