"""Prefix completion: the last word of a query finds the words that begin so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise, repeat
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import _core
from nestling.collection import Collection, Synonyms
from nestling.collection.ingest.analysis import query_terms, token, unfinished_word
from nestling.collection.query.completion import complete
from nestling.collection.query.terms import PartKind
from nestling.collection.storage.words import PlacedWords, words_of

TEXTS = {
    "libraries": "old libraries in the rain",
    "librarian": "a librarian and a river",
    "bread": "bread and bread, and the red house",
    "run": "he runs",
    "ar": "المكتبات في القاهرة",
    "zh": "我的电脑很快",
}
# None of these letters makes an ending that a stem is without.
WORDS = st.text("abkz", min_size=1, max_size=4)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with Collection(tmp_path_factory.mktemp("completion") / "c", dim=2) as found:
        found.add(list(TEXTS.values()), list(TEXTS), vectors=np.ones((len(TEXTS), 2)))
        yield found


def ids(collection: Collection, query: str, **options: Any) -> set[str]:
    options = {"mode": "lexical", "prefix": True} | options
    return set(collection.search(query, include=(), **options).ids)


def placed(texts: Sequence[str], *cuts: int) -> list[PlacedWords]:
    bounds = sorted({0, len(texts), *(cut for cut in cuts if cut < len(texts))})
    return [
        (words_of(np.arange(end - start), zip(repeat(""), texts[start:end]), 1), start)
        for start, end in pairwise(bounds)
    ]


@given(st.lists(st.lists(WORDS, max_size=6).map(" ".join), max_size=20), WORDS, st.integers(1, 9))
def test_completions_are_the_most_frequent_terms_that_begin_so(
    texts: list[str], prefix: str, most: int
) -> None:
    counts = Counter(
        word for text in texts for word in set(text.split()) if word.startswith(prefix)
    )
    expected = sorted(counts, key=lambda word: (-counts[word], word))[:most]
    words = placed(texts, 3, 8)
    found = _core.complete_word(words, prefix, most)
    assert found == [(word, counts[word]) for word in expected]
    assert _core.completion_rows(words, [*expected, "?"]) == [*map(counts.get, expected), 0]


@given(st.lists(st.lists(WORDS, max_size=6).map(" ".join), max_size=20), st.sets(WORDS, min_size=1))
def test_alternatives_score_as_rare_as_they_are_together(texts: list[str], words: set[str]) -> None:
    """Their scores add up, each by its own frequency in the row."""
    chosen = sorted(words)
    rows, scores = _core.search_words(
        placed(texts, 5), [(chosen, PartKind.ANY)], k=100, filter=None
    )
    split = [text.split() for text in texts]
    mean = sum(map(len, split)) / len(split) if split else 0
    count = min(len(split), sum(word in row for word in words for row in split))
    weight = max(np.log((len(split) - count + 0.5) / (count + 0.5)), 1e-6) * 2.2
    expected = {}
    for number, row in enumerate(split):
        found = [row.count(word) for word in chosen if word in row]
        if found:
            length = 1.2 * (0.25 + 0.75 * len(row) / mean)
            expected[number] = sum(weight * f / (f + length) for f in found)
    assert set(rows.tolist()) == expected.keys()
    assert scores == pytest.approx([expected[row] for row in rows.tolist()], rel=1e-9)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("libr", {"libraries", "librarian"}),
        ("library", {"libraries"}),
        ("librarie", {"libraries"}),
        ("old libr", {"libraries", "librarian"}),
        ("libr ", set()),
        ("libr, rive", {"librarian"}),
        ("runnin", {"run"}),
        ("المكت", {"ar"}),
        ("电脑", {"zh"}),
        ("zzzz", set()),
        ("", set()),
    ],
)
def test_the_last_word_finds_those_that_begin_so(
    collection: Collection, query: str, found: set[str]
) -> None:
    assert ids(collection, query) == found
    assert ids(collection, query, prefix=False) <= found


def test_completions_are_highlighted(collection: Collection) -> None:
    (hit,) = collection.search(
        "red brea", mode="lexical", prefix=True, include=["highlight", "snippet"]
    )
    assert hit.marked("[", "]") == "[bread] and [bread], and the [red] house"
    assert hit.snippet is not None
    assert hit.snippet.marked("[", "]") == hit.marked("[", "]")


def test_completion_works_with_the_other_options(collection: Collection) -> None:
    synonyms = Synonyms(["crimson => red"])
    assert ids(collection, "crimson libr", synonyms=synonyms) == {"bread", "libraries", "librarian"}
    assert ids(collection, "housse libr", fuzzy=True) == {"bread", "libraries", "librarian"}
    assert ids(collection, '"red house" ol') == {"bread", "libraries"}
    hybrid = collection.search("libr", 6, mode="hybrid", vectors=np.ones(2), prefix=True)
    assert [hit.id for hit in hybrid if hit.lexical is not None] == ["libraries", "librarian"]
    (ranked, other) = collection.search(["libr", "brea"], mode="lexical", prefix=True)
    assert (set(ranked.ids), other.ids) == ({"libraries", "librarian"}, ["bread"])


@given(st.text(max_size=30))
def test_any_query_is_its_head_and_its_last_word(query: str) -> None:
    head, term = unfinished_word(query)
    assert query.startswith(head)
    assert not term or query_terms(query)[-1] == term
    assert bool(term) == (head != query)


def test_the_number_of_completions_is_bounded() -> None:
    texts = [f"word{number:04}" for number in range(500)]
    words = placed(texts)

    def completions(prefix: str, most: int) -> list[str]:
        return [token for token, _ in _core.complete_word(words, prefix, most)]

    head, tokens = complete(partial(_core.count_words, words), completions, "a wo")
    assert head == "a "
    assert tokens == [token("wo"), *(f"word{number:04}" for number in range(32))]
