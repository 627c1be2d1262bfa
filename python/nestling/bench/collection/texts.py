"""Documents for the benchmark: lines of the user's file, or words drawn by their real frequency."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from nestling.corpus import read_documents
from nestling.corpus.stdlib_docs import read_stdlib_docs

__all__ = ["FIELDS", "documents", "lines_of", "metadata_of"]

FIELDS: Final = ("year", "lang")
YEARS: Final = 100  # each is a hundredth of the documents
_LANGUAGES: Final = ("en", "ar", "fr", "de")
_WORDS: Final = (6, 24)  # the fewest and the most of a document


def metadata_of(number: int) -> dict[str, Any]:
    """Returns the metadata of a document by its number.

    Example:
        >>> metadata_of(105)
        {'year': 1905, 'lang': 'ar', 'price': 10.5}
    """
    return {
        "year": 1900 + number % YEARS,
        "lang": _LANGUAGES[number // YEARS % len(_LANGUAGES)],
        "price": number % 977 / 10,
    }


def documents(texts: Iterator[str], count: int) -> Iterator[dict[str, Any]]:
    """Yields documents of the first `count` texts.

    Example:
        >>> [document["id"] for document in documents(iter(["a", "b", "c"]), 2)]
        ['d0', 'd1']
    """
    for number, text in enumerate(itertools.islice(texts, count)):
        yield {"id": f"d{number}", "text": text, "metadata": metadata_of(number)}


def lines_of(path: Path | None, *, seed: int) -> Iterator[str]:
    """Yields texts: those of a file, or generated ones without end.

    Generated texts are 6 to 24 words, each drawn by its frequency in the documentation of Python's
    standard library. They have no meaning, so only speed can be measured on them.

    Raises:
        CorpusError: The file cannot be read.
    """
    if path is not None:
        if path.suffix == ".txt":
            with path.open(encoding="utf-8") as stream:
                yield from (line.rstrip("\n") for line in stream if line.strip())
        else:
            yield from (document.text for document in read_documents(path))
        return
    counts = Counter(
        word for document in read_stdlib_docs() for word in re.findall(r"\w+", document.text)
    )
    words = np.array(list(counts))
    shares = np.fromiter(counts.values(), np.float64)
    rng = np.random.default_rng(seed)
    while True:
        lengths = rng.integers(*_WORDS, size=1_000, endpoint=True)
        drawn = iter(rng.choice(words, lengths.sum(), p=shares / shares.sum()).tolist())
        for length in lengths:
            yield " ".join(itertools.islice(drawn, int(length)))
