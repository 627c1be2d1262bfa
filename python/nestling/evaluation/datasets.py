"""Test collections: documents, questions, and which documents answer which questions.

A folder in the layout of BEIR (Thakur et al. 2021):

| file | a line of it |
|---|---|
| corpus.jsonl | `{"_id": "d1", "title": "…", "text": "…"}`; the title may be absent |
| queries.jsonl | `{"_id": "q1", "text": "…"}` |
| qrels/test.tsv (dev, train …), or qrels.tsv | `q1`, `d1`, grade, between tabs, after a header |

The judgements may also be those of TREC, `q1 0 d1 2`, without a header.
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
    """A test collection. Only questions with a relevant document are kept.

    Attributes:
        name: What it is called.
        document_ids: (n,) ids, each once.
        documents: (n,) what an encoder reads, as BEIR and MTEB have it: title, space, text.
        query_ids: (m,) ids, each once.
        queries: (m,) texts.
        judgements: Of the m questions and n documents, by their places.
        left_out: Ids of the questions without a relevant document, or beyond a limit.
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
        """Joins the parts of a collection.

        Args:
            name: What it is called.
            documents: Texts by id.
            queries: Texts by id.
            judgements: Id of a question, id of a document, grade. A pair may be repeated with the
                same grade.
            limit: Keep only the first so many questions that have a relevant document.

        Raises:
            CorpusError: A judgement names an unknown id or contradicts another, or no question has
                a relevant document.

        Example:
            >>> Dataset.of("two", {"a": "one", "b": "two"}, {"q": "2?"}, [("q", "b", 1)]).query_ids
            ('q',)
        """
        grades: dict[tuple[str, str], int] = {}
        for query, document, grade in judgements:
            if query not in queries:
                raise CorpusError(f"{name}: a judgement of the unknown query {query!r}")
            if document not in documents:
                raise CorpusError(f"{name}: a judgement of the unknown document {document!r}")
            if grades.setdefault((query, document), grade) != grade:
                raise CorpusError(f"{name}: query {query!r}, document {document!r}: two grades")
        answered = {query for (query, _), grade in grades.items() if grade > 0}
        kept = [query for query in queries if query in answered][:limit]
        if not kept:
            raise CorpusError(f"{name}: no question has a relevant document: nothing to measure")
        asked = {query: place for place, query in enumerate(kept)}
        places = {document: place for place, document in enumerate(documents)}
        rows = [(asked[q], places[d], g) for (q, d), g in grades.items() if q in asked]
        table = np.array(rows, np.int64)
        return cls(
            name=name,
            document_ids=tuple(documents),
            documents=tuple(documents.values()),
            query_ids=tuple(kept),
            queries=tuple(queries[query] for query in kept),
            judgements=Judgements(*table.T, count=len(kept)),
            left_out=frozenset(queries.keys() - asked.keys()),
        )


def read_dataset(
    folder: str | os.PathLike[str], *, split: str | None = None, limit: int | None = None
) -> Dataset:
    """Reads a folder in the layout of BEIR.

    Args:
        folder: See the module's table.
        split: Which judgements: "test" reads qrels/test.tsv. Default: qrels.tsv, else
            qrels/test.tsv, else the only file in qrels.
        limit: Keep only the first so many questions that have a relevant document.

    Raises:
        CorpusError: A file is missing, a line is malformed (the message gives its number), an id is
            repeated or unknown, or there is no judgement.

    Example:
        >>> read_dataset("cranfield").judgements.relevant.mean()  # doctest: +SKIP
        8.16
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
            raise CorpusError(f"{path}: no such file: the collection has no split {split!r}")
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
            raise CorpusError(f"{path}: the id {document.id!r} comes twice")
        texts[document.id] = _passage(document)
    return texts


def _passage(document: Document) -> str:
    return f"{document.title} {document.text}".strip()


def _read_qrels(
    path: Path, documents: Iterable[str], queries: Iterable[str]
) -> Iterator[Judgement]:
    """Yields the judgements of a file; its errors tell the line."""
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
        raise CorpusError(f"{path}: no judgements in it")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(read_lines(stream, str(path)), 1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise CorpusError(f"{path}: cannot read: {error.strerror}") from error


def _is_header(fields: Sequence[str]) -> bool:
    """Tells a header, which some collections write in other words, from a judgement."""
    return len(fields) == 3 and not any(map(str.isdigit, fields[2]))


def _judgement(fields: Sequence[str], where: str) -> Judgement:
    if len(fields) not in (3, 4):
        raise CorpusError(f"{where}: {len(fields)} fields; expected {_FORM}")
    query, document, grade = fields[0].strip(), fields[-2].strip(), fields[-1].strip()
    if not _is_whole(grade):
        raise CorpusError(f"{where}: the grade {grade!r} is no whole number; expected {_FORM}")
    return query, document, int(grade)


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
