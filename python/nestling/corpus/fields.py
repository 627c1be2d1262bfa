"""Documents, and which fields of a record they are made of."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from nestling.errors import CorpusError

__all__ = ["Document", "Fields", "table_value"]

DEFAULT_ID_FIELDS: Final = ("id", "_id")
METADATA_FIELD: Final = "metadata"
EVERY_FIELD: Final = "*"
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a corpus.

    Attributes:
        text: The body.
        id: The corpus's own name for it; None where it has none.
        title: A heading that stands apart from the body; "" where there is none.
        metadata: What else is known of it, as JSON values by name.
    """

    text: str
    id: str | None = None
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def passage(self) -> str:
        """What an encoder reads: the title, where there is one, on a line above the text."""
        return f"{self.title}\n{self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Fields:
    """Which fields of a record are a document's text, id, title and metadata.

    Attributes:
        text: Must be in every record, a string.
        id: Must be in every record where named; None takes `id` or `_id`, where there is one.
        title: Need not be there.
        metadata: Fields that become metadata beside what the record's `metadata` holds; "*" names
            all that are neither text, id nor title. A table must have them as columns.
    """

    text: str = "text"
    id: str | None = None
    title: str = "title"
    metadata: tuple[str, ...] = ()

    def check_table(self, columns: Iterable[str], where: str) -> None:
        """Raises `CorpusError` unless a table has the columns that must be there or are named."""
        names = list(columns)
        self.check(names, where)
        for name in self.metadata:
            if name not in (EVERY_FIELD, *names):
                listed = ", ".join(map(repr, names))
                raise CorpusError(
                    f"{where}: no field {name!r}; the fields here are {listed}. "
                    "Name the right ones with --metadata-fields"
                )

    def check(self, columns: Iterable[str], where: str) -> None:
        """Raises `CorpusError` unless a record holds the fields that must be in every one."""
        names = list(columns)
        for name, option in ((self.text, "--text-field"), (self.id, "--id-field")):
            if name is not None and name not in names:
                listed = ", ".join(map(repr, names)) or "none"
                raise CorpusError(
                    f"{where}: no field {name!r}; the fields here are {listed}. "
                    f"Name the right one with {option}"
                )

    def present(self, columns: Iterable[str]) -> list[str]:
        """Returns those of `columns` that a document is made of."""
        if EVERY_FIELD in self.metadata:
            return list(columns)
        wanted = {*self._own(), *self.metadata, METADATA_FIELD}
        return [name for name in columns if name in wanted]

    def document(
        self,
        record: Mapping[str, Any],
        where: str,
        *,
        value: Callable[[Any], Any] | None = None,
    ) -> Document:
        """Makes a document of one record.

        Args:
            record: Values by the names of the fields.
            where: Says in an error which record it was.
            value: Makes a JSON value of a field that becomes metadata, or None to leave it out.
        """
        self.check(record, where)
        text = record[self.text]
        if not isinstance(text, str):
            kind = "absent" if text is None else f"of type {type(text).__name__}"
            raise CorpusError(f"{where}: field {self.text!r} must be a string, but is {kind}")
        keys = DEFAULT_ID_FIELDS if self.id is None else (self.id,)
        found = next((record[key] for key in keys if record.get(key) is not None), None)
        title = record.get(self.title)
        return Document(
            text,
            id=None if found is None else str(found),
            title=title.strip() if isinstance(title, str) else "",
            metadata=self._metadata(record, where, value or _json_value),
        )

    def _own(self) -> set[str]:
        """Returns the fields that are text, title or id."""
        return {self.text, self.title, *(DEFAULT_ID_FIELDS if self.id is None else (self.id,))}

    def _metadata(
        self, record: Mapping[str, Any], where: str, value: Callable[[Any], Any]
    ) -> dict[str, Any]:
        metadata = _object(record.get(METADATA_FIELD), where)
        named: Iterable[str] = self.metadata
        if EVERY_FIELD in self.metadata:
            own = {*self._own(), METADATA_FIELD}
            # csv.DictReader keeps the cells beyond the last column under None.
            named = [name for name in record if isinstance(name, str) and name not in own]
        for name in named:
            found = value(record.get(name))
            if found is not None and name != METADATA_FIELD:
                metadata[name] = found
        return metadata


def table_value(text: object) -> str | int | float | None:
    """Returns a cell of a .csv file: a number where it is written as one; None where empty."""
    if not isinstance(text, str) or not text:
        return None
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    return int(text) if number[2] is None else float(text)


def _object(value: Any, where: str) -> dict[str, Any]:
    """Returns what a record's `metadata` holds; a table's cell has it as JSON text."""
    found = value
    if isinstance(value, str) and value.lstrip().startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(value)
    if found is None or found == "":
        return {}
    if not isinstance(found, dict):
        raise CorpusError(
            f"{where}: field {METADATA_FIELD!r} must be a JSON object, "
            f"but is of type {type(value).__name__}"
        )
    return dict(found)


def _json_value(value: Any) -> Any:
    """Returns a cell of a table as JSON has it; None where there is nothing in it."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        value = float(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
