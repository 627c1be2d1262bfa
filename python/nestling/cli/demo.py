"""`nestling demo`: ask the documentation of the Python that runs it."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from nestling.cli.options import FunnelText, Json, Threads

if TYPE_CHECKING:
    from nestling.cli.folder import IndexFolder
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
    from nestling.cli.building import open_encoder, query_vector
    from nestling.cli.results import answer, hits_as_json, show_answer
    from nestling.cli.screen import print_json, tell

    folder = _folder()
    opened = None if rebuild else _built(folder, threads)
    started = time.perf_counter()
    if opened is None:
        tell(f"Opening the encoder {MODEL}; the first time, it is fetched and converted …")
    encoder = open_encoder(MODEL, threads=threads)
    if opened is not None and opened.corpus.fingerprint != encoder.fingerprint:
        opened = None  # the model has come from elsewhere since
    reused = opened is not None
    if opened is None:
        tell(f"… after {time.perf_counter() - started:.1f} s")
        opened = _build(folder, encoder, threads)
    tell(f"{len(opened.index):,} passages of Python {platform.python_version()} in {folder}")
    answers = []
    for number, question in enumerate(questions or QUESTIONS):
        embedding = query_vector(encoder, question, opened.index.dim)
        answers.append(answer(opened, question, embedding, k=k, funnel=funnel))
        if not as_json:
            show_answer(answers[-1], explain=True, first=number == 0)
    if as_json:
        print_json(
            {
                "model": MODEL,
                "python": platform.python_version(),
                "passages": len(opened.index),
                "reused": reused,
                "answers": [hits_as_json(found) for found in answers],
            }
        )


def _folder() -> Path:
    """Returns where the index is kept: one for each Python, model and version of nestling."""
    from importlib.metadata import version

    from nestling.models import cache_folder

    python = f"{platform.python_implementation().lower()}-{platform.python_version()}"
    return cache_folder() / "demo" / f"{python}-{MODEL}-nestling-{version('nestling')}"


def _built(folder: Path, threads: int | None) -> IndexFolder | None:
    from nestling.cli.folder import open_index
    from nestling.cli.screen import tell
    from nestling.errors import FormatError, StorageError

    if not folder.exists():
        return None
    try:
        return open_index(folder, threads=threads)
    except (FormatError, StorageError) as error:
        tell(f"{error}; building it anew")
        return None


def _build(folder: Path, encoder: Encoder, threads: int | None) -> IndexFolder:
    from nestling.cli.building import index_documents
    from nestling.cli.folder import open_index
    from nestling.cli.screen import tell
    from nestling.stdlib_docs import read_stdlib_docs

    started = time.perf_counter()
    tell("Reading the docstrings of the standard library …")
    documents = read_stdlib_docs()
    tell(f"… {len(documents):,} passages in {time.perf_counter() - started:.1f} s")
    started = time.perf_counter()
    tell("Encoding and indexing them …")
    index_documents(documents, folder, encoder=encoder, name=MODEL, threads=threads)
    tell(f"… in {time.perf_counter() - started:.1f} s")
    return open_index(folder, threads=threads)
