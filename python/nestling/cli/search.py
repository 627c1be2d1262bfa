"""`nestling search`: questions in, the best documents out."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nestling.cli.command import command
from nestling.cli.encoders import notify_long_question
from nestling.cli.options import FunnelText, Json, Threads, VectorFile, WhereText, where_of
from nestling.errors import TruncationWarning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nestling.collection import Collection, DocumentHits, Synonyms
    from nestling.collection.query.search import Mode
    from nestling.index import Index

__all__ = ["SearchOptions", "search", "search_collection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """The arguments and options of `nestling search`."""

    index: Annotated[Path, typer.Argument(metavar="FOLDER", help="A collection, or a .nest file.")]
    questions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUESTION...", help="Questions; - reads one question per line of stdin."
        ),
    ] = None
    k: Annotated[int, typer.Option("-k", min=1, help="Hits per question.")] = 10
    where: WhereText = None
    mode: Annotated[
        Literal["dense", "lexical", "hybrid"],
        typer.Option(help="Search by meaning, by words, or by both."),
    ] = "dense"
    synonyms: Annotated[
        Path | None,
        typer.Option(
            help="A file with lines such as 'car, automobile' or 'nyc => New York', for lexical "
            "and hybrid.",
            metavar="FILE",
        ),
    ] = None
    fuzzy: Annotated[
        bool,
        typer.Option(
            "--fuzzy", help="Search for words that no document has by those one letter away."
        ),
    ] = False
    funnel: FunnelText = None
    explain: Annotated[
        bool, typer.Option("--explain", "-e", help="Show what every stage read and dropped.")
    ] = False
    vector: VectorFile = None
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Encoder of the questions.", show_default="the collection's"
        ),
    ] = None
    precision: Annotated[
        Literal["int8", "float32"] | None,
        typer.Option(
            help="Precision of the model's weights, for a .nest file.", show_default="int8"
        ),
    ] = None
    threads: Threads = None
    as_json: Json = False


@command
def search(options: SearchOptions) -> None:
    """Find the documents that answer a question.

    Example: nestling search articles "how do whales sing?" -k 3
    """
    if (options.vector is None) == (not options.questions):
        raise typer.BadParameter("give questions, or --vector FILE.npy", param_hint="QUESTION")
    if options.vector is not None and options.mode != "dense":
        raise typer.BadParameter(
            f"{options.mode} searches for words: give texts", param_hint="--mode"
        )
    if options.mode == "dense" and (options.synonyms is not None or options.fuzzy):
        raise typer.BadParameter(
            "is for searches by words: add --mode lexical or hybrid",
            param_hint="--fuzzy" if options.fuzzy else "--synonyms",
        )
    where = where_of(options.where)
    if options.index.is_file():
        _search_rows(options, where)
    else:
        _search_documents(options, where)


def _search_rows(options: SearchOptions, where: Mapping[str, Any] | None) -> None:
    """Searches a .nest file."""
    from nestling._util.console import print_json
    from nestling.cli.paths import open_rows
    from nestling.cli.results import rows_as_json, show_rows

    if where is not None or options.mode != "dense":
        raise typer.BadParameter(
            "a .nest file holds vectors, without words and metadata",
            param_hint="--mode" if where is None else "--where",
        )
    rows = open_rows(options.index, threads=options.threads)
    queries: Iterator[tuple[str, NDArray[np.float32]]]
    if options.vector is None:
        embed = _question_encoder(rows, options)
        queries = ((question, embed(question)) for question in _questions(options))
    else:
        queries = _vectors(options.vector)
    for number, (name, vector) in enumerate(queries):
        hits = rows.search(vector, k=options.k, funnel=options.funnel)
        if options.as_json:
            print_json(rows_as_json(name, hits))
        else:
            show_rows(name, hits, explain=options.explain, first=number == 0)


def _search_documents(options: SearchOptions, where: Mapping[str, Any] | None) -> None:
    """Searches a collection."""
    from nestling._util.console import print_json
    from nestling.cli.paths import open_collection
    from nestling.cli.results import documents_as_json, show_documents
    from nestling.collection import Synonyms

    if options.precision is not None:
        raise typer.BadParameter("a collection keeps its own", param_hint="--precision")
    synonyms = None if options.synonyms is None else Synonyms.read(options.synonyms)
    with open_collection(
        options.index, options.model, read_only=True, threads=options.threads
    ) as collection:
        queries: Iterator[tuple[str, str | NDArray[np.float32]]]
        if options.vector is None:
            queries = ((question, question) for question in _questions(options))
        else:
            queries = iter(_vectors(options.vector))
        for number, (name, query) in enumerate(queries):
            hits = search_collection(
                collection,
                query,
                k=options.k,
                where=where,
                mode=options.mode,
                funnel=options.funnel,
                synonyms=synonyms,
                fuzzy=options.fuzzy,
                explain=options.explain,
            )
            if options.as_json:
                print_json(documents_as_json(name, options.mode, hits))
            else:
                show_documents(name, hits, first=number == 0)


def search_collection(
    collection: Collection,
    query: str | NDArray[np.float32],
    *,
    k: int,
    where: Mapping[str, Any] | None = None,
    mode: Mode = "dense",
    funnel: str | None = None,
    synonyms: Synonyms | None = None,
    fuzzy: bool = False,
    explain: bool = False,
) -> DocumentHits:
    """Searches a collection for one question or vector, (dim,), and says if it was too long.

    Raises:
        FilterError, FunnelError, ModelError, VectorError: As for `Collection.search`.
    """
    from nestling.collection import DocumentHits

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TruncationWarning)
        hits = collection.search(
            query,
            k,
            where,
            funnel,
            mode=mode,
            include=("text", "metadata", "highlight"),
            synonyms=synonyms,
            fuzzy=fuzzy,
            explain=explain,
        )
    for warning in caught:
        if issubclass(warning.category, TruncationWarning):
            notify_long_question()
        else:
            warnings.warn(warning.message, stacklevel=2)
    return hits if isinstance(hits, DocumentHits) else hits[0]


def _questions(options: SearchOptions) -> Iterator[str]:
    """Yields the questions; those on stdin as they arrive, without blank lines."""
    from nestling.corpus import read_lines

    for question in options.questions or []:
        if question == "-":
            yield from filter(str.strip, read_lines(sys.stdin.buffer, "stdin"))
        else:
            yield question


def _vectors(path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    from nestling.cli.vectors import read_vectors

    for row, vector in enumerate(read_vectors(path)):
        yield f"{path}, row {row}", vector


def _question_encoder(rows: Index, options: SearchOptions) -> Callable[[str], NDArray[np.float32]]:
    """Returns a function from a question to a vector of the dimensions of a .nest file."""
    from nestling.cli.encoders import open_encoder, query_vector
    from nestling.errors import ModelError

    if options.model is None:
        raise ModelError(
            f"{options.index}: holds bare vectors and names no encoder; name the one that made "
            "them with --model, or search with --vector FILE.npy"
        )
    encoder = open_encoder(
        options.model, precision=options.precision or "int8", threads=options.threads
    )
    return lambda question: query_vector(encoder, question, rows.dim)
