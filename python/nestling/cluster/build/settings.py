"""The settings of a build."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from nestling._util.unset import UNSET, Unset
from nestling._util.value import Value
from nestling.cluster.manifest import ShardKind
from nestling.collection.ingest.passages import Passages
from nestling.collection.storage.settings import MAX_TITLE_WEIGHT
from nestling.corpus.fields import Fields
from nestling.errors import ArgumentError
from nestling.index.arguments import positive
from nestling.index.cells import Cells
from nestling.index.header import Metric

__all__ = ["BuildSettings", "Routing"]

Routing = Literal["rows", "cells"]
"""How documents are assigned to shards: in the order of the source, or by the nearest centroid."""


_SAMPLE: Final = 65_536  # records
_ENCODED_SAMPLE: Final = 4_096  # which take seconds to encode
_PER_CELL: Final = 48  # as many as the centroids are learned from
_ENCODED_PER_CELL: Final = 24
_MOST_SAMPLED: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class BuildSettings(Value):
    """What a build makes of its source, and what its tasks may use.

    Attributes:
        kind: "collection" for documents, "index" for bare vectors, whose ids are the numbers of
            their rows. None: documents where the records have a text.
        metric: Either "cosine" or "ip".
        funnel: How rows are stored and searched. Default: `default_funnel` of the dimensions and of
            the nesting dims of the encoder.
        passages: How documents are split; None to store each as one passage. Default: `Passages()`.
        title_weight: How many times the words of a title count in searches for words.
        fields: Metadata fields that filters often use: each gets an index in every shard.
        record: Which fields of a record are its text, id, title and metadata.
        vectors: The field that holds vectors: one, or one for each of the record's "spans". Records
            without them are encoded.
        rotate: Whether all shards share a rotation that is learned from a sample, as
            `Index.rebuild` does.
        centre: Whether they share a centre, as `Index.rebuild` does.
        cells: How each shard's rows are partitioned; None or 0 for not at all. All shards share the
            centroids, unless `routing` is "cells": then each learns them from its own rows.
        routing: "rows" fills shards in the order of the source; "cells" puts documents that are
            near one another into the same shard, so that a search can be sent to some shards.
        sample: Records, spread evenly over the source, that are read to learn what shards share.
            Default: 65,536, or 4,096 if they have to be encoded; if shards share centroids, at
            least 48 for each cell, or 24 if they have to be encoded, but at most 1,048,576.
        threads: Cores that a task may use.
        memory: Bytes that a task needs, which Ray keeps free for it; 0 not to say.
        retries: How often Ray runs a task again that was killed, or whose storage failed.

    Raises:
        ArgumentError: A value is out of range.

    Example:
        >>> BuildSettings(rotate=True, cells=1_000).threads
        1
    """

    kind: ShardKind | None = None
    metric: Metric = "cosine"
    funnel: str | None = None
    passages: Passages | Unset | None = UNSET
    title_weight: int = 1
    fields: tuple[str, ...] = ()
    record: Fields = field(default_factory=Fields)
    vectors: str = "vectors"
    rotate: bool = False
    centre: bool = False
    cells: Cells | int | None = None
    routing: Routing = "rows"
    sample: int | None = None
    threads: int = 1
    memory: int = 0
    retries: int = 5

    def __post_init__(self) -> None:
        if self.kind not in (None, *get_args(ShardKind)):
            raise ArgumentError(f"kind must be 'collection' or 'index', not {self.kind!r}")
        if self.routing not in get_args(Routing):
            raise ArgumentError(f"routing must be 'rows' or 'cells', not {self.routing!r}")
        positive("threads", self.threads)
        if self.sample is not None:
            positive("sample", self.sample)
        positive("title_weight", self.title_weight, MAX_TITLE_WEIGHT)
        for name in ("memory", "retries"):
            if getattr(self, name) < 0:
                raise ArgumentError(f"{name} must be at least 0, not {getattr(self, name)}")

    @property
    def shares_cells(self) -> bool:
        """Whether shards have cells, with the same centroids."""
        return self.cells not in (None, 0) and self.routing == "rows"

    @property
    def learns_template(self) -> bool:
        """Whether shards share something that is learned from a sample."""
        return self.rotate or self.centre or self.shares_cells

    def sample_size(self, *, encoded: bool) -> int:
        """Returns how many records are read to learn what shards share.

        Args:
            encoded: Whether they have to be encoded first.

        Example:
            >>> BuildSettings(cells=8_000).sample_size(encoded=False)
            384000
        """
        if self.sample is not None:
            return self.sample
        least = _ENCODED_SAMPLE if encoded else _SAMPLE
        if not self.shares_cells:
            return least
        count = self.cells.count if isinstance(self.cells, Cells) else self.cells or 0
        per_cell = _ENCODED_PER_CELL if encoded else _PER_CELL
        return max(least, min(per_cell * count, _MOST_SAMPLED))

    def identity(self) -> dict[str, Any]:
        """Returns what of the settings changes the shards, as JSON values.

        Example:
            >>> BuildSettings(kind="index").identity()["kind"]
            'index'
        """
        names = ("kind", "metric", "funnel", "title_weight", "vectors", "rotate", "centre")
        return {
            **{name: getattr(self, name) for name in names},
            "routing": self.routing,
            "passages": repr(self.passages),
            "fields": list(self.fields),
            "record": repr(self.record),
            "cells": repr(self.cells),
            "sample": self.sample,  # by default it follows from the rest
        }
