"""The settings that a collection is created with, stored in its database."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from nestling import _core
from nestling.collection.ingest.identity import EncoderIdentity
from nestling.collection.ingest.passages import Passages
from nestling.collection.storage.database import quoted
from nestling.errors import ArgumentError, ArgumentTypeError, FormatError
from nestling.index.arguments import positive
from nestling.index.funnel import Funnel
from nestling.index.header import METRICS, Metric
from nestling.inputs.metadata import field_value, from_json
from nestling.inputs.texts import quote, string_problem

__all__ = ["MAX_FIELDS", "MAX_TITLE_WEIGHT", "Settings", "check_fields"]

MAX_FIELDS: Final = 1_000
"""Declared fields of a collection; a table of SQLite has up to 2,000 columns."""


MAX_TITLE_WEIGHT: Final = 16
"""Times that a title counts at most: the index of words has each."""


def check_fields(names: Collection[str]) -> None:
    """Raises an error if fields cannot be declared.

    Raises:
        ArgumentError: There are more than `MAX_FIELDS`, or no document can have one.
        ArgumentTypeError: A name is not a string.
    """
    for name in names:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"the name of a field is a string, not {quote(name)}")
        if problem := string_problem(name):
            raise ArgumentError(f"the name of a field has {problem}: {quote(name)}")
    if len(names) > MAX_FIELDS:
        raise ArgumentError(
            f"{len(names):,} fields cannot be declared, at most {MAX_FIELDS:,}: declare those that "
            "filters often use; filters find the others too"
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a collection.

    Attributes:
        dim: Dimensions of an embedding.
        metric: Either "cosine" or "ip".
        funnel: How rows are stored and searched.
        encoder: Identity of the encoder; None for bare vectors.
        passages: How long documents are split; None if they are not.
        fields: Declared fields, each with the name of its column.
        title_weight: How many times the words of a title count.
        weights: Fitted shares of the dense ranking in hybrid searches, by the name of the fusion.
    """

    dim: int
    metric: Metric
    funnel: Funnel
    encoder: EncoderIdentity | None
    passages: Passages | None
    fields: dict[str, str]
    title_weight: int = 1
    weights: dict[str, float] = field(default_factory=dict)

    def save(self, connection: sqlite3.Connection) -> None:
        """Writes the settings to the database."""
        values: dict[str, Any] = {
            "dim": self.dim,
            "metric": self.metric,
            "funnel": str(self.funnel),
            "encoder": None if self.encoder is None else self.encoder.as_dict(),
            "passages": None
            if self.passages is None
            else {"size": self.passages.size, "overlap": self.passages.overlap},
            "fields": self.fields,
            "title_weight": self.title_weight,
        }
        if self.weights:
            values["weights"] = self.weights
        # Escaped, as SQLite takes no lone surrogates, which the name of an encoder may have.
        lines = {name: json.dumps(value) for name, value in values.items()}
        lines["checksum"] = json.dumps(_checksum(lines))
        connection.executemany("INSERT OR REPLACE INTO settings VALUES(?, ?)", lines.items())

    @classmethod
    def load(cls, connection: sqlite3.Connection) -> Settings:
        """Reads the settings.

        Raises:
            FormatError: They are corrupted.
        """
        try:
            lines = dict(connection.execute("SELECT name, value FROM settings"))
            values = {name: json.loads(value) for name, value in lines.items()}
            if values["checksum"] != _checksum(lines):
                raise FormatError("the checksum does not match")
            if values["metric"] not in METRICS:
                raise FormatError(f"metric {values['metric']!r}")
            fields = dict(values["fields"])
            if not all(isinstance(column, str) for column in fields.values()):
                raise FormatError("a field has no column")
            weights = {name: float(w) for name, w in dict(values.get("weights", {})).items()}
            if not all(0 <= weight <= 1 for weight in weights.values()):
                raise FormatError("a weight is not 0 to 1")
            encoder, passages = values["encoder"], values["passages"]
            return cls(
                positive("dim", values["dim"]),
                values["metric"],
                Funnel.of(values["funnel"]),
                None if encoder is None else EncoderIdentity(**encoder),
                None if passages is None else Passages(**passages),
                fields,
                positive("title_weight", values.get("title_weight", 1), MAX_TITLE_WEIGHT),
                weights,
            )
        except (ValueError, LookupError, TypeError) as error:
            raise FormatError(f"the settings in the database are corrupted: {error}") from error

    def declare(self, connection: sqlite3.Connection, names: Sequence[str]) -> Settings:
        """Adds an indexed column per field, fills it, and returns the new settings.

        Raises:
            ArgumentError: There would be too many.
        """
        check_fields(self.fields.keys() | set(names))
        fields = dict(self.fields)
        for name in names:
            if name in fields:
                continue
            column = fields[name] = f"f{len(fields)}"
            connection.execute(f"ALTER TABLE fields ADD COLUMN {quoted(column)}")
            values = (
                (field_value(from_json(text), name), row)
                for row, text in connection.execute("SELECT row, metadata FROM documents")
            )
            connection.executemany(
                f"UPDATE fields SET {quoted(column)} = ? WHERE row = ?",  # noqa: S608
                [line for line in values if line[0] is not None],
            )
            connection.execute(
                f"CREATE INDEX {quoted('by_' + column)} ON fields({quoted(column)}, passages)"
            )
        settings = replace(self, fields=fields)
        settings.save(connection)
        return settings


def _checksum(lines: Mapping[str, str]) -> str:
    """Returns the checksum of the settings, without the counters that change on their own."""
    others = ("analysed", "packed", "checksum")
    covered = sorted((k, v) for k, v in lines.items() if k not in others)
    return f"{_core.xxh64(json.dumps(covered).encode()):016x}"
