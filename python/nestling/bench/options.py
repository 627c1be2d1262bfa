"""The options that choose a benchmark's rows and queries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from nestling.bench.hdf5 import read_hdf5
from nestling.bench.rows import Rows, encoded_rows, generated_rows, stored_rows

__all__ = ["Batch", "Model", "Queries", "Rounds", "RowOptions", "Seed", "Texts", "Threads"]

Queries = Annotated[
    Path | None,
    typer.Option(
        help="Search with the rows of this .npy file.",
        metavar="FILE",
        show_default="some rows, held out",
    ),
]
Texts = Annotated[
    Path | None,
    typer.Option(
        help="Measure these texts: the lines of a .txt file, or a corpus.", metavar="FILE"
    ),
]
Model = Annotated[str, typer.Option(help="The encoder of --texts.")]
Threads = Annotated[int, typer.Option("--threads", "-t", min=1, help="Threads to use.")]
Batch = Annotated[int, typer.Option(min=2, help="Queries of a batch.")]
Rounds = Annotated[int, typer.Option(min=1, help="Measured rounds, after a warm-up round.")]
Seed = Annotated[int, typer.Option(help="Seed of what is generated or held out.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOptions:
    """The options that choose rows and queries; the base of a benchmark's options.

    Attributes:
        rows: At most so many rows, or so many generated ones; None for the default.
        dim: Dimensions of generated rows; None for the default.
        vectors: A .npy file of rows.
        queries: A .npy file of queries.
        texts: A file of texts.
        hdf5: A file in the layout of ann-benchmarks and VIBE.
        model: The encoder of the texts.
        batch: Queries of a batch.
        seed: Seed of what is generated or held out.

    Raises:
        typer.BadParameter: Two options conflict.

    Example:
        >>> rows = RowOptions(rows=1000, batch=10).load(default_rows=100, default_dim=64)
        >>> rows.vectors.shape, rows.queries.shape
        ((1000, 64), (10, 64))
    """

    rows: Annotated[int | None, typer.Option(min=100, help="Rows to index.")] = None
    dim: Annotated[int | None, typer.Option(min=1, help="Dimensions of generated rows.")] = None
    vectors: Annotated[
        Path | None, typer.Option(help="Measure the rows of this .npy file.", metavar="FILE")
    ] = None
    queries: Queries = None
    texts: Texts = None
    hdf5: Annotated[
        Path | None,
        typer.Option(help="Measure this data set of ann-benchmarks or VIBE.", metavar="FILE"),
    ] = None
    model: Model = "wordllama"
    batch: Batch = 1000
    seed: Seed = 0

    def __post_init__(self) -> None:
        sources = {"--vectors": self.vectors, "--texts": self.texts, "--hdf5": self.hdf5}
        given = [name for name, file in sources.items() if file is not None]
        if len(given) > 1:
            raise typer.BadParameter(f"cannot be combined with {given[0]}", param_hint=given[1])
        if self.queries is not None and self.vectors is None:
            raise typer.BadParameter("needs --vectors", param_hint="--queries")
        if self.dim is not None and given:
            raise typer.BadParameter("is for generated rows only", param_hint="--dim")

    def load(self, *, default_rows: int, default_dim: int) -> Rows:
        """Reads, encodes or generates the rows and queries.

        Args:
            default_rows: How many rows to generate where the options do not say.
            default_dim: Their dimensions where the options do not say.

        Raises:
            CorpusError, ModelError, VectorError: As for `stored_rows`, `encoded_rows` and
                `read_hdf5`.
        """
        if self.vectors is not None:
            return stored_rows(
                self.vectors,
                self.queries,
                limit=self.rows,
                query_count=self.batch,
                seed=self.seed,
            )
        if self.hdf5 is not None:
            return read_hdf5(self.hdf5, limit=self.rows, query_count=self.batch)
        if self.texts is not None:
            return encoded_rows(
                self.texts, self.model, limit=self.rows, query_count=self.batch, seed=self.seed
            )
        return generated_rows(
            self.rows or default_rows,
            self.dim or default_dim,
            query_count=self.batch,
            seed=self.seed,
        )
