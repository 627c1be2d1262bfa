"""Arguments of `add` that hold one value per document, in the forms in which callers have them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from nestling.corpus.tables import table_documents, table_metadata
from nestling.errors import ArgumentError, DocumentError, MetadataError
from nestling.inputs.bad_records import BadRecord, OnBadRecord
from nestling.inputs.columns import is_table, listed
from nestling.inputs.texts import quote

__all__ = ["bad_record_handler", "document_column", "metadata_column"]


def document_column(documents: Any) -> Iterable[Any]:
    """Returns documents as an iterable; the rows of a data frame as mappings that `add` takes.

    Raises:
        DocumentError: They are not documents, or the columns of the data frame do not make any.

    Example:
        >>> document_column(("bread", "river"))
        ['bread', 'river']
    """
    if is_table(documents):
        return table_documents(documents)
    values = listed(documents)
    if values is not None:
        return values
    if isinstance(documents, (bytes, bytearray)) or not isinstance(documents, Iterable):
        raise DocumentError(
            f"documents are {quote(documents)}; give a text, a mapping with 'text', or a list"
        )
    found: Iterable[Any] = documents
    return found


def metadata_column(metadata: Any) -> Iterable[Any]:
    """Returns metadata as an iterable; the rows of a data frame as mappings.

    Raises:
        MetadataError: It is not a list.
    """
    if is_table(metadata):
        return table_metadata(metadata)
    values = listed(metadata)
    if values is not None:
        return values
    if isinstance(metadata, (str, bytes)) or not isinstance(metadata, Iterable):
        raise MetadataError(
            f"metadata is {quote(metadata)}; give a mapping per document, in a list"
        )
    found: Iterable[Any] = metadata
    return found


def bad_record_handler(
    chosen: OnBadRecord, rejected: list[BadRecord]
) -> Callable[[BadRecord], object] | None:
    """Returns what is called with a bad record; None if it is an error.

    Raises:
        ArgumentError: `chosen` is not one of `OnBadRecord`.
    """
    if callable(chosen):
        return chosen
    if chosen not in ("error", "skip"):
        raise ArgumentError(
            f"on_bad_record must be 'error', 'skip' or a function, not {quote(chosen)}"
        )
    return rejected.append if chosen == "skip" else None
