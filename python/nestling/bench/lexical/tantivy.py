"""tantivy, by its Python package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from nestling.bench.lexical.engine import Configuration, Selected, WordEngine, folder_size
from nestling.bench.lexical.workload import Question, Tags

__all__ = ["configurations"]

_MEMORY: Final = 512_000_000  # bytes of the writer's buffer
_ANALYZER: Final = "english"


def configurations() -> list[Configuration]:
    """Returns the words of all engines, and every word of a question in its place."""
    return [
        Configuration("same words", partial(_Index, lambda question: question.words)),
        Configuration("every word", partial(_Index, lambda question: question.every_word)),
    ]


class _Index(WordEngine):
    """An index with positions, as the others have, and tags that filters read."""

    def __init__(self, words: Callable[[Question], str], folder: Path) -> None:
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_text_field("text", tokenizer_name=_ANALYZER)
        builder.add_unsigned_field("id", fast=True)
        for tag in Tags._fields:
            builder.add_unsigned_field(tag, indexed=True)
        self._tantivy: Any = tantivy
        self._words = words
        self._folder = folder
        self._schema = builder.build()
        self._index = tantivy.Index(self._schema, path=str(folder))
        self._index.register_tokenizer(
            _ANALYZER,
            tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
            .filter(tantivy.Filter.remove_long(64))
            .filter(tantivy.Filter.lowercase())
            .filter(tantivy.Filter.stemmer("english"))
            .build(),
        )
        self._searcher: Any = None

    def build(self, texts: Sequence[str], tags: Tags) -> None:
        writer = self._index.writer(_MEMORY, num_threads=1)
        document_of = self._tantivy.Document
        for number, (text, *values) in enumerate(
            zip(texts, *(tag.tolist() for tag in tags), strict=True)
        ):
            document = document_of()
            document.add_text("text", text)
            document.add_unsigned("id", number)
            for name, value in zip(Tags._fields, values, strict=True):
                document.add_unsigned(name, value)
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._searcher = self._index.searcher()

    def search(self, question: Question, k: int, where: Selected | None) -> Sequence[int]:
        query = self._index.parse_query(self._words(question), ["text"])
        if where is not None:
            query = self._filtered(query, where)
        found = self._searcher.search(query, k, count=False).hits
        ids: list[int] = self._searcher.fast_field_values("id", [place for _, place in found])
        return ids

    def _filtered(self, query: Any, where: Selected) -> Any:
        """Returns a query that a filter restricts and does not score."""
        made, occur = self._tantivy.Query, self._tantivy.Occur
        chosen = made.term_query(self._schema, where.tag, where.value)
        return made.boolean_query(
            [(occur.Must, query), (occur.Must, made.const_score_query(chosen, 0.0))]
        )

    def size(self) -> int:
        return folder_size(self._folder)
