"""Batches of a source as records; those that cannot be documents are written aside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.cluster.build.source import Batch
from nestling.collection.ingest.records import Record, read_records
from nestling.corpus.fields import Fields
from nestling.corpus.log import ReadLog
from nestling.errors import CorpusError, VectorError
from nestling.inputs.bad_records import BadRecord
from nestling.inputs.vectors import matrix

__all__ = ["RecordReader", "Rejected", "vectors_of"]

_EXTRA: Final = ("spans", "encoder")


@dataclass(slots=True)
class Rejected:
    """Records that a build leaves out: counted, and written to a file, one JSON object a line.

    Attributes:
        stream: The file; None to count only.
        bad: Records that cannot be stored.
        duplicates: Documents whose id an earlier one has.
    """

    stream: IO[str] | None = None
    bad: int = 0
    duplicates: int = 0

    def add_bad(self, source: str, place: int, reason: str) -> None:
        """Counts and writes a record that cannot be stored."""
        self.bad += 1
        self._write(source=source, place=place, reason=reason)

    def add_duplicate(self, id: str) -> None:
        """Counts and writes a document whose id an earlier one has."""
        self.duplicates += 1
        self._write(id=id, reason="an earlier document has this id")

    def _write(self, **values: Any) -> None:
        if self.stream is not None:
            self.stream.write(json.dumps(values) + "\n")


@dataclass(slots=True)
class RecordReader:
    """Makes records of batches.

    Attributes:
        fields: Which fields of a record to read.
        vectors: The field that holds vectors.
        dim: Dimensions of an embedding.
        encoder: Key of the encoder, which vectors that come along must be of; None for any.
        rejected: Gets what is left out.
    """

    fields: Fields
    vectors: str
    dim: int
    encoder: str | None
    rejected: Rejected
    _places: list[int] = field(default_factory=list)

    def read(self, batch: Batch) -> list[Record]:
        """Returns the records of a batch that can be stored.

        Raises:
            EncoderMismatchError: Vectors of a record were made by another encoder.
        """
        self._places.clear()
        source = read_records(
            self._mappings(batch),
            None,
            None,
            None,
            dim=self.dim,
            encoder=self.encoder,
            on_bad_record=lambda bad: self._reject(batch, bad),
        )
        return list(source)

    def _mappings(self, batch: Batch) -> Iterator[Mapping[str, Any]]:
        log = ReadLog()
        for number, (place, record) in enumerate(zip(batch.places, batch.records, strict=True)):
            try:
                if isinstance(record, Exception):
                    raise CorpusError(str(record))
                extra = {name: record[name] for name in _EXTRA if record.get(name) is not None}
                others = {k: v for k, v in record.items() if k not in _EXTRA and k != self.vectors}
                document = self.fields.document(others, log=log)
            except CorpusError as error:
                self.rejected.add_bad(batch.url, place, str(error))
                continue
            found: dict[str, Any] = {
                "id": document.id,
                "title": document.title,
                "text": document.text,
                "metadata": document.metadata,
                **extra,
            }
            vectors: Any = record.get(self.vectors)
            if batch.vectors is not None:
                vectors = batch.vectors[number]
            if vectors is not None:
                found["vectors"] = vectors
            self._places.append(place)
            yield found

    def _reject(self, batch: Batch, bad: BadRecord) -> None:
        assert bad.line is not None  # its position among the mappings
        self.rejected.add_bad(batch.url, self._places[bad.line], bad.reason)


def vectors_of(batch: Batch, name: str, dim: int, rejected: Rejected) -> NDArray[np.float32]:
    """Returns the vectors of a batch of bare vectors, without those that cannot be stored.

    Args:
        batch: The batch.
        name: The field that holds vectors.
        dim: Dimensions of an embedding.
        rejected: Gets what is left out.
    """
    array = batch.vectors
    if array is not None and array.shape[1] == dim:
        good = np.isfinite(array).all(axis=1)
        for number in np.flatnonzero(~good).tolist():
            rejected.add_bad(batch.url, batch.places[number], "NaN or infinity")
        return array if good.all() else np.ascontiguousarray(array[good])
    rows = []
    for number, (place, record) in enumerate(zip(batch.places, batch.records, strict=True)):
        try:
            if isinstance(record, Exception):
                raise VectorError(str(record))
            if array is None and record.get(name) is None:
                raise VectorError(f"no field {name!r}")
            row = matrix(record[name] if array is None else array[number], dim, "the vector")
            if len(row) != 1 or not np.isfinite(row).all():
                raise VectorError("it is not one vector, or has NaN or infinity")
        except VectorError as error:  # noqa: PERF203 - one of many may be bad
            rejected.add_bad(batch.url, place, str(error))
        else:
            rows.append(row)
    return np.concatenate(rows) if rows else np.empty((0, dim), np.float32)
