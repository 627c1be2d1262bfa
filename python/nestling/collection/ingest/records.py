"""Documents as they come in: checked, given an id, and compared by a digest."""

from __future__ import annotations

import hashlib
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.corpus.fields import Document
from nestling.corpus.tables import TableRow
from nestling.errors import (
    DocumentError,
    EncoderMismatchError,
    IdError,
    MetadataError,
    NestlingError,
    VectorError,
)
from nestling.inputs.bad_records import BadRecord
from nestling.inputs.ids import text_id
from nestling.inputs.metadata import check_metadata, to_json
from nestling.inputs.texts import MAX_TEXT_CHARACTERS, check_text, quote
from nestling.inputs.vectors import check_finite, matrix

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
        encoder: Key of the encoder that made the vectors that came with the document.
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
    encoder: Any = None
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
    documents: Iterable[str | Mapping[str, Any] | Document],
    ids: Iterable[Any] | None,
    metadata: Iterable[Mapping[str, Any] | None] | None,
    vectors: Iterable[Any] | None,
    *,
    dim: int,
    encoder: str | None,
    on_bad_record: Callable[[BadRecord], object] | None = None,
) -> Iterator[Record]:
    """Yields a checked record per document.

    Args:
        documents: Texts, documents of a corpus, or mappings with "text" and optional further keys.
        ids: One id per document, or None.
        metadata: One object per document, or None.
        vectors: One embedding, (dim,) or (passages, dim), per document, or None.
        dim: Dimensions of an embedding.
        encoder: Key of the collection's encoder. A document that names its "encoder" must name it.
        on_bad_record: Called with each document that cannot be stored, which is then left out;
            None to raise an error.

    Raises:
        EncoderMismatchError: Vectors of a document were made by another encoder.
        DocumentError: A document is malformed; the message gives its position.
        IdError: Its id is not an id.
        MetadataError: Its metadata cannot be stored.
        VectorError: Its vectors are not numbers, not finite, or of another shape.
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
            record = _record(*row, dim=dim)
        except _BAD as error:
            if on_bad_record is None:
                kind = next(kind for kind in _BAD if isinstance(error, kind))
                raise kind(f"documents[{position}]: {error}") from None
            on_bad_record(BadRecord("documents", position, str(error)))
            continue
        if record.has_own_vectors and encoder is not None:
            _check_encoder(record.encoder, encoder, position)
        yield record


_COLUMNS: Final = ("ids", "metadata", "vectors")
_BAD: Final[tuple[type[NestlingError], ...]] = (DocumentError, IdError, MetadataError, VectorError)


def _record(document: Any, id: Any, metadata: Any, vectors: Any, *, dim: int) -> Record:
    title, spans, encoder = "", None, None
    if isinstance(document, TableRow):
        document = document.as_mapping()
    if isinstance(document, str):
        text = document
    elif isinstance(document, Mapping):
        unknown = document.keys() - _KEYS
        if unknown:
            raise DocumentError(
                f"unknown keys {', '.join(sorted(map(repr, unknown)))}; known keys are id, text, "
                "title, metadata, vectors, spans and encoder; put values to filter by under "
                "'metadata'"
            )
        if "text" not in document:
            raise DocumentError("no 'text'")
        text = document["text"]
        title = "" if document.get("title") is None else document["title"]
        id = _only("ids", id, _only("id", document.get("id"), document.get("_id")))
        metadata = _only("metadata", metadata, document.get("metadata"))
        vectors = _only("vectors", vectors, document.get("vectors"))
        spans, encoder = document.get("spans"), document.get("encoder")
    elif isinstance(document, Document):
        text, title = document.text, document.title
        id = _only("ids", id, document.id)
        metadata = _only("metadata", metadata, document.metadata or None)
    else:
        raise DocumentError(
            f"{quote(document)} is not a document: give a string, or a mapping with 'text'"
        )
    text = check_text(text, "text")
    title = check_text(title, "title")
    if len(title) + len(text) > MAX_TEXT_CHARACTERS:
        raise DocumentError(
            f"title and text have more than {MAX_TEXT_CHARACTERS:,} characters: split the text"
        )
    if metadata is None:
        metadata, json = {}, "{}"
    else:
        metadata = check_metadata(metadata)
        json = to_json(metadata)
    id = digest_of(title, text, json).hex() if id is None else text_id(id, "the id")
    record = Record(id, title, text, metadata, json, digest_of(title, text, json, id=id))
    if vectors is not None:
        record.encoder = encoder
        _set_vectors(record, vectors, spans, dim)
    elif spans is not None:
        record.spans = _checked_spans(spans, text)
    return record


def _only(name: str, given: Any, own: Any) -> Any:
    """Returns the one of two values that is not None."""
    if given is None or own is None:
        return own if given is None else given
    if name in ("id", "ids") and text_id(given, "the id") == text_id(own, "the id"):
        return own
    others = "'id' and '_id'" if name == "id" else f"both in the document and in {name}"
    raise DocumentError(f"two values for one: {others}; give one of them")


def _check_encoder(named: Any, encoder: str, position: int) -> None:
    if named not in (None, encoder):
        raise EncoderMismatchError(
            f"documents[{position}] has vectors of another encoder ({named}, not {encoder}), "
            f"which cannot be compared with those of this collection: leave "
            "'vectors' out (nestling export --no-vectors)"
        )


def _set_vectors(record: Record, vectors: Any, spans: Any, dim: int) -> None:
    array = matrix(vectors, dim, "vectors")
    record.spans = [(0, len(record.text))] if spans is None else _checked_spans(spans, record.text)
    if len(array) != len(record.spans):
        raise VectorError(
            f"vectors have shape {array.shape}; expected ({len(record.spans)}, {dim}), one vector "
            "per passage"
        )
    check_finite(array, "vector")
    record.vectors = array.copy()  # the caller may use the memory again before the commit
    record.has_own_vectors = True


def _checked_spans(spans: Any, text: str) -> list[Span]:
    try:
        checked = [(operator.index(start), operator.index(end)) for start, end in spans]
    except (TypeError, ValueError):
        raise DocumentError("spans must be pairs of a start and an end") from None
    before = -1
    for start, end in checked:
        if not (0 <= start <= end <= len(text) and start > before):
            raise DocumentError(
                f"the span ({start}, {end}) is out of order or outside the text of "
                f"{len(text):,} characters"
            )
        before = start
    if not checked:
        raise DocumentError("spans are empty, but every document has a passage")
    return checked
