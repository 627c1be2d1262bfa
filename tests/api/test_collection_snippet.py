"""Snippets begin and end with whole words."""

from __future__ import annotations

import pytest

from nestling.collection.query.highlight import Highlighter, snippet

TEXT = "Wrap a single paragraph of text, so that it fits in lines of no more than 'width' columns"


@pytest.mark.parametrize("width", range(12, len(TEXT)))
def test_a_snippet_ends_with_a_whole_word(width: int) -> None:
    part = snippet(TEXT, Highlighter("paragraph").spans(TEXT), width)
    assert part.end - part.start <= width
    assert "paragraph" in TEXT[part.start : part.end]
    assert set(TEXT[part.start : part.end].split()) <= set(TEXT.split())
