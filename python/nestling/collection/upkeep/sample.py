"""Passages of a collection with their embeddings, to train on."""

from __future__ import annotations

import sqlite3

import numpy as np
from numpy.typing import NDArray

from nestling.collection.storage import documents
from nestling.collection.storage.view import View

__all__ = ["sample_passages"]


def sample_passages(
    connection: sqlite3.Connection, view: View, most: int
) -> tuple[list[str], NDArray[np.float32]]:
    """Returns the texts and the stored embeddings of at most `most` passages, evenly spaced.

    Args:
        connection: A transaction that sees the same commit as the view.
        view: The rows.
        most: Most passages.

    Raises:
        FormatError: A document is corrupted.
    """
    rows = np.concatenate(
        [np.empty(0, np.int64), *(np.sort(part.index.ids) + part.first for part in view.filled)]
    )
    if len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
    chosen = set(rows.tolist())
    texts = {
        row: text
        for part in view.filled
        for row, text in documents.passages_between(connection, part.first, part.last)
        if row in chosen
    }
    found = np.array([row for row in rows.tolist() if row in texts], np.int64)
    return [texts[row] for row in found.tolist()], view.reconstruct(found)
