"""`nestling search`: questions in, the best documents out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nestling.cli.options import FunnelText, Json, Threads, VectorFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nestling.cli.folder import IndexFolder
    from nestling.models.cards import Precision

__all__ = ["search"]


def search(
    index: Annotated[Path, typer.Argument(help="An index folder, or a .nest file.")],
    questions: Annotated[
        list[str] | None, typer.Argument(metavar="QUESTION...", help="- reads a question a line.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Hits a question.")] = 10,
    funnel: FunnelText = None,
    explain: Annotated[
        bool, typer.Option("--explain", "-e", help="Show what every stage read.")
    ] = False,
    vector: VectorFile = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Encoder to ask with.", show_default="the index's"),
    ] = None,
    precision: Annotated[
        Literal["int8", "float32"] | None,
        typer.Option(help="Of the model's weights.", show_default="the index's"),
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Find the documents that answer a question."""
    from nestling.cli.folder import open_index
    from nestling.cli.results import answer, hits_as_json, show_answer
    from nestling.cli.screen import print_json

    if (vector is None) == (not questions):
        raise typer.BadParameter("give questions, or --vector FILE.npy", param_hint="QUESTION")
    opened = open_index(index, threads=threads)
    if vector is not None:
        asked = _vectors(vector)
    else:
        embed = _embedder(opened, index, model, precision, threads)
        asked = ((question, embed(question)) for question in _questions(questions or []))
    for number, (question, embedding) in enumerate(asked):
        found = answer(opened, question, embedding, k=k, funnel=funnel)
        if as_json:
            print_json(hits_as_json(found))
        else:
            show_answer(found, explain=explain, first=number == 0)


def _questions(given: list[str]) -> Iterator[str]:
    """Yields the questions; those on stdin as they come, without blank lines."""
    from nestling.corpus import read_lines

    for question in given:
        if question == "-":
            yield from filter(str.strip, read_lines(sys.stdin.buffer, "stdin"))
        else:
            yield question


def _vectors(path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    from nestling.cli.building import read_vectors

    for row, embedding in enumerate(read_vectors(path)):
        yield f"{path}, row {row}", embedding


def _embedder(
    opened: IndexFolder,
    path: Path,
    model: str | None,
    precision: Precision | None,
    threads: int | None,
) -> Callable[[str], NDArray[np.float32]]:
    """Returns what turns a question into a vector that the index understands."""
    from nestling.cli.building import open_encoder, query_vector
    from nestling.cli.screen import tell
    from nestling.errors import ModelError

    name = model or opened.corpus.encoder
    if name is None:
        raise ModelError(
            f"{path}: holds bare vectors and names no encoder; "
            "name the one that made them with --model, or ask with --vector FILE.npy"
        )
    chosen = precision or opened.corpus.precision or "int8"
    encoder = open_encoder(name, precision=chosen, threads=threads)
    made_by = opened.corpus.fingerprint
    if made_by is not None and made_by != encoder.fingerprint:
        tell(
            f"The index was made by {opened.corpus.encoder} ({opened.corpus.precision}, files "
            f"{made_by}), but {encoder.name} ({encoder.precision}, files {encoder.fingerprint}) "
            "reads the questions: scores may be off; index anew to be sure."
        )
    return lambda question: query_vector(encoder, question, opened.index.dim)
