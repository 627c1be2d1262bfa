"""`nestling demo`: ask the documentation of the Python that runs it."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from nestling.cli.options import FunnelText, Json, Threads

if TYPE_CHECKING:
    from nestling.collection import Collection
    from nestling.encoder import Encoder

__all__ = ["demo"]

MODEL: Final = "minilm"
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
        typer.Argument(metavar="QUESTION...", help="What to ask.", show_default="six questions"),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Hits a question.")] = 3,
    funnel: FunnelText = None,
    threads: Threads = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build the index anew.")] = False,
    as_json: Json = False,
) -> None:
    """Ask the documentation of your own Python: encode it, index it, search it.

    The index is kept in the cache folder, so a second run answers at once.
    """
    from nestling._util.console import print_json, tell
    from nestling.cli.building import open_encoder
    from nestling.cli.results import documents_as_json, show_documents
    from nestling.cli.search import ask

    folder = _folder()
    started = time.perf_counter()
    fresh = rebuild or not folder.exists()
    if fresh:
        tell(f"Opening the encoder {MODEL}; the first time, it is fetched and converted …")
    encoder = open_encoder(MODEL, threads=threads)
    if fresh:
        tell(f"… after {time.perf_counter() - started:.1f} s")
    collection = None if fresh else _built(folder, encoder, threads)
    reused = collection is not None
    if collection is None:
        collection = _build(folder, encoder, threads)
    answers = []
    with collection:
        count = len(collection)
        tell(f"{count:,} passages of Python {platform.python_version()} in {folder}")
        for number, question in enumerate(questions or QUESTIONS):
            hits = ask(collection, question, k=k, funnel=funnel, explain=True)
            if as_json:
                answers.append(documents_as_json(question, "dense", hits))
            else:
                show_documents(question, hits, first=number == 0)
    if as_json:
        print_json(
            {
                "model": MODEL,
                "python": platform.python_version(),
                "passages": count,
                "reused": reused,
                "answers": answers,
            }
        )


def _folder() -> Path:
    """Returns where the index is kept: one for each Python, model and version of nestling."""
    from importlib.metadata import version

    from nestling.models import cache_folder

    python = f"{platform.python_implementation().lower()}-{platform.python_version()}"
    return cache_folder() / "demo" / f"{python}-{MODEL}-nestling-{version('nestling')}"


def _built(folder: Path, encoder: Encoder, threads: int | None) -> Collection | None:
    """Opens what is kept; None where that is of the model's former files, or not whole."""
    from nestling._util.console import tell
    from nestling.cli.opening import is_former, open_collection
    from nestling.errors import EncoderMismatchError, FormatError, StorageError

    if is_former(folder):
        return None
    try:
        return open_collection(folder, encoder, read_only=True, threads=threads)
    except EncoderMismatchError:
        return None  # the model has come from elsewhere since
    except (FormatError, StorageError) as error:
        tell(f"{error}; building it anew")
        return None


def _build(folder: Path, encoder: Encoder, threads: int | None) -> Collection:
    from nestling._util.atomic import new_folder
    from nestling._util.console import tell
    from nestling.cli.adding import record_of
    from nestling.cli.opening import open_collection
    from nestling.corpus.stdlib_docs import read_stdlib_docs

    started = time.perf_counter()
    tell("Reading the docstrings of the standard library …")
    documents = read_stdlib_docs()
    tell(f"… {len(documents):,} passages in {time.perf_counter() - started:.1f} s")
    started = time.perf_counter()
    tell("Encoding and indexing them …")
    with (
        new_folder(folder) as made,
        open_collection(made, encoder, create=True, threads=threads) as collection,
    ):
        collection.add([record_of(document) for document in documents])
        collection.compact()
    tell(f"… in {time.perf_counter() - started:.1f} s")
    return open_collection(folder, encoder, read_only=True, threads=threads)
