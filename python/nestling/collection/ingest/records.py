"""Documents as they come in: checked, given an id, and compared by a digest."""

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
    """A document before it is stored.

    Attributes:
        id: Its id, unique in the collection.
        title: A heading, "" for none.
        text: The body.
        metadata: The values that filters compare.
        json: The metadata as JSON.
        digest: Digest of all of these; equal for equal documents.
        spans: Start and end of each passage in the text; None until it is split.
        vectors: (passages, dim) float32 embeddings; None until it is encoded.
        has_own_vectors: Whether the vectors came with the document. The digest does not cover
            them, so such a document always replaces the stored one.
    """

    id: str
    title: str
    text: str
    metadata: dict[str, Any]
    json: str
    digest: bytes
    spans: list[Span] | None = None
    vectors: NDArray[np.float32] | None = None
    has_own_vectors: bool = False


def digest_of(title: str, text: str, json: str, *, id: str = "") -> bytes:
    """Returns a document's digest, 16 bytes of BLAKE2b."""
    head = f"{len(id)} {len(title)} {len(text)}\n"
    joined = "".join((head, id, title, text, json)).encode()
    return hashlib.blake2b(joined, digest_size=_DIGEST_BYTES).digest()


def document_id(text: str, *, title: str = "", metadata: Mapping[str, Any] | None = None) -> str:
    """Returns the id of a document that comes without one: a digest of its contents.

    So a document that is added twice is stored once.

    Args:
        text: The body.
        title: The heading.
        metadata: JSON values by name.

    Returns:
        32 hexadecimal digits.

    Raises:
        MetadataError: The metadata cannot be stored.

    Example:
        >>> document_id("Bread is made of flour and water.")
        '17a808bf54fe4ab6496e2f8a051cc1ee'
    """
    return digest_of(title, text, to_json(check_metadata(metadata or {}))).hex()


def read_records(
    documents: Iterable[str | Mapping[str, Any]],
    ids: Iterable[str | int] | None,
    metadata: Iterable[Mapping[str, Any] | None] | None,
    vectors: Iterable[Any] | None,
    *,
    dim: int,
    encoder: str | None,
) -> Iterator[Record]:
    """Yields a checked record per document.

    Args:
        documents: Texts, or mappings with "text" and optional further keys.
        ids: One id per document, or None.
        metadata: One object per document, or None.
        vectors: One embedding, (dim,) or (passages, dim), per document, or None.
        dim: Dimensions of an embedding.
        encoder: Key of the collection's encoder. A document that names its "encoder" must name it.

    Raises:
        EncoderMismatchError: Vectors of a document were made by another encoder.
        DocumentError: A document is malformed; the message gives its position.
        MetadataError: Its metadata cannot be stored.
    """
    missing: Any = object()
    optional: list[Iterable[Any] | None] = [ids, metadata, vectors]
    present = [column is not None for column in optional]
    columns: list[Iterator[Any]] = [iter(documents)]
    columns += [itertools.repeat(None) if column is None else iter(column) for column in optional]
    for position in itertools.count():
        row = [next(column, missing) for column in columns]
        if row[0] is missing:
            for name, value, is_present in zip(_COLUMNS, row[1:], present, strict=True):
                if is_present and value is not missing:
                    raise DocumentError(f"there are more {name} than the {position:,} documents")
            return
        for name, value in zip(_COLUMNS, row[1:], strict=True):
            if value is missing:
                raise DocumentError(
                    f"documents[{position}] has no entry in {name}: give one per document"
                )
        try:
            record = _record(*row, position=position, dim=dim)
            if record.has_own_vectors and encoder is not None and isinstance(row[0], Mapping):
                _check_encoder(row[0].get("encoder"), encoder, position)
            yield record
        except MetadataError as error:
            raise MetadataError(f"documents[{position}]: {error}") from None


_COLUMNS: Final = ("ids", "metadata", "vectors")


def _record(
    document: Any, id: Any, metadata: Any, vectors: Any, *, position: int, dim: int
) -> Record:
    where = f"documents[{position}]"
    title, spans = "", None
    if isinstance(document, str):
        text = document
    elif isinstance(document, Mapping):
        unknown = document.keys() - _KEYS
        if unknown:
            raise DocumentError(
                f"{where} has the unknown keys {', '.join(sorted(map(repr, unknown)))}; known keys "
                "are id, text, title, metadata, vectors, spans and encoder; put values to filter "
                "by under 'metadata'"
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
            f"{where} is of type {type(document).__name__}; a document is a string or a mapping "
            "with 'text'"
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
        _set_vectors(record, vectors, spans, where, dim)
    elif spans is not None:
        record.spans = _checked_spans(spans, text, where)
    return record


def _check_encoder(named: Any, encoder: str, position: int) -> None:
    if named not in (None, encoder):
        raise EncoderMismatchError(
            f"documents[{position}] has vectors of another encoder ({named}, not {encoder}), "
            f"which cannot be compared with those of this collection: leave "
            "'vectors' out (nestling export --no-vectors)"
        )


def _set_vectors(record: Record, vectors: Any, spans: Any, where: str, dim: int) -> None:
    try:
        array = np.asarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise DocumentError(f"{where}: vectors are not an array of floats: {error}") from None
    array = array[np.newaxis] if array.ndim == 1 else array
    record.spans = (
        [(0, len(record.text))] if spans is None else _checked_spans(spans, record.text, where)
    )
    if array.shape != (len(record.spans), dim):
        raise DocumentError(
            f"{where}: vectors have shape {np.shape(vectors)}; expected ({len(record.spans)}, "
            f"{dim}), one vector per passage"
        )
    if not np.isfinite(array).all():
        raise DocumentError(f"{where}: vectors hold NaN or infinity; every value must be finite")
    record.vectors = np.ascontiguousarray(array)
    record.has_own_vectors = True


def _checked_spans(spans: Any, text: str, where: str) -> list[Span]:
    try:
        checked = [(int(start), int(end)) for start, end in spans]
    except (TypeError, ValueError):
        raise DocumentError(f"{where}: spans must be pairs of a start and an end") from None
    before = -1
    for start, end in checked:
        if not (0 <= start <= end <= len(text) and start > before):
            raise DocumentError(
                f"{where}: the span ({start}, {end}) is out of order or outside the text of "
                f"{len(text):,} characters"
            )
        before = start
    if not checked:
        raise DocumentError(f"{where}: spans are empty, but every document has a passage")
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
            f"{what} has half a surrogate pair at {error.start}, which is not Unicode text; "
            "decode the input with errors='replace'"
        ) from None
    if "\0" in text:
        raise DocumentError(f"{what} has a NUL at {text.index(chr(0))}; remove it")


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
