"""Test collections: documents, queries, and which documents answer which queries.

A folder in the layout of BEIR (Thakur et al. 2021, "BEIR: A Heterogenous Benchmark for Zero-shot
Evaluation of Information Retrieval Models"):

| file | a line of it |
|---|---|
| corpus.jsonl | `{"_id": "d1", "title": "…", "text": "…"}`; the title may be absent |
| queries.jsonl | `{"_id": "q1", "text": "…"}` |
| qrels/test.tsv (dev, train …), or qrels.tsv | `q1`, `d1`, grade, between tabs, after a header |

The judgements may also have TREC's form, `q1 0 d1 2`, without a header.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nestling.corpus import Document, read_documents, read_lines
from nestling.errors import CorpusError
from nestling.evaluation.judgements import Judgements

__all__ = ["Dataset", "read_dataset"]

_FORM: Final = "query-id, corpus-id and score between tabs, or TREC's 'query 0 document grade'"

Judgement = tuple[str, str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A test collection. Only queries with a relevant document are kept.

    Attributes:
        name: Its name.
        document_ids: n unique ids.
        documents: n texts for the encoder, as in BEIR and MTEB: title, space, text.
        query_ids: m unique ids.
        queries: m texts.
        judgements: Judgements of the m queries and n documents, by position.
        left_out: Ids of the queries without a relevant document, or beyond a limit.

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

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, documents={len(self.documents)}, queries={len(self.queries)}, "
            f"judgements={len(self.judgements)})"
        )

    @classmethod
    def of(
        cls,
        name: str,
        documents: Mapping[str, str],
        queries: Mapping[str, str],
        judgements: Iterable[Judgement],
        *,
        limit: int | None = None,
    ) -> Dataset:
        """Makes a dataset of its parts.

        Args:
            name: Its name.
            documents: Texts by id.
            queries: Texts by id.
            judgements: Id of a query, id of a document, grade. A pair may be repeated with the
                same grade.
            limit: Number of queries to keep: the first that have a relevant document.

        Raises:
            CorpusError: A judgement names an unknown id or contradicts another, or no query has a
                relevant document.

        Example:
            >>> Dataset.of("two", {"a": "one", "b": "two"}, {"q": "2?"}, [("q", "b", 1)]).query_ids
            ('q',)
        """
        grades: dict[tuple[str, str], int] = {}
        for query, document, grade in judgements:
            if query not in queries:
                raise CorpusError(f"{name}: a judgement names the unknown query {query!r}")
            if document not in documents:
                raise CorpusError(f"{name}: a judgement names the unknown document {document!r}")
            if grades.setdefault((query, document), grade) != grade:
                raise CorpusError(f"{name}: query {query!r}, document {document!r}: two grades")
        answered = {query for (query, _), grade in grades.items() if grade > 0}
        kept = [query for query in queries if query in answered][:limit]
        if not kept:
            raise CorpusError(
                f"{name}: no query has a relevant document, so there is nothing to measure"
            )
        query_rows = {query: row for row, query in enumerate(kept)}
        document_rows = {document: row for row, document in enumerate(documents)}
        rows = [
            (query_rows[query], document_rows[document], grade)
            for (query, document), grade in grades.items()
            if query in query_rows
        ]
        table = np.array(rows, np.int64)
        return cls(
            name=name,
            document_ids=tuple(documents),
            documents=tuple(documents.values()),
            query_ids=tuple(kept),
            queries=tuple(queries[query] for query in kept),
            judgements=Judgements(*table.T, count=len(kept)),
            left_out=frozenset(queries.keys() - query_rows.keys()),
        )


def read_dataset(
    folder: str | os.PathLike[str], *, split: str | None = None, limit: int | None = None
) -> Dataset:
    r"""Reads a folder in the layout of BEIR.

    Args:
        folder: See the module's table.
        split: Name of the judgements: "test" reads qrels/test.tsv. Default: qrels.tsv, or
            qrels/test.tsv, or the only file in qrels.
        limit: Number of queries to keep: the first that have a relevant document.

    Raises:
        CorpusError: A file is missing, a line is malformed (the message gives its number), an id is
            repeated or unknown, or there is no judgement.

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
    judgements = _read_qrels(qrels, documents.keys(), queries.keys())
    return Dataset.of(name, documents, queries, judgements, limit=limit)


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


def _read_qrels(
    path: Path, documents: Iterable[str], queries: Iterable[str]
) -> Iterator[Judgement]:
    """Yields the judgements of a file; errors name the line."""
    known_documents, known_queries = set(documents), set(queries)
    empty = True
    for number, line in _lines(path):
        fields = line.split("\t") if "\t" in line else line.split()
        if number == 1 and _is_header(fields):
            continue
        where = f"{path}, line {number}"
        query, document, grade = _judgement(fields, where)
        if query not in known_queries:
            raise CorpusError(f"{where}: the query {query!r} is not in queries.jsonl")
        if document not in known_documents:
            raise CorpusError(f"{where}: the document {document!r} is not in corpus.jsonl")
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


def _is_header(fields: Sequence[str]) -> bool:
    """Returns whether a line is a header, whose words vary, rather than a judgement."""
    return len(fields) == 3 and not any(map(str.isdigit, fields[2]))


def _judgement(fields: Sequence[str], where: str) -> Judgement:
    if len(fields) not in (3, 4):
        raise CorpusError(f"{where}: {len(fields)} fields; expected {_FORM}")
    query, document, grade = fields[0].strip(), fields[-2].strip(), fields[-1].strip()
    if not _is_whole(grade):
        raise CorpusError(f"{where}: the grade {grade!r} is not a whole number; expected {_FORM}")
    return query, document, int(grade)


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
