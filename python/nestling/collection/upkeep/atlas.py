"""Collections as maps: a Parquet file that Embedding Atlas opens.

A row for each passage, with its place on the first two principal axes of the embeddings (`x`, `y`)
and its nearest neighbours, which the collection itself finds. Embedding Atlas takes neighbours as
`{"ids": [...], "distances": [...]}`, where ids are numbers of rows in the file, from 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.atomic import new_file
from nestling._util.progress import ProgressBar
from nestling.collection.query.filters import compile_filter
from nestling.collection.storage import documents
from nestling.collection.storage.documents import StoredDocument
from nestling.collection.storage.store import Store
from nestling.collection.storage.view import View
from nestling.collection.upkeep.transfer import load_pyarrow
from nestling.errors import ArgumentError
from nestling.index.transform import learn_rotation

__all__ = ["COLUMNS", "export_atlas"]

# The columns of every file; those of the metadata follow.
COLUMNS: Final = ("id", "passage", "title", "text", "x", "y", "neighbors")

_BATCH: Final = 1_000  # passages that are searched for, or documents that are written, together
_SAMPLE: Final = 65_536  # passages whose principal axes are taken
_METADATA: Final = "metadata"  # the column of values that do not fit a column of their own

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Map:
    """What is known of the passages before their texts are written.

    Attributes:
        rows: Their rows, sorted.
        places: (n, 2) float32.
        neighbours: (n, k) numbers of rows in the file; -1 where there are fewer.
        distances: (n, k) float32.
    """

    rows: Rows
    places: NDArray[np.float32]
    neighbours: Rows
    distances: NDArray[np.float32]


def export_atlas(
    store: Store, path: Path, where: Mapping[str, Any] | None, *, neighbours: int
) -> int:
    """Writes the passages of one commit as a map, and returns how many.

    Raises:
        ArgumentError: The name does not end in .parquet.
        PackageError: pyarrow is not installed.
        StorageError: The operating system refused to write.
    """
    if path.suffix.lower() != ".parquet":
        raise ArgumentError(f"{path}: the name of a map must end in .parquet")
    pyarrow = load_pyarrow()
    with store.reading() as (connection, view), new_file(path) as staged:
        chosen = compile_filter({} if where is None else where, view.settings.fields)

        def found() -> Iterator[StoredDocument]:
            return documents.documents_where(connection, chosen.sql, chosen.parameters)

        rows: list[int] = []
        fields = _Fields(pyarrow)
        for document in found():
            rows.extend(range(document.row, document.row + len(document.spans)))
            fields.see(document.metadata)
        drawn = _draw(view, np.array(rows, np.int64), neighbours, filtered=where is not None)
        schema = fields.schema()
        with (
            ProgressBar("exporting", total=len(rows)) as bar,
            pyarrow.parquet.ParquetWriter(staged, schema) as writer,
        ):
            records = _records(found(), drawn, fields)
            while page := list(islice(records, _BATCH)):
                writer.write_table(pyarrow.Table.from_pylist(page, schema=schema))
                bar.advance(len(page))
    return len(rows)


class _Fields:
    """Columns of the metadata: a field has one if all its values are of one scalar type."""

    def __init__(self, pyarrow: Any) -> None:
        self._arrow = pyarrow
        self._types: dict[str, set[type]] = {}

    def see(self, metadata: Mapping[str, Any]) -> None:
        for name, value in metadata.items():
            if value is not None:
                self._types.setdefault(name, set()).add(type(value))

    def schema(self) -> Any:
        """Returns the types of all columns."""
        arrow = self._arrow
        neighbours = [
            ("ids", arrow.list_(arrow.int64())),
            ("distances", arrow.list_(arrow.float32())),
        ]
        columns = [
            ("id", arrow.string()),
            ("passage", arrow.int64()),
            ("title", arrow.string()),
            ("text", arrow.string()),
            ("x", arrow.float32()),
            ("y", arrow.float32()),
            ("neighbors", arrow.struct(neighbours)),
        ]
        kinds = {
            str: arrow.string(),
            bool: arrow.bool_(),
            int: arrow.int64(),
            float: arrow.float64(),
        }
        own = {name: kinds[kind] for name, kind in self._own().items()}
        columns += [(self._column(name), kind) for name, kind in own.items()]
        if len(own) < len(self._types):
            columns.append((_METADATA, arrow.string()))
        return arrow.schema(columns)

    def values(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the columns of a document; what fits none is JSON in one column."""
        own = self._own()
        columns = {self._column(name): metadata.get(name) for name in own}
        others = {name: value for name, value in metadata.items() if name not in own}
        if others:
            columns[_METADATA] = json.dumps(others, ensure_ascii=False)
        return columns

    def _own(self) -> dict[str, type]:
        found: dict[str, type] = {}
        for name, types in self._types.items():
            if types == {int, float}:
                found[name] = float
            elif len(types) == 1 and not types & {dict, list}:
                (found[name],) = types
        return found

    @staticmethod
    def _column(name: str) -> str:
        taken = name in COLUMNS or name == _METADATA
        return f"{_METADATA}.{name}" if taken else name


def _draw(view: View, rows: Rows, neighbours: int, *, filtered: bool) -> _Map:
    places = np.zeros((len(rows), 2), np.float32)
    near = np.full((len(rows), neighbours), -1, np.int64)
    distances = np.zeros((len(rows), neighbours), np.float32)
    if not len(rows):
        return _Map(rows, places, near, distances)
    sample = view.reconstruct(rows[:: -(-len(rows) // _SAMPLE)])
    centre = sample.mean(axis=0)
    axes = learn_rotation(sample)[:2]
    cosine = view.template.metric == "cosine"
    with ProgressBar("finding neighbours", total=len(rows)) as bar:
        for start in range(0, len(rows), _BATCH):
            batch = slice(start, start + _BATCH)
            vectors = view.reconstruct(rows[batch])
            places[batch, : len(axes)] = (vectors - centre) @ axes.T
            if neighbours:
                # One more, because a passage is the nearest to itself.
                found = view.search(vectors, neighbours + 1, allowed=rows if filtered else None)
                for place, (ids, scores) in enumerate(zip(found.ids, found.scores, strict=True)):
                    others = (ids >= 0) & (ids != rows[start + place])
                    best = np.searchsorted(rows, ids[others])[:neighbours]
                    near[start + place, : len(best)] = best
                    score = scores[others][:neighbours]
                    away = np.maximum(1 - score, 0) if cosine else -score
                    distances[start + place, : len(best)] = away
            bar.advance(len(vectors))
    return _Map(rows, places, near, distances)


def _records(
    found: Iterator[StoredDocument], drawn: _Map, fields: _Fields
) -> Iterator[dict[str, Any]]:
    place = 0
    for document in found:
        shared = {"id": document.id, "title": document.title, **fields.values(document.metadata)}
        for passage, (start, end) in enumerate(document.spans):
            x, y = drawn.places[place].tolist()
            near = drawn.neighbours[place]
            known = near >= 0
            yield {
                **shared,
                "passage": passage,
                "text": document.text[start:end],
                "x": x,
                "y": y,
                "neighbors": {
                    "ids": near[known].tolist(),
                    "distances": drawn.distances[place][known].tolist(),
                },
            }
            place += 1
