"""The metadata fields of a collection, from which a form of filters can be made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from nestling.collection import StoredDocument
from nestling.inputs.metadata import Scalar
from nestling.server.call import Call
from nestling.server.http import Response, json_answer
from nestling.server.routing import Endpoint

__all__ = ["ENDPOINTS", "fields_of"]

_DOCUMENTS: Final = 1_000  # that are read
_FIELDS: Final = 100
_VALUES: Final = 50  # of a field
_LONGEST: Final = 200  # characters of a value that is worth to be chosen from a list


@dataclass(slots=True)
class _Seen:
    """What the documents have in one field."""

    values: Counter[tuple[type, Scalar]] = field(default_factory=Counter)
    in_lists: int = 0

    def as_json(self, name: str, *, declared: bool) -> dict[str, Any]:
        kinds = {_kind(value) for _, value in self.values}
        kind = kinds.pop() if len(kinds) == 1 else "mixed"
        found: dict[str, Any] = {"name": name, "type": kind, "declared": declared}
        if self.in_lists:
            found["list"] = True
        if not self.values:
            return found
        if kind == "number":
            numbers = [value for _, value in self.values if isinstance(value, (int, float))]
            found["min"], found["max"] = min(numbers), max(numbers)
        if kind != "number" or self.in_lists:
            short = (
                value
                for (_, value), _ in self.values.most_common()
                if not isinstance(value, str) or len(value) <= _LONGEST
            )
            found["values"] = list(islice(short, _VALUES))
        return found


def fields_of(
    documents: Iterable[StoredDocument], declared: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Returns the fields of documents' metadata, with their types and most frequent values.

    Args:
        documents: The documents.
        declared: Fields that have an index; they are listed first, also where no document has them.

    Example:
        >>> metadata = {"year": 2024, "by": {"name": "Zoe"}}
        >>> document = StoredDocument("a", "bread", "", metadata, [], 0)
        >>> [(one["name"], one["type"]) for one in fields_of([document], ["by.name"])]
        [('by.name', 'string'), ('year', 'number')]
    """
    indexed = list(declared)
    seen: dict[str, _Seen] = {name: _Seen() for name in indexed}
    for document in documents:
        for name, value, in_list in _values(document.metadata):
            if name not in seen and len(seen) >= _FIELDS:
                continue
            one = seen.setdefault(name, _Seen())
            one.values[type(value), value] += 1
            one.in_lists += in_list
    return [one.as_json(name, declared=name in indexed) for name, one in seen.items()]


def _values(metadata: Mapping[str, Any], *above: str) -> Iterator[tuple[str, Scalar, bool]]:
    """Yields each scalar with the name that a filter has for it, and whether it is in a list."""
    for key, value in metadata.items():
        if isinstance(value, Mapping):
            yield from _values(value, *above, key)
            continue
        name = ".".join((*above, key))
        if isinstance(value, list):
            scalars = (item for item in value if isinstance(item, (str, int, float)))
            yield from ((name, item, True) for item in scalars)
        elif value is not None:
            yield name, value, False


def _kind(value: Scalar) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


async def _fields(call: Call) -> Response:
    """Lists the metadata fields of a collection."""
    collection = await call.collection()

    def read() -> list[dict[str, Any]]:
        return fields_of(islice(collection.documents(), _DOCUMENTS), collection.fields)

    return json_answer({"fields": await call.service.in_thread(read)})


ENDPOINTS = (Endpoint("GET", "/collections/{name}/fields", _fields),)
