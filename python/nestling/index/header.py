"""The metadata of an index file: JSON that says how the rows beside it are stored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Literal

from nestling import _core
from nestling.errors import FormatError
from nestling.index.arguments import positive
from nestling.index.cells import Cells
from nestling.index.funnel import MAX_DIM, Funnel

__all__ = ["METRICS", "Metadata", "Metric", "read_metadata", "write_metadata"]

Metric = Literal["cosine", "ip"]
METRICS: Final = ("cosine", "ip")
_KIND: Final = "index"


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of a file.

    Attributes:
        dim: Dimensions of an embedding.
        metric: Either "cosine" or "ip".
        funnel: The funnel that rows are stored for.
        rows: Rows stored, removed ones too.
        cells: How rows are partitioned; None where they are not.
        cell_rows: How many rows are in cells: the first ones.
        centroid_blocks: Blocks of each level of the tree of centroids; empty without cells.
    """

    dim: int
    metric: Metric
    funnel: Funnel
    rows: int
    cells: Cells | None
    cell_rows: int
    centroid_blocks: tuple[int, ...]


def write_metadata(
    stored: _core.FileMetadata,
    *,
    dim: int,
    metric: Metric,
    funnel: Funnel,
    cells: Cells | None,
) -> str:
    """Returns the metadata as JSON.

    Args:
        stored: What the file holds. After a compaction it may hold fewer cells than `cells` says.
        dim: Dimensions of an embedding.
        metric: Either "cosine" or "ip".
        funnel: The funnel that rows are stored for.
        cells: The cells of the index, for how many of them a search probes.
    """
    fields: dict[str, object] = {
        "kind": _KIND,
        "dim": dim,
        "metric": metric,
        "funnel": str(funnel),
        "rows": stored.rows,
        "nestling": _core.__version__,
    }
    count = stored.cells.count
    if cells is not None and count > 0:
        by_score = {"typical": cells.typical, "halving": cells.halving}
        fields["cells"] = {
            "count": count,
            "probes": min(cells.probes, count),
            "adaptive": cells.adaptive,
            "spill": stored.cells.spill,
            "dims": stored.cells.dims,
            "links": stored.cells.links,
            "rows": stored.cell_rows,
            "centroid_blocks": stored.centroid_blocks,
            **(by_score if cells.halving > 0 else {}),
        }
    return json.dumps(fields)


def read_metadata(text: bytes) -> Metadata:
    """Reads the metadata that `write_metadata` wrote.

    Raises:
        FormatError: It is a nestling file, but not an index.
        ValueError, LookupError, TypeError: A field is missing or of another type.
    """
    fields = json.loads(text)
    if fields["kind"] != _KIND or fields["metric"] not in METRICS:
        raise FormatError("a nestling file, but not an index")
    stored = dict(fields.get("cells") or {})
    cell_rows = stored.pop("rows", 0)
    centroid_blocks = tuple(stored.pop("centroid_blocks", ()))
    return Metadata(
        positive("dim", fields["dim"], MAX_DIM),
        fields["metric"],
        Funnel.of(fields["funnel"]),
        fields["rows"],
        Cells(**stored) if stored else None,
        cell_rows,
        centroid_blocks,
    )
