"""The options that choose a benchmark's rows and queries, and what they choose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from nestling.bench.rows import Rows, encoded_rows, generated_rows, stored_rows

__all__ = ["Batch", "Choice", "Model", "Queries", "Rounds", "Seed", "Texts", "Threads", "Vectors"]

Vectors = Annotated[
    Path | None, typer.Option(help="Measure the rows of this .npy file.", metavar="FILE")
]
Queries = Annotated[
    Path | None,
    typer.Option(
        help="Ask with the rows of this .npy file.",
        metavar="FILE",
        show_default="some rows held out",
    ),
]
Texts = Annotated[
    Path | None,
    typer.Option(help="Measure these texts: a .txt file's lines, or a corpus.", metavar="FILE"),
]
Model = Annotated[str, typer.Option(help="What encodes --texts.")]
Threads = Annotated[int, typer.Option("--threads", "-t", min=1, help="Threads.")]
Batch = Annotated[int, typer.Option(min=2, help="Queries of a batch.")]
Rounds = Annotated[int, typer.Option(min=1, help="Rounds that count.")]
Seed = Annotated[int, typer.Option(help="Of what is generated or held out.")]


@dataclass(frozen=True, slots=True)
class Choice:
    """What the options say.

    Attributes:
        rows: At most so many rows, or so many generated ones; None for the default.
        dim: Dimensions of generated rows; None for the default.
        vectors: A .npy file of rows.
        queries: A .npy file of queries.
        texts: A file of texts.
        model: What encodes them.
        asked: Queries of a batch.
        seed: Of what is generated or held out.

    Raises:
        typer.BadParameter: Options that do not go together.
    """

    rows: int | None
    dim: int | None
    vectors: Path | None
    queries: Path | None
    texts: Path | None
    model: str
    asked: int
    seed: int

    def __post_init__(self) -> None:
        if self.vectors is not None and self.texts is not None:
            raise typer.BadParameter("cannot go with --vectors", param_hint="--texts")
        if self.queries is not None and self.vectors is None:
            raise typer.BadParameter("needs --vectors", param_hint="--queries")
        if self.dim is not None and (self.vectors is not None or self.texts is not None):
            raise typer.BadParameter("is for generated rows only", param_hint="--dim")

    def load(self, rows: int, dim: int) -> Rows:
        """Reads, encodes or generates; `rows` and `dim` are the defaults of generated rows."""
        if self.vectors is not None:
            return stored_rows(
                self.vectors, self.queries, limit=self.rows, asked=self.asked, seed=self.seed
            )
        if self.texts is not None:
            return encoded_rows(
                self.texts, self.model, limit=self.rows, asked=self.asked, seed=self.seed
            )
        return generated_rows(
            self.rows or rows, self.dim or dim, queries=self.asked, seed=self.seed
        )
