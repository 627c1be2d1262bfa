"""Facts about a collection: its contents, settings and size."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from nestling._util.value import Value
from nestling.collection.ingest.identity import EncoderIdentity
from nestling.collection.ingest.passages import Passages
from nestling.collection.storage.state import State
from nestling.collection.storage.store import Store
from nestling.collection.upkeep.compaction import disk_size
from nestling.index.cells import Cells
from nestling.index.funnel import Funnel
from nestling.index.header import Metric

__all__ = ["CollectionInfo", "info"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CollectionInfo(Value):
    """A collection as of one commit.

    Attributes:
        documents: Documents stored.
        passages: Their passages, one row each.
        dim: Dimensions of an embedding.
        metric: Either "cosine" or "ip".
        funnel: How rows are stored and searched.
        encoder: Identity of the encoder; None for bare vectors.
        split: How documents are split; None if they are not.
        title_weight: How many times the words of a title count.
        fields: The declared fields.
        segments: Files that hold rows.
        pending: Rows that are in the database and not in a segment yet.
        removed: Rows that were removed but still take room in a segment.
        memory: Bytes in memory by part, as in `Index.memory`, and of the words.
        disk: Bytes of the database and the segments.
        cells: The cells of the largest segment; None where a search scores all rows.

    Example:
        >>> with nestling.Collection("notes", dim=2) as notes:
        ...     _ = notes.add("bread", vectors=[1, 0])
        ...     info = notes.info()
        >>> info.documents, info.pending, info.segments
        (1, 1, 0)
    """

    documents: int
    passages: int
    dim: int
    metric: Metric
    funnel: Funnel
    encoder: EncoderIdentity | None
    split: Passages | None
    title_weight: int
    fields: tuple[str, ...]
    segments: int
    pending: int
    removed: int
    memory: dict[str, int]
    disk: int
    cells: Cells | None = None


def info(store: Store) -> CollectionInfo:
    """Returns the facts about a store's last commit."""
    with store.reading() as (connection, view):
        state = State.read(connection)
    settings = view.settings
    memory: Counter[str] = Counter()
    for part in view.parts:
        memory.update(part.index.memory)
        memory["words"] += part.words.memory
    return CollectionInfo(
        state.documents,
        state.rows,
        settings.dim,
        settings.metric,
        view.template.funnel,
        settings.encoder,
        settings.passages,
        settings.title_weight,
        tuple(settings.fields),
        len(view.segments),
        len(view.pending.index),
        sum(part.dead for part in view.segments),
        dict(memory),
        disk_size(store),
        max(view.parts, key=lambda part: len(part.index)).index.cells,
    )
