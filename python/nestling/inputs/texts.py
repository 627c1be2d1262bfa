"""Texts: of documents, of queries, and in metadata."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from nestling.errors import ArgumentError, DocumentError
from nestling.inputs.columns import listed

__all__ = [
    "MAX_QUERY_CHARACTERS",
    "MAX_TEXT_CHARACTERS",
    "check_text",
    "query_texts",
    "quote",
    "string_problem",
]

MAX_TEXT_CHARACTERS: Final = 100_000_000  # of title and text together; SQLite stores 10^9 bytes
MAX_QUERY_CHARACTERS: Final = 1_000_000


def quote(value: Any) -> str:
    """Returns a value's repr, shortened, for messages; the type of what is not a scalar.

    Example:
        >>> quote(1.5), quote(None), quote([1])
        ('1.5', 'None', 'list')
    """
    try:
        text = (
            repr(value)
            if value is None or isinstance(value, str | int | float | bytes)
            else type(value).__name__
        )
    except ValueError:  # an integer with more digits than Python prints
        text = "an integer with very many digits"
    return text if len(text) <= 60 else text[:57] + "..."


def string_problem(text: str) -> str:
    r"""Returns why a string cannot be stored; "" if it can.

    Some versions of SQLite end a JSON string at a NUL.

    Example:
        >>> string_problem("a\0"), string_problem("bread")
        ('a NUL character at 1', '')
    """
    if "\0" in text:
        return f"a NUL character at {text.index(chr(0))}"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return f"a lone surrogate at {error.start}"
    return ""


def check_text(text: object, what: str) -> str:
    """Returns a text as a plain str; errors call it `what`.

    Raises:
        DocumentError: It is not a string, not Unicode text, or too long.

    Example:
        >>> check_text("bread", "text")
        'bread'
    """
    if type(text) is not str:
        if not isinstance(text, str):
            kind = quote(text) if text is None else type(text).__name__
            raise DocumentError(f"{what} must be a string, not {kind}")
        text = str.__str__(text)
    if problem := string_problem(text):
        advice = "remove it" if "NUL" in problem else "decode the input with errors='replace'"
        raise DocumentError(f"{what} has {problem}, which is not text; {advice}")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise DocumentError(
            f"{what} has {len(text):,} characters; a document may have at most "
            f"{MAX_TEXT_CHARACTERS:,}: split it"
        )
    return text


def query_texts(queries: object) -> list[str] | None:
    """Returns queries that are texts as a list of str; None if they are not texts but vectors.

    Args:
        queries: A text, or a list, array or Series of texts; or anything else.

    Raises:
        ArgumentError: Some are texts and some are not, or one is too long or not Unicode text.

    Example:
        >>> query_texts("bread"), query_texts(["bread", "river"]), query_texts([0.5, 1.0])
        (['bread'], ['bread', 'river'], None)
    """
    # At once where it can be: a search has no microseconds to give away.
    if isinstance(queries, str):
        return [_query_text(queries, "the query")]
    if isinstance(queries, (bytes, bytearray)):
        raise ArgumentError("a query is a str, not bytes: decode it")
    if getattr(queries, "ndim", 1) != 1 or (
        isinstance(queries, np.ndarray) and queries.dtype.kind in "fiu"
    ):
        return None
    values = listed(queries)
    if values is None or not (not values or any(isinstance(value, str) for value in values)):
        return None
    texts = []
    for position, value in enumerate(values):
        what = f"queries: element {position}"
        if not isinstance(value, str):
            raise ArgumentError(
                f"{what} is {quote(value)}, but others are texts: give a list of str"
            )
        texts.append(_query_text(value, what))
    return texts


def _query_text(query: str, what: str) -> str:
    """Returns a query as a plain str; errors call it `what`."""
    text = query if type(query) is str else str.__str__(query)
    if not text.isascii() and "lone" in (problem := string_problem(text.replace("\0", ""))):
        raise ArgumentError(f"{what} has {problem}, which is not text")
    if len(text) > MAX_QUERY_CHARACTERS:
        raise ArgumentError(
            f"{what} has {len(text):,} characters; at most {MAX_QUERY_CHARACTERS:,} can be "
            "searched for"
        )
    return text
