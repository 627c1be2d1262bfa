"""Documents as they come in: checked, named, and told apart by a digest."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.collection.ingest.metadata import check_metadata, to_json
from nestling.errors import DocumentError, EncoderMismatchError, MetadataError

__all__ = ["Record", "digest_of", "document_id", "read_records"]

_KEYS: Final = frozenset({"id", "_id", "text", "title", "metadata", "vectors", "spans", "encoder"})
_DIGEST_BYTES: Final = 16

Span = tuple[int, int]


@dataclass(slots=True)
class Record:
    """A document that is to be stored.

    Attributes:
        id: Its name, unique in the collection.
        title: A heading, "" for none.
        text: The body.
        metadata: What filters ask.
        json: The metadata as JSON.
        digest: Of all the above; equal for equal documents.
        spans: Start and end of each passage in the text; None until it is split.
        vectors: (passages, dim) embeddings; None until it is encoded.
        given: Whether the vectors came with the document, so that the digest does not tell whether
            they changed.
    """

    id: str
    title: str
    text: str
    metadata: dict[str, Any]
    json: str
    digest: bytes
    spans: list[Span] | None = None
    vectors: NDArray[np.float32] | None = None
    given: bool = False


def digest_of(title: str, text: str, json: str, *, id: str = "") -> bytes:
    """Returns 16 bytes that tell a document from all others (BLAKE2b)."""
    head = f"{len(id)} {len(title)} {len(text)}\n"
    joined = "".join((head, id, title, text, json)).encode()
    return hashlib.blake2b(joined, digest_size=_DIGEST_BYTES).digest()


def document_id(text: str, *, title: str = "", metadata: Mapping[str, Any] | None = None) -> str:
    """Returns the id that a document gets where none is given: a digest of what it holds.

    So the same document added twice is stored once.

    Example:
        >>> document_id("Bread is made of flour and water.")
        'c0af3bb46d14bb04fb2ad5fabc2a2e3a'
    """
    return digest_of(title, text, to_json(check_metadata(metadata or {}))).hex()


def read_records(
    documents: Iterable[str | Mapping[str, Any]],
    ids: Iterable[str | int] | None,
    metadata: Iterable[Mapping[str, Any] | None] | None,
    vectors: Iterable[Any] | None,
    *,
    dim: int,
    fingerprint: str | None,
) -> Iterator[Record]:
    """Yields a checked record a document; vectors that tell their encoder must be of `fingerprint`.

    Raises:
        EncoderMismatchError: Vectors came with a document that another encoder made.
        DocumentError: A document is malformed; the message gives its place.
        MetadataError: Its metadata cannot be stored.
    """
    missing: Any = object()
    optional: list[Iterable[Any] | None] = [ids, metadata, vectors]
    counted = [given is not None for given in optional]
    columns: list[Iterator[Any]] = [iter(documents)]
    columns += [itertools.repeat(None) if given is None else iter(given) for given in optional]
    for place in itertools.count():
        row = [next(column, missing) for column in columns]
        if row[0] is missing:
            for name, value, is_given in zip(_COLUMNS, row[1:], counted, strict=True):
                if is_given and value is not missing:
                    raise DocumentError(f"more {name} than documents, of which there are {place:,}")
            return
        for name, value in zip(_COLUMNS, row[1:], strict=True):
            if value is missing:
                raise DocumentError(f"documents[{place}] has none of the {name}: give one each")
        try:
            record = _record(*row, place=place, dim=dim)
            if record.given and fingerprint is not None and isinstance(row[0], Mapping):
                _check_encoder(row[0].get("encoder"), fingerprint, place)
            yield record
        except MetadataError as error:
            raise MetadataError(f"documents[{place}]: {error}") from None


_COLUMNS: Final = ("ids", "metadata", "vectors")


def _record(document: Any, id: Any, metadata: Any, vectors: Any, *, place: int, dim: int) -> Record:
    where = f"documents[{place}]"
    title, spans = "", None
    if isinstance(document, str):
        text = document
    elif isinstance(document, Mapping):
        unknown = document.keys() - _KEYS
        if unknown:
            raise DocumentError(
                f"{where} has the keys {', '.join(sorted(map(repr, unknown)))}; known are id, "
                "text, title, metadata, vectors, spans and encoder: put what filters ask under "
                "'metadata'"
            )
        if "text" not in document:
            raise DocumentError(f"{where} has no 'text'")
        text = document["text"]
        title = document.get("title") or ""
        id = _first(id, document.get("id"), document.get("_id"))
        metadata = _first(metadata, document.get("metadata"))
        vectors = _first(vectors, document.get("vectors"))
        spans = document.get("spans")
    else:
        raise DocumentError(
            f"{where} is {type(document).__name__}; a document is a string, or a mapping with "
            "'text'"
        )
    _check_text(text, f"{where}: text")
    _check_text(title, f"{where}: title")
    if metadata is None:
        metadata, json = {}, "{}"
    else:
        metadata = check_metadata(metadata)
        json = to_json(metadata)
    if id is None:
        id = digest_of(title, text, json).hex()
    elif isinstance(id, int) and not isinstance(id, bool):
        id = str(id)
    else:
        _check_text(id, f"{where}: id")
        if not id:
            raise DocumentError(f"{where}: the id is empty")
    record = Record(id, title, text, metadata, json, digest_of(title, text, json, id=id))
    if vectors is not None:
        _give_vectors(record, vectors, spans, where, dim)
    elif spans is not None:
        record.spans = _checked_spans(spans, text, where)
    return record


def _check_encoder(encoder: Any, fingerprint: str, place: int) -> None:
    if encoder not in (None, fingerprint):
        raise EncoderMismatchError(
            f"documents[{place}] has vectors of another encoder (fingerprint {encoder}, not "
            f"{fingerprint}), which cannot be compared with those here: leave 'vectors' out "
            "(nestling export --no-vectors)"
        )


def _give_vectors(record: Record, vectors: Any, spans: Any, where: str, dim: int) -> None:
    try:
        array = np.asarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise DocumentError(f"{where}: vectors are no array of floats: {error}") from None
    array = array[np.newaxis] if array.ndim == 1 else array
    record.spans = (
        [(0, len(record.text))] if spans is None else _checked_spans(spans, record.text, where)
    )
    if array.shape != (len(record.spans), dim):
        raise DocumentError(
            f"{where}: vectors of shape {np.shape(vectors)}; expected ({len(record.spans)}, "
            f"{dim}), a vector a passage"
        )
    if not np.isfinite(array).all():
        raise DocumentError(f"{where}: vectors hold NaN or infinity; every value must be finite")
    record.vectors = np.ascontiguousarray(array)
    record.given = True


def _checked_spans(spans: Any, text: str, where: str) -> list[Span]:
    try:
        checked = [(int(start), int(end)) for start, end in spans]
    except (TypeError, ValueError):
        raise DocumentError(f"{where}: spans are pairs of a start and an end") from None
    before = -1
    for start, end in checked:
        if not (0 <= start <= end <= len(text) and start > before):
            raise DocumentError(
                f"{where}: the span {start}, {end} is out of order, or not in the text of "
                f"{len(text):,} characters"
            )
        before = start
    if not checked:
        raise DocumentError(f"{where}: no span, but every document has a passage")
    return checked


def _check_text(text: Any, what: str) -> None:
    if not isinstance(text, str):
        raise DocumentError(f"{what} must be a string, not {type(text).__name__}")
    if text.isascii():
        if "\0" in text:
            raise DocumentError(f"{what} has a NUL at {text.index(chr(0))}; remove it")
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DocumentError(
            f"{what} has half a surrogate pair at {error.start}, which is no Unicode text; decode "
            "the input with errors='replace'"
        ) from None
    if "\0" in text:
        raise DocumentError(f"{what} has a NUL at {text.index(chr(0))}; remove it")


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
