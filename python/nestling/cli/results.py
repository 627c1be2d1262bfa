"""The hits of one question: as text on the screen, and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from nestling._util.console import console, plain, snippet, squeezed

if TYPE_CHECKING:
    from nestling.collection import DocumentHit, DocumentHits
    from nestling.index.hits import Hits

__all__ = ["documents_as_json", "rows_as_json", "show_documents", "show_rows"]

_INDENT: Final = " " * 6
_LONGEST_HEADING: Final = 300  # characters of a question; a pasted page is recognised by its start

Span = tuple[int, int]


def documents_as_json(question: str, mode: str, hits: DocumentHits) -> dict[str, Any]:
    """Returns the documents found for a question, as `--json` prints them."""
    return {
        "question": question,
        "mode": mode,
        "refined": hits.refined,
        "hits": [
            {
                "rank": rank,
                "score": hit.score,
                "id": hit.id,
                "title": hit.title,
                "text": hit.text,
                "metadata": hit.metadata,
                "passage": hit.passage,
                "start": hit.start,
                "end": hit.end,
                "highlights": hit.highlights,
                "snippet": None if hit.snippet is None else asdict(hit.snippet),
            }
            for rank, hit in enumerate(hits, 1)
        ],
        "explanation": None if hits.explanation is None else asdict(hits.explanation),
    }


def rows_as_json(question: str, hits: Hits) -> dict[str, Any]:
    """Returns the rows of a .nest file found for a question, as `--json` prints them."""
    return {
        "question": question,
        "hits": [
            {"rank": rank, "score": score, "row": row}
            for rank, (row, score) in enumerate(_found(hits), 1)
        ],
        "stages": [asdict(stage) for stage in hits.stages],
    }


def show_documents(question: str, hits: DocumentHits, *, first: bool = True) -> None:
    """Prints rank, score and name of each hit on one line, its passage and metadata below."""
    screen = console()
    _show_question(question, first)
    if not hits:
        screen.print(Text("  nothing found", style="dim"))
    for rank, hit in enumerate(hits, 1):
        screen.print(_line(rank, hit.score, _name(hit)))
        # On its own line: right-to-left text beside columns would move them.
        width = 2 * screen.width - 16
        screen.print(Text.assemble(_INDENT, _marked(hit.text or "", hit.highlights, width)))
        if hit.metadata:
            metadata = json.dumps(hit.metadata, ensure_ascii=False)
            screen.print(Text(f"{_INDENT}{snippet(metadata, screen.width - 8)}", style="dim"))
    if hits.explanation is not None:
        screen.print(Text(textwrap.indent(str(hits.explanation), _INDENT), style="dim"))


def show_rows(question: str, hits: Hits, *, explain: bool, first: bool = True) -> None:
    """Prints rank, score and number of each row."""
    screen = console()
    _show_question(question, first)
    found = _found(hits)
    if not found:
        screen.print(Text("  nothing found: the index is empty", style="dim"))
    for rank, (row, score) in enumerate(found, 1):
        screen.print(_line(rank, score, f"row {row}"))
    if explain:
        screen.print(Text(textwrap.indent(hits.explain(), _INDENT), style="dim"))


def _found(hits: Hits) -> list[tuple[int, float]]:
    pairs = zip(hits.ids.tolist(), hits.scores.tolist(), strict=True)
    return [(row, score) for row, score in pairs if row >= 0]


def _show_question(question: str, first: bool) -> None:
    screen = console()
    if not first:
        screen.print()
    screen.print(Text(snippet(question, _LONGEST_HEADING), style="bold"))


def _line(rank: int, score: float, name: str) -> Text:
    return Text.assemble(f"{rank:>4}  ", (f"{score:.4f}", "cyan"), "  ", (name, "bold green"))


def _name(hit: DocumentHit) -> str:
    name, title = plain(str(hit.id)), plain(hit.title or "")  # of bare vectors, ids are numbers
    # The title of a function begins with its name: it need not be printed twice.
    return title if title.startswith(name) else f"{name}  {title}".rstrip()


def _marked(text: str, spans: Sequence[Span], width: int) -> Text:
    """Returns the part of a passage with most of the matched words, on one line, marked."""
    from nestling.collection.query.highlight import snippet as best_snippet

    part = best_snippet(text, spans, width)
    line = Text("… " if part.start else "")
    end = 0
    for start, stop in [*part.highlights, (len(part.text), len(part.text))]:
        line.append(squeezed(part.text[end:start]))
        line.append(squeezed(part.text[start:stop]), style="bold yellow")
        end = stop
    return line.append(" …" if part.end < len(text) else "")
