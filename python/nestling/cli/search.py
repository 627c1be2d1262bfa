"""`nestling search`: questions in, the best documents out."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nestling._util.console import TOO_LONG, tell
from nestling.cli.options import FunnelText, Json, Threads, VectorFile, WhereText, where_of
from nestling.errors import TruncationWarning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nestling.collection import Collection, DocumentHits
    from nestling.collection.query.search import Mode
    from nestling.index import Index
    from nestling.runtime.folder import Precision

__all__ = ["ask", "search"]


def search(
    index: Annotated[Path, typer.Argument(metavar="FOLDER", help="A collection, or a .nest file.")],
    questions: Annotated[
        list[str] | None, typer.Argument(metavar="QUESTION...", help="- reads a question a line.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Hits a question.")] = 10,
    where: WhereText = None,
    mode: Annotated[
        Literal["dense", "lexical", "hybrid"],
        typer.Option(help="By meaning, by words, or by both."),
    ] = "dense",
    funnel: FunnelText = None,
    explain: Annotated[
        bool, typer.Option("--explain", "-e", help="Show what every stage read and dropped.")
    ] = False,
    vector: VectorFile = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Encoder to ask with.", show_default="the collection's"),
    ] = None,
    precision: Annotated[
        Literal["int8", "float32"] | None,
        typer.Option(help="Of the model's weights, for a .nest file.", show_default="int8"),
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Find the documents that answer a question."""
    from nestling._util.console import print_json
    from nestling.cli.opening import open_collection, open_rows
    from nestling.cli.results import documents_as_json, rows_as_json, show_documents, show_rows

    if (vector is None) == (not questions):
        raise typer.BadParameter("give questions, or --vector FILE.npy", param_hint="QUESTION")
    if vector is not None and mode != "dense":
        raise typer.BadParameter(f"{mode} looks for words: ask with texts", param_hint="--mode")
    chosen = where_of(where)
    if index.is_file():
        if chosen is not None or mode != "dense":
            raise typer.BadParameter(
                "a .nest file holds vectors, without words and metadata",
                param_hint="--mode" if chosen is None else "--where",
            )
        rows = open_rows(index, threads=threads)
        named: Iterator[tuple[str, NDArray[np.float32]]]
        if vector is None:
            embed = _embedder(rows, index, model, precision, threads)
            named = ((question, embed(question)) for question in _questions(questions or []))
        else:
            named = _vectors(vector)
        for number, (name, embedding) in enumerate(named):
            found = rows.search(embedding, k=k, funnel=funnel)
            if as_json:
                print_json(rows_as_json(name, found))
            else:
                show_rows(name, found, explain=explain, first=number == 0)
        return
    if precision is not None:
        raise typer.BadParameter("a collection keeps its own", param_hint="--precision")
    with open_collection(index, model, read_only=True, threads=threads) as collection:
        asked: Iterator[tuple[str, str | NDArray[np.float32]]]
        if vector is None:
            asked = ((question, question) for question in _questions(questions or []))
        else:
            asked = iter(_vectors(vector))
        for number, (name, query) in enumerate(asked):
            hits = ask(
                collection, query, k=k, where=chosen, mode=mode, funnel=funnel, explain=explain
            )
            if as_json:
                print_json(documents_as_json(name, mode, hits))
            else:
                show_documents(name, hits, first=number == 0)


def ask(
    collection: Collection,
    query: str | NDArray[np.float32],
    *,
    k: int,
    where: Mapping[str, Any] | None = None,
    mode: Mode = "dense",
    funnel: str | None = None,
    explain: bool = False,
) -> DocumentHits:
    """Searches a collection for one question or vector, (dim,), and tells if it was too long.

    Raises:
        FilterError, FunnelError, ModelError, VectorError: As for `Collection.search`.
    """
    from nestling.collection import DocumentHits

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", TruncationWarning)
        found = collection.search(
            query,
            k,
            where,
            funnel,
            mode=mode,
            include=("text", "metadata", "highlight"),
            explain=explain,
        )
    for warning in told:
        if issubclass(warning.category, TruncationWarning):
            tell(TOO_LONG)
        else:
            warnings.warn(warning.message, stacklevel=2)
    return found if isinstance(found, DocumentHits) else found[0]


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
    rows: Index,
    path: Path,
    model: str | None,
    precision: Precision | None,
    threads: int | None,
) -> Callable[[str], NDArray[np.float32]]:
    """Returns what turns a question into a vector that a .nest file understands."""
    from nestling.cli.building import open_encoder, query_vector
    from nestling.errors import ModelError

    if model is None:
        raise ModelError(
            f"{path}: holds bare vectors and names no encoder; "
            "name the one that made them with --model, or ask with --vector FILE.npy"
        )
    encoder = open_encoder(model, precision=precision or "int8", threads=threads)
    return lambda question: query_vector(encoder, question, rows.dim)
