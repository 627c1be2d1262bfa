"""`nestling search`: questions in, the best documents out."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import typer

from nestling.cli.command import command
from nestling.cli.encoders import notify_long_question
from nestling.cli.options import FunnelText, Json, Threads, VectorFile, WhereText, where_of
from nestling.errors import TruncationWarning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from nestling.collection import DocumentHits
    from nestling.collection.query.options import SearchKeywords
    from nestling.index import Index

    Query = str | NDArray[np.float32]

__all__ = [
    "QueryOptions",
    "SearchOptions",
    "check_query",
    "keywords_of",
    "queries_of",
    "search",
    "search_documents",
]

_SHOWN: Final = ("text", "metadata", "highlight", "snippet")

H = TypeVar("H", bound="DocumentHits")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryOptions:
    """What the commands that search have in common; `path` is of a type of their own."""

    path: Any
    questions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUESTION", help="Questions; - reads one question per line of stdin."
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
    prefix: Annotated[
        bool,
        typer.Option(
            "--prefix", help="Search for the last word by those that begin so, as users type."
        ),
    ] = False
    funnel: FunnelText = None
    explain: Annotated[
        bool, typer.Option("--explain", "-e", help="Show what every stage read and dropped.")
    ] = False
    vector: VectorFile = None
    query_encoder: Annotated[
        str | None,
        typer.Option(
            "--query-encoder",
            metavar="NAME",
            help="A small encoder that encodes the questions in place of the documents' one: "
            "minilm-fast, e5-fast, or a folder.",
        ),
    ] = None
    refine: Annotated[
        Literal["never", "auto", "always"],
        typer.Option(
            help="With --query-encoder: when the documents' own encoder is used, too; auto is "
            "where the order of the hits is in doubt."
        ),
    ] = "never"
    as_json: Json = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions(QueryOptions):
    """The arguments and options of `nestling search`."""

    path: Annotated[Path, typer.Argument(metavar="FOLDER", help="A collection, or a .nest file.")]
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


@command
def search(options: SearchOptions) -> None:
    """Find the documents that answer a question.

    Example: nestling search articles "how do whales sing?" -k 3
    """
    check_query(options)
    where = where_of(options.where)
    if options.path.is_file():
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
    if options.query_encoder is not None:
        raise typer.BadParameter(
            "a .nest file names no encoder; give the query encoder as --model",
            param_hint="--query-encoder",
        )
    rows = open_rows(options.path, threads=options.threads)
    embed = _question_encoder(rows, options) if options.vector is None else None
    for number, (name, query) in enumerate(queries_of(options)):
        vector = query if embed is None else embed(query)
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

    if options.precision is not None:
        raise typer.BadParameter("a collection keeps its own", param_hint="--precision")
    keywords = keywords_of(options)
    with open_collection(
        options.path,
        options.model,
        query_encoder=options.query_encoder,
        read_only=True,
        threads=options.threads,
    ) as collection:
        for number, (name, query) in enumerate(queries_of(options)):
            hits = search_documents(
                collection.search, query, options.k, where, options.funnel, **keywords
            )
            if options.as_json:
                print_json(documents_as_json(name, options.mode, hits))
            else:
                show_documents(name, hits, first=number == 0)


def search_documents(
    search: Callable[..., H | list[H]],
    query: Query,
    k: int,
    where: Mapping[str, Any] | None = None,
    funnel: str | None = None,
    **options: Unpack[SearchKeywords],
) -> H:
    """Searches for one question or vector, (dim,), and says if it was too long.

    Args:
        search: `Collection.search`, or another that takes the same.
        query: As for it, like the other arguments.
        k: See there.
        where: See there.
        funnel: See there.
        **options: See there; `include` is all that is shown, by default.

    Raises:
        FilterError, FunnelError, ModelError, VectorError: As for `Collection.search`.
    """
    options.setdefault("include", _SHOWN)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TruncationWarning)
        hits = search(query, k, where, funnel, **options)
    for warning in caught:
        if issubclass(warning.category, TruncationWarning):
            notify_long_question()
        else:
            warnings.warn(warning.message, stacklevel=2)
    return hits[0] if isinstance(hits, list) else hits


def check_query(options: QueryOptions) -> None:
    """Checks that there are either questions or vectors, as the mode needs.

    Raises:
        typer.BadParameter: An option does not fit the others.
    """
    if (options.vector is None) == (not options.questions):
        raise typer.BadParameter("give questions, or --vector FILE.npy", param_hint="QUESTION")
    if not all(map(str.strip, options.questions or ())):
        raise typer.BadParameter("a question is empty", param_hint="QUESTION")
    if options.mode == "dense":
        of_words = {
            "--synonyms": options.synonyms is not None,
            "--fuzzy": options.fuzzy,
            "--prefix": options.prefix,
        }
        if given := [name for name, set_ in of_words.items() if set_]:
            raise typer.BadParameter(
                "is for searches by words: add --mode lexical or hybrid", param_hint=given[0]
            )
    elif options.vector is not None:
        raise typer.BadParameter(
            f"{options.mode} searches for words: give texts", param_hint="--mode"
        )


def keywords_of(options: QueryOptions) -> SearchKeywords:
    """Returns the keywords of a search.

    Raises:
        CorpusError: The file of synonyms is malformed, or cannot be read.
    """
    from nestling.collection import Synonyms

    return {
        "mode": options.mode,
        "synonyms": None if options.synonyms is None else Synonyms.read(options.synonyms),
        "fuzzy": options.fuzzy,
        "prefix": options.prefix,
        "refine": options.refine,
        "explain": options.explain,
    }


def queries_of(options: QueryOptions) -> Iterator[tuple[str, Any]]:
    """Yields each question, or row of the file of vectors, with what to call it.

    Questions on stdin, for "-", are yielded as they arrive, without blank lines.
    """
    from nestling.cli.vectors import read_vectors
    from nestling.corpus import read_lines

    if options.vector is not None:
        for row, vector in enumerate(read_vectors(options.vector)):
            yield f"{options.vector}, row {row}", vector
    for question in options.questions or ():
        if question == "-":
            for line in read_lines(sys.stdin.buffer, "stdin"):
                if line.strip():
                    yield line, line
        else:
            yield question, question


def _question_encoder(rows: Index, options: SearchOptions) -> Callable[[str], NDArray[np.float32]]:
    """Returns a function from a question to a vector of the dimensions of a .nest file."""
    from nestling.cli.encoders import open_encoder, query_vector
    from nestling.errors import ModelError

    if options.model is None:
        raise ModelError(
            f"{options.path}: holds bare vectors and names no encoder; name the one that made "
            "them with --model, or search with --vector FILE.npy"
        )
    encoder = open_encoder(
        options.model, precision=options.precision or "int8", threads=options.threads
    )
    return lambda question: query_vector(encoder, question, rows.dim)
