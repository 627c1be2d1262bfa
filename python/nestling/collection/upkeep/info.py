"""What a collection tells of itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from nestling.collection.ingest.encoder import EncoderIdentity
from nestling.collection.ingest.passages import Passages
from nestling.collection.storage.store import Store
from nestling.index.funnel import Funnel
from nestling.index.header import Metric

__all__ = ["CollectionInfo", "info"]


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection as of one commit.

    Attributes:
        documents: Documents stored.
        passages: Their passages, a row each.
        dim: Dimensions of an embedding.
        metric: Either "cosine" or "ip".
        funnel: How rows are stored and searched.
        encoder: Which encoder; None for bare vectors.
        split: How long documents are split; None for not at all.
        fields: The declared fields.
        segments: Files that hold rows.
        pending: Rows that are in the database, and in no segment yet.
        removed: Rows that are gone, but still take room in a segment.
        memory: Bytes that the rows take, by part, as of `Index.memory`.
        disk: Bytes of the database and the segments.
    """

    documents: int
    passages: int
    dim: int
    metric: Metric
    funnel: Funnel
    encoder: EncoderIdentity | None
    split: Passages | None
    fields: tuple[str, ...]
    segments: int
    pending: int
    removed: int
    memory: dict[str, int]
    disk: int


def info(store: Store) -> CollectionInfo:
    """Returns the facts of a store's last commit."""
    with store.reading() as (connection, view):
        documents, rows = connection.execute("SELECT documents, rows FROM state").fetchone()
    settings = view.settings
    memory: Counter[str] = Counter()
    for part in view.parts:
        memory.update(part.index.memory)
    files = [part.segment.bytes for part in view.segments if part.segment is not None]
    return CollectionInfo(
        documents,
        rows,
        settings.dim,
        settings.metric,
        view.template.funnel,
        settings.encoder,
        settings.passages,
        tuple(settings.fields),
        len(view.segments),
        len(view.pending.index),
        sum(part.dead for part in view.segments),
        dict(memory),
        sum(files) + _size(store.database.path),
    )


def _size(database: Path) -> int:
    """Returns the bytes of a database and of its log, where changes wait to be folded in."""
    log = database.with_name(f"{database.name}-wal")
    return database.stat().st_size + (log.stat().st_size if log.is_file() else 0)
