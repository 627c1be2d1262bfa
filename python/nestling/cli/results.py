"""What one question brought: as text on the screen, and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from nestling.cli.screen import console, plain, snippet
from nestling.corpus import Document
from nestling.hits import StageStats

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nestling.cli.folder import IndexFolder

__all__ = ["Answer", "Hit", "answer", "hits_as_json", "show_answer"]


@dataclass(frozen=True, slots=True)
class Hit:
    """One row that was found.

    Attributes:
        row: Its id in the index.
        score: The last stage's.
        document: None for bare vectors.
    """

    row: int
    score: float
    document: Document | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one question brought, best first, and what every stage did for it."""

    question: str
    hits: tuple[Hit, ...]
    stages: tuple[StageStats, ...]


def answer(
    opened: IndexFolder,
    question: str,
    embedding: NDArray[np.float32],
    *,
    k: int,
    funnel: str | None,
) -> Answer:
    """Searches for one embedding and fetches the documents of its hits.

    Raises:
        FunnelError: The index does not store what the funnel asks for.
        VectorError: The embedding has another length than the index's rows.
    """
    hits = opened.index.search(embedding, k=k, funnel=funnel)
    found = [(int(row), float(score)) for row, score in zip(*hits, strict=True) if row >= 0]
    documents = opened.documents([row for row, _ in found])
    return Answer(
        question,
        tuple(Hit(*pair, document) for pair, document in zip(found, documents, strict=True)),
        hits.stages,
    )


def hits_as_json(found: Answer) -> dict[str, Any]:
    """Returns the answer as what `--json` prints."""
    return {
        "question": found.question,
        "hits": [
            {
                "rank": rank,
                "score": hit.score,
                "row": hit.row,
                "id": hit.document and hit.document.id,
                "title": hit.document and hit.document.title,
                "text": hit.document and hit.document.text,
            }
            for rank, hit in enumerate(found.hits, 1)
        ],
        "stages": [asdict(stage) for stage in found.stages],
    }


def show_answer(found: Answer, *, explain: bool, first: bool = True) -> None:
    """Prints the answer: rank, score and name of each hit on a line, its text below."""
    screen = console()
    if not first:
        screen.print()
    screen.print(Text(plain(found.question), style="bold"))
    if not found.hits:
        screen.print(Text("  nothing found: the index is empty", style="dim"))
    for rank, hit in enumerate(found.hits, 1):
        screen.print(
            Text.assemble(
                f"{rank:>4}  ", (f"{hit.score:.4f}", "cyan"), "  ", (_name(hit), "bold green")
            )
        )
        if hit.document is not None:
            # A line of its own: right-to-left text beside columns would move them.
            screen.print(Text(f"      {snippet(hit.document.text, 2 * screen.width - 16)}"))
    if explain:
        screen.print(_stages(found.stages))


def _name(hit: Hit) -> str:
    if hit.document is None:
        return f"row {hit.row}"
    name = hit.document.id or f"row {hit.row}"
    title = plain(hit.document.title)
    # A title that begins with the name, as that of a function does, says both.
    return title if title.startswith(name) else f"{name}  {title}".rstrip()


def _stages(stages: tuple[StageStats, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("      stage")
    for title in ("rows seen", "rows kept", "bytes read", "µs"):
        table.add_column(title, justify="right")
    for stage in stages:
        table.add_row(
            f"      {stage.dims}@{stage.bits}",
            f"{stage.rows_seen:,}",
            f"{stage.rows_kept:,}",
            f"{stage.bytes_read:,}",
            f"{stage.microseconds:,.1f}",
        )
    return table
