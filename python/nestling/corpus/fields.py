"""Documents, and the fields of a record that make one."""

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
    r"""One document of a corpus.

    Attributes:
        text: The body.
        id: Its id in the corpus; None where it has none.
        title: A heading apart from the body; "" where there is none.
        metadata: Further facts, as JSON values by name.

    Example:
        >>> Document("Flour and water.", id="b1", title="Bread").passage
        'Bread\nFlour and water.'
    """

    text: str
    id: str | None = None
    title: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def passage(self) -> str:
        """The text for an encoder: the title, where there is one, on a line above the body."""
        return f"{self.title}\n{self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Fields:
    """Which fields of a record are a document's text, id, title and metadata.

    Attributes:
        text: Required in every record, as a string.
        id: Required in every record if named; None uses `id` or `_id`, where present.
        title: Optional in a record.
        metadata: Fields that become metadata in addition to the `metadata` of the record; "*" names
            all that are neither text, id nor title. A table must have them as columns.

    Example:
        >>> fields = Fields(text="body", metadata=("year",))
        >>> fields.document({"_id": "b1", "body": "Flour and water.", "year": 2024}, "line 1")
        Document(text='Flour and water.', id='b1', title='', metadata={'year': 2024})
    """

    text: str = "text"
    id: str | None = None
    title: str = "title"
    metadata: tuple[str, ...] = ()

    def check_table(self, columns: Iterable[str], where: str) -> None:
        """Raises `CorpusError` unless a table has all required and named columns.

        Example:
            >>> Fields().check_table(["id", "text"], "a.csv, line 1")
        """
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
        """Raises `CorpusError` unless a record has all required fields.

        Example:
            >>> Fields().check({"id": 1}, "line 3")
            Traceback (most recent call last):
            nestling.errors.CorpusError: line 3: no field 'text'; the fields here are 'id'. ...
        """
        names = list(columns)
        for name, option in ((self.text, "--text-field"), (self.id, "--id-field")):
            if name is not None and name not in names:
                listed = ", ".join(map(repr, names)) or "none"
                raise CorpusError(
                    f"{where}: no field {name!r}; the fields here are {listed}. "
                    f"Name the right one with {option}"
                )

    def present(self, columns: Iterable[str]) -> list[str]:
        """Returns those of `columns` that are read.

        Example:
            >>> Fields(metadata=("year",)).present(["id", "text", "year", "pages"])
            ['id', 'text', 'year']
        """
        if EVERY_FIELD in self.metadata:
            return list(columns)
        named = {*self._own(), *self.metadata, METADATA_FIELD}
        return [name for name in columns if name in named]

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
            where: The place of the record, for error messages.
            value: Converts a field that becomes metadata to JSON; None leaves the field out.

        Raises:
            CorpusError: A required field is missing, or has another type.

        Example:
            >>> Fields().document({"id": 7, "text": "Water is wet."}, "line 1").id
            '7'
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
    """Returns the value of a .csv cell: a number where it is written as one; None where empty.

    Example:
        >>> [table_value(text) for text in ("2020", "0.5", "007", "")]
        [2020, 0.5, '007', None]
    """
    if not isinstance(text, str) or not text:
        return None
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    return int(text) if number[2] is None else float(text)


def _object(value: Any, where: str) -> dict[str, Any]:
    """Returns the `metadata` of a record; the cell of a table holds it as JSON text."""
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
    """Returns the cell of a table as a JSON value; None for an empty cell."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        value = float(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    return value
