"""`nestling demo`: searches the documentation of the Python that runs it."""

from __future__ import annotations

import platform
import time
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from nestling.cli.options import FunnelText, Json, Threads

if TYPE_CHECKING:
    from nestling.collection import Collection
    from nestling.encoder import Encoder

__all__ = ["demo"]

QUESTIONS: Final = (
    "how do I parse a date from a string?",
    "how do I run another program and capture its output?",
    "which strings are close matches to a misspelled word?",
    "how do I cache the results of a function call?",
    "wrap a long paragraph to a given width",
    "insert into a sorted list and keep it sorted",
)


def demo(
    questions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUESTION", help="Questions to search for.", show_default="six examples"
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Hits per question.")] = 3,
    model: Annotated[
        Literal["minilm", "e5", "wordllama"],
        typer.Option(
            "--model",
            "-m",
            help="minilm for English; e5 for questions in Arabic and other languages; wordllama is "
            "the fastest.",
        ),
    ] = "minilm",
    funnel: FunnelText = None,
    threads: Threads = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build the index again.")] = False,
    as_json: Json = False,
) -> None:
    """Search the documentation of your own Python: encode it, index it, search it.

    The index is kept in the cache folder, so the next run answers at once.

    Example: nestling demo "how do I copy a folder?"
    """
    from nestling._util.console import notify, print_json
    from nestling.cli.encoders import open_encoder
    from nestling.cli.results import documents_as_json, show_documents
    from nestling.cli.search import search_documents

    folder = _folder(model)
    started = time.perf_counter()
    fresh = rebuild or not folder.exists()
    if fresh:
        notify(f"Opening the encoder {model} (the first run downloads and converts it) …")
    encoder = open_encoder(model, threads=threads)
    if fresh:
        notify(f"… took {time.perf_counter() - started:.1f} s")
    collection = None if fresh else _open(folder, encoder, threads)
    reused = collection is not None
    if collection is None:
        collection = _build(folder, encoder, threads)
    answers = []
    with collection:
        count = len(collection)
        notify(f"Searching {count:,} passages of Python {platform.python_version()} in {folder}")
        for number, question in enumerate(questions or QUESTIONS):
            _check_language(question, model)
            hits = search_documents(collection.search, question, k, funnel=funnel, explain=True)
            if as_json:
                answers.append(documents_as_json(question, "dense", hits))
            else:
                show_documents(question, hits, first=number == 0)
    if as_json:
        print_json(
            {
                "model": model,
                "python": platform.python_version(),
                "passages": count,
                "reused": reused,
                "answers": answers,
            }
        )


def _folder(model: str) -> Path:
    """Returns where the index is kept: one for each Python, model and version of nestling."""
    from importlib.metadata import version

    from nestling.models import cache_folder

    python = f"{platform.python_implementation().lower()}-{platform.python_version()}"
    return cache_folder() / "demo" / f"{python}-{model}-nestling-{version('nestling')}"


def _check_language(question: str, model: str) -> None:
    """Says so if a question is in a script that the model does not read."""
    from nestling._util.console import notify
    from nestling.models import BUILT_IN

    letters = filter(str.isalpha, question)
    latin = all(unicodedata.name(letter, "LATIN").startswith("LATIN") for letter in letters)
    if not latin and BUILT_IN[model].languages == "English":
        notify(f"{model} reads English; for other languages: nestling demo --model e5 QUESTION")


def _open(folder: Path, encoder: Encoder, threads: int | None) -> Collection | None:
    """Opens the index of an earlier run; None where it is damaged or of other model files."""
    from nestling._util.console import notify
    from nestling.cli.paths import open_collection
    from nestling.errors import EncoderMismatchError, FormatError, StorageError

    try:
        return open_collection(folder, encoder, read_only=True, threads=threads)
    except EncoderMismatchError:
        return None  # the model was fetched from another source since
    except (FormatError, StorageError) as error:
        notify(f"{error}; building it again")
        return None


def _build(folder: Path, encoder: Encoder, threads: int | None) -> Collection:
    from nestling._util.atomic import new_folder
    from nestling._util.console import notify
    from nestling.cli.paths import open_collection
    from nestling.corpus.stdlib_docs import read_stdlib_docs

    started = time.perf_counter()
    notify("Reading the docstrings of the standard library …")
    documents = read_stdlib_docs()
    notify(f"… {len(documents):,} passages in {time.perf_counter() - started:.1f} s")
    started = time.perf_counter()
    notify("Encoding and indexing them …")
    with (
        new_folder(folder) as staged,
        open_collection(staged, encoder, create=True, threads=threads) as collection,
    ):
        collection.add(documents)
        collection.compact()
    notify(f"… took {time.perf_counter() - started:.1f} s")
    return open_collection(folder, encoder, read_only=True, threads=threads)
