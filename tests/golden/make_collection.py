"""Makes the golden collection of the current version: `python tests/golden/make_collection.py`.

It refuses to overwrite one: every later version must read what a released version wrote.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from nestling.collection import Collection
from nestling.collection.storage import store
from nestling.collection.storage.database import FORMAT_VERSION

FOLDER = Path(__file__).parent / "collections" / f"v{FORMAT_VERSION}"
DIM = 8

DOCUMENTS = [
    {"id": "nile", "text": "The Nile flows through Cairo.", "metadata": {"year": 2021}},
    {"id": "قاهرة", "text": "القَاهِرَةُ عاصمة مِصر.", "metadata": {"year": 2022, "lang": "ar"}},
    {"id": "bread", "title": "Bread", "text": "Made of flour, and of water.", "metadata": {}},
    {"id": "gone", "text": "Removed from a segment.", "metadata": {"year": 2022}},
    {
        "id": "long",
        "text": "First comes flour. Then comes water.",
        "metadata": {"tags": ["a", "b"], "nested": {"year": 1.5}},
        "spans": [[0, 18], [19, 36]],
    },
    {"id": "pending", "text": "Waits in the database.", "metadata": {"lang": "en"}},
]


def main() -> None:
    if FOLDER.exists():
        raise SystemExit(f"{FOLDER} exists; golden files are never overwritten")
    store.PENDING_ROWS = 3  # for a segment, a merged one, and pending rows
    vectors = np.random.default_rng(1).standard_normal((7, DIM)).astype(np.float32)
    with Collection(FOLDER, dim=DIM, funnel="4@4:5 > 8@16", fields=["year"]) as collection:
        collection.add([dict(d, vectors=vectors[i]) for i, d in enumerate(DOCUMENTS[:4])])
        collection.delete("gone")
        collection.add(dict(DOCUMENTS[4], vectors=vectors[4:6]))
        store.PENDING_ROWS = 100
        collection.add(dict(DOCUMENTS[5], vectors=vectors[6]))
        hits = collection.search(vectors[1], k=5)
        expected = {
            "query": vectors[1].tolist(),
            "ids": [hit.id for hit in hits],
            "scores": [hit.score for hit in hits],
        }
    (FOLDER / "writer.lock").unlink()
    (FOLDER.parent / f"v{FORMAT_VERSION}.json").write_text(json.dumps(expected, indent=1) + "\n")
    for left in ("collection.db-wal", "collection.db-shm"):
        assert not (FOLDER / left).exists()


if __name__ == "__main__":
    main()
