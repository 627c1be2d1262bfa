"""Search the text and Markdown files of a folder, by meaning and by words.

    python examples/search_folder.py                                  # this repository's docs/
    python examples/search_folder.py ~/notes "which bank did I write to?"

The files are kept as a collection (--collection; by default a temporary one). Run it again with the
same collection, and only new or changed files are encoded.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import nestling
from nestling.collection import Passages
from nestling.corpus import read_documents

DOCS = Path(__file__).parents[1] / "docs"
PASSAGES = Passages(
    size=500, overlap=80
)  # in characters: about what minilm reads of code and tables
QUESTIONS = ["how do I reach a recall of 98 %?", "when is another library faster?"]


def records(folder: Path) -> Iterator[dict[str, object]]:
    """Yields a record for each .txt and .md file below the folder; its id is its path there."""
    for document in read_documents(folder):
        path = folder / str(document.id)
        metadata = {"suffix": path.suffix, "modified": path.stat().st_mtime}
        yield {"id": document.id, "text": document.text, "metadata": metadata}


def synchronise(collection: nestling.Collection, folder: Path) -> None:
    """Adds what is new or changed, and deletes what is no longer in the folder."""
    added = collection.add(records(folder))
    present = {document.id for document in read_documents(folder)}
    gone = [document.id for document in collection if document.id not in present]
    collection.delete(gone)
    print(f"{added.added} new, {added.replaced} changed, {added.unchanged} as before, ", end="")
    print(f"{len(gone)} deleted; {added.passages} passages encoded, {added.truncated} too long\n")


def show(collection: nestling.Collection, question: str, k: int) -> None:
    """Prints the best passages, with the words of the question marked."""
    print(question)
    for hit in collection.search(question, k=k, mode="hybrid", include=["text", "highlight"]):
        passage = " ".join(hit.marked("[", "]").split())
        print(f"  {hit.score:.3f}  {hit.id}, characters {hit.start} to {hit.end}")
        print(f"         {passage[:90]}")
    print()


def main() -> None:
    """Reads the command line, updates the collection, asks it."""
    parser = argparse.ArgumentParser(description="Search the text and Markdown files of a folder.")
    parser.add_argument("folder", nargs="?", type=Path, default=DOCS, help="what to search")
    parser.add_argument("questions", nargs="*", default=QUESTIONS, help="what to ask")
    parser.add_argument("--collection", type=Path, help="where to keep it; default: nowhere")
    parser.add_argument("--model", default="minilm", help="a built-in model, a folder, a hub id")
    parser.add_argument("-k", type=int, default=3, help="hits a question")
    options = parser.parse_args()
    warnings.simplefilter("ignore", nestling.TruncationWarning)  # synchronise() reports how many
    with tempfile.TemporaryDirectory() as temporary:
        path = options.collection or Path(temporary, "collection")
        with nestling.Collection(path, options.model, passages=PASSAGES) as collection:
            synchronise(collection, options.folder)
            for question in options.questions:
                show(collection, question, options.k)


if __name__ == "__main__":
    main()
