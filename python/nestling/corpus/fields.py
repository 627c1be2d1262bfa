"""Documents, and the fields of a record that make one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from nestling._util.value import Value
from nestling.corpus.log import ReadLog
from nestling.corpus.values import id_of, is_missing, json_value
from nestling.errors import CorpusError, DocumentError, IdError, MetadataError
from nestling.inputs.texts import MAX_TEXT_CHARACTERS, check_text, quote

__all__ = ["Document", "Fields", "parse_json"]

DEFAULT_ID_FIELDS: Final = ("id", "_id")
METADATA_FIELD: Final = "metadata"
EVERY_FIELD: Final = "*"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Document(Value):
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


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Fields(Value):
    """Which fields of a record are a document's text, id, title and metadata.

    Attributes:
        text: Required in every record, as a string.
        id: Required in every record if named; None uses `id` or `_id`, where present.
        title: Optional in a record.
        metadata: Fields that become metadata in addition to the `metadata` of the record, whose
            entries of the same name they replace; "*" names all that are neither text, id nor
            title. A table must have them as columns.

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
        """Raises `CorpusError` unless a table has all required and named columns, once each.

        Example:
            >>> Fields().check_table(["id", "text"], "a.csv, line 1")
        """
        names = list(columns)
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise CorpusError(f"{where}: two columns are called {twice!r}; rename one")
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
        names = columns if isinstance(columns, Mapping) else list(columns)
        for name, option in ((self.text, "--text-field"), (self.id, "--id-field")):
            if name is not None and name not in names:
                listed = ", ".join(map(repr, names)) or "none"
                place = f"{where}: " if where else ""
                raise CorpusError(
                    f"{place}no field {name!r}; the fields here are {listed}. "
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

    def metadata_columns(self, columns: Iterable[str]) -> list[str]:
        """Returns those of `columns` that become metadata under their own names.

        Example:
            >>> Fields(metadata=("*",)).metadata_columns(["id", "text", "year", "metadata"])
            ['year']
        """
        every = EVERY_FIELD in self.metadata
        own = {*self._own(), METADATA_FIELD} if every else {METADATA_FIELD}
        return [name for name in columns if name not in own and (every or name in self.metadata)]

    def document(
        self, record: Mapping[str, Any], where: str = "", *, log: ReadLog | None = None
    ) -> Document:
        """Makes a document of one record; its values become JSON values (`nestling.corpus.values`).

        Args:
            record: Values by the names of the fields.
            where: The place of the record, for error messages.
            log: Counts what is replaced.

        Raises:
            CorpusError: A required field is missing, or a value cannot be stored.

        Example:
            >>> Fields().document({"id": 7, "text": "Water is wet."}, "line 1").id
            '7'
        """
        self.check(record, where)
        try:
            return self.checked(record, log or ReadLog())
        except (DocumentError, IdError, MetadataError) as error:
            raise CorpusError(f"{where}: {error}" if where else str(error)) from error

    def checked(self, record: Mapping[str, Any], log: ReadLog) -> Document:
        """Makes a document of one record that has the required fields.

        Raises:
            DocumentError, IdError, MetadataError: A value cannot be stored.

        Example:
            >>> Fields().checked({"id": 7, "text": "Water is wet."}, ReadLog()).id
            '7'
        """
        text = self._text(record, self.text, log)
        title = record.get(self.title)
        title = "" if title is None or is_missing(title) else self._text(record, self.title, log)
        if len(title) + len(text) > MAX_TEXT_CHARACTERS:
            raise DocumentError(
                f"title and text have {len(title) + len(text):,} characters; a document may have "
                f"at most {MAX_TEXT_CHARACTERS:,}: split it"
            )
        metadata = self._metadata(record, log)
        return Document(text, id=self._id(record), title=title, metadata=metadata)

    def _text(self, record: Mapping[str, Any], name: str, log: ReadLog) -> str:
        text = record[name]
        if not isinstance(text, str):
            kind = "absent" if is_missing(text) else quote(text)
            raise DocumentError(f"field {name!r} must be a string, but is {kind}")
        return check_text(log.text(text), f"field {name!r}")

    def _id(self, record: Mapping[str, Any]) -> str | None:
        if self.id is not None:
            found = id_of(record[self.id])
            if found is None:
                raise IdError(f"field {self.id!r}, which holds the id, is empty")
            return found
        first, second = (id_of(record.get(name)) for name in DEFAULT_ID_FIELDS)
        if first is not None and second is not None and first != second:
            raise IdError(
                f"two ids, 'id' {quote(first)} and '_id' {quote(second)}; name the right field "
                "with --id-field"
            )
        return second if first is None else first

    def _own(self) -> set[str]:
        """Returns the fields that are text, title or id."""
        return {self.text, self.title, *(DEFAULT_ID_FIELDS if self.id is None else (self.id,))}

    def _metadata(self, record: Mapping[str, Any], log: ReadLog) -> dict[str, Any]:
        metadata = _object(record.get(METADATA_FIELD), log)
        for name in self.metadata_columns(record) if self.metadata else ():
            try:
                found = json_value(record[name], log, 1)
            except MetadataError as error:
                raise MetadataError(f"field {quote(name)}: {error}") from None
            if found is not None:
                metadata[log.text(name)] = found
        return metadata


def parse_json(text: str) -> Any:
    """Returns the value of a JSON text.

    Raises:
        ValueError: It is not JSON, or an object has a key twice.
        RecursionError: It is nested too deep.

    Example:
        >>> parse_json('{"text": "a", "text": "b"}')
        Traceback (most recent call last):
        ValueError: the key 'text' is given twice
    """
    return _DECODER.decode(text)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {quote(twice)} is given twice")
    return found


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_distinct)


def _object(value: Any, log: ReadLog) -> dict[str, Any]:
    """Returns the `metadata` of a record; the cell of a table holds it as JSON text."""
    found = value
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            found = parse_json(value)
        except (ValueError, RecursionError) as error:
            raise MetadataError(f"field {METADATA_FIELD!r} is not JSON: {error}") from None
    if is_missing(found) or found == "":
        return {}
    if not isinstance(found, Mapping):
        raise MetadataError(
            f"field {METADATA_FIELD!r} must be a JSON object, but is {quote(found)}"
        )
    try:
        plain: dict[str, Any] = json_value(found, log)
    except MetadataError as error:
        raise MetadataError(f"{METADATA_FIELD}{error}") from None
    return plain
