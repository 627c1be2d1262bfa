"""A folder of collections, and a model, for tests that send a server anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tiny_models import make_folder

from nestling import Collection, Encoder
from nestling.collection import Passages

DIM = 4


def fill(folder: Path) -> dict[str, Any]:
    """Makes the collections "notes" and "library" in `folder/root`.

    Returns:
        What `serving` needs beside that folder.
    """
    model = make_folder(folder)
    root = folder / "root"
    root.mkdir()
    rows = np.random.default_rng(1).standard_normal((50, DIM))
    with Collection(root / "notes", dim=DIM, fields=["year"]) as notes:
        ids = [f"d{i}" for i in range(50)]
        notes.add(map(str, range(50)), ids, ({"year": i} for i in range(50)), vectors=rows)
    with Collection(root / "library", Encoder(model), passages=Passages(40, 0)) as library:
        library.add(["cat dog. sun moon", "مرحبا 😀", "read write"], ["a", "b", "c"])
    return {
        "models": (str(model),),
        "max_body_bytes": 1_000_000,
        "backups": str(folder / "backups"),
    }
