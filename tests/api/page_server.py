"""A server with collections that its page can show: of a tiny real model, in two scripts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from serving import Serving, serving
from tiny_models import make_folder

from nestling import Collection, Encoder

WORDS = ("cat", "dog", "sun", "moon", "read", "write")
LONG = "😀 The cat 😀 is read."  # highlights after characters of two UTF-16 units
PASSAGES = "The sun is far away. " * 80 + "A zephyr and a dog. " + "Write it down. " * 60


def animals() -> list[dict[str, Any]]:
    """Documents of the words that the model knows, with metadata of every type."""
    found = []
    for number, words in enumerate(itertools.product(WORDS, repeat=3)):
        found.append(
            {
                "id": f"d{number}",
                "title": f"Title {number}",
                "text": " ".join(words),
                "metadata": {
                    "lang": "en" if number % 2 else "fr",
                    "year": 1990 + number % 30,
                    "draft": number % 3 == 0,
                    "tags": [words[0], words[-1]],
                    "author": {"name": f"A{number % 5}"},
                },
            }
        )
    found.append({"id": "emoji", "title": "😀 faces", "text": LONG})
    return found


ARABIC = [
    {"id": "سلام", "title": "تحية", "text": "مرحبا cat", "metadata": {"نوع": "تحية"}},
    {
        "id": "كلب",
        "title": "حيوان",
        "text": "dog مرحبا بك في المكتبة",
        "metadata": {"نوع": "حيوان"},
    },
    {"id": "شمس", "title": "نجم", "text": "sun moon", "metadata": {"نوع": "نجم"}},
]


@contextmanager
def page_server(folder: Path, **options: Any) -> Iterator[Serving]:
    """Serves the collections `animals`, `book`, `empty`, `vectors` and `مكتبة`.

    A request may wait for long, so that none is refused where a browser leaves the server little.
    """
    options = {"max_queue_ms": 60_000.0} | options
    encoder = Encoder(make_folder(folder), threads=1)
    root = folder / "collections"
    with Collection(
        root / "animals", encoder, funnel="4@8:40 > 8@16:12 > 16@16", fields=["year"], threads=1
    ) as made:
        made.add(animals())
    with Collection(root / "مكتبة", encoder, threads=1) as made:
        made.add(ARABIC)
    with Collection(root / "book", encoder, threads=1) as made:
        made.add({"id": "long", "title": "Long", "text": PASSAGES})
    Collection(root / "empty", dim=4, threads=1).close()
    with Collection(root / "vectors", dim=4, threads=1) as made:
        made.add(["cat", "dog"], ["c", "d"], vectors=np.eye(2, 4))
    with serving(root, **options) as running:
        yield running
