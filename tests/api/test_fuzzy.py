"""Fuzzy searches: a word that no document has is searched for by one that is a letter away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.collection import Collection, Synonyms
from nestling.collection.ingest.analysis import query_parts, token
from nestling.collection.query.fuzzy import FuzzyWords, nearest_terms

TEXTS = {
    "libraries": "old libraries in the rain",
    "bread": "bread and bread, and the red house",
    "code": "error E4711 of the pump",
    "ar": "المكتبات في القاهرة",
    "ru": "старая библиотека",
    "zh": "我的电脑很快",
}
# None of these letters makes an ending that a stem is without.
WORDS = st.text("abkz", min_size=3, max_size=6)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with Collection(tmp_path_factory.mktemp("fuzzy") / "c", dim=2) as found:
        found.add(list(TEXTS.values()), list(TEXTS), vectors=np.ones((len(TEXTS), 2)))
        yield found


def ids(collection: Collection, query: str, **options: Any) -> set[str]:
    return {hit.id for hit in collection.search(query, **{"mode": "lexical"} | options)}


def distance(one: str, other: str) -> int:
    """Edits between two words, a swap of neighbours as one: optimal string alignment."""
    table = np.add.outer(np.arange(len(one) + 1), np.arange(len(other) + 1))
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            table[i, j] = min(
                table[i - 1, j] + 1,
                table[i, j - 1] + 1,
                table[i - 1, j - 1] + (one[i - 1] != other[j - 1]),
            )
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return int(table[-1, -1])


@given(word=WORDS, stored=st.lists(WORDS, max_size=12))
def test_the_nearest_are_those_of_one_edit_by_frequency(word: str, stored: list[str]) -> None:
    counts = Counter(map(token, stored))
    found = nearest_terms(word, lambda tokens: [counts[each] for each in tokens])
    assert {token(each) for each in found} >= {
        each for each in counts if distance(word, each) == 1
    } - {token(word)}
    assert all(distance(word, each) == 1 for each in found)
    frequencies = [counts[token(each)] for each in found]
    assert frequencies == sorted(frequencies, reverse=True)
    assert 0 not in frequencies


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("libarry", "libraries"),  # swapped
        ("lbrary", "libraries"),  # one too few
        ("librarry", "libraries"),  # one too many
        ("lifraries", "libraries"),  # a wrong one, and an ending that the stem is without
        ("braed", "bread"),
        ("مكتباتت", "ar"),
        ("القاهرد", "ar"),
        ("библеотека", "ru"),
    ],
)
def test_one_letter_may_be_wrong(collection: Collection, query: str, expected: str) -> None:
    assert ids(collection, query) == set()
    assert ids(collection, query, fuzzy=True) == {expected}


@pytest.mark.parametrize("query", ["E4712", "4712", "lbrry", "rde", "电腦", "xyzzy", "!?", ""])
def test_codes_and_short_or_distant_words_are_not_replaced(
    collection: Collection, query: str
) -> None:
    assert ids(collection, query, fuzzy=True) == ids(collection, query)


def test_words_that_a_document_has_stay(collection: Collection) -> None:
    with_typo = "bread houze 电脑 rain"
    assert ids(collection, with_typo) == {"bread", "zh", "libraries"}
    hits = collection.search(with_typo, mode="lexical", fuzzy=True, include=["highlight"])
    marked = {hit.id: hit.marked() for hit in hits}
    assert marked["bread"] == "**bread** and **bread**, and the red **house**"
    for text in TEXTS.values():
        plain = collection.search(text, mode="lexical")
        fuzzy = collection.search(text, mode="lexical", fuzzy=True)
        assert [(hit.id, hit.score) for hit in plain] == [(hit.id, hit.score) for hit in fuzzy]


def test_the_two_most_frequent_words_are_chosen() -> None:
    counts = {"bread": 3, "tread": 5, "dread": 4}
    fuzzy = FuzzyWords(lambda tokens: [counts.get(each, 0) for each in tokens])
    assert list(fuzzy.rewrite([("wread",), ("loaf",)])) == [("tread",), ("dread",), ("loaf",)]


def test_phrases_stay_and_synonyms_come_first(collection: Collection) -> None:
    assert ids(collection, '"red houze"', fuzzy=True) == set()
    synonyms = Synonyms(["hause => bread", "villa => houze"])
    assert ids(collection, "hause", fuzzy=True, synonyms=synonyms) == {"bread"}
    assert ids(collection, "villa", fuzzy=True, synonyms=synonyms) == {"bread"}
    assert ids(collection, "villa", synonyms=synonyms) == set()


def test_hybrid_searches_are_fuzzy_too(collection: Collection) -> None:
    vector = [1.0, 1.0]
    plain = collection.search("libarry", 1, mode="hybrid", vectors=vector)[0].score
    fuzzy = collection.search("libarry", 1, mode="hybrid", vectors=vector, fuzzy=True)[0]
    assert isinstance(plain, float)
    assert fuzzy.id == "libraries"


def test_removed_words_are_not_found(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Collection(tmp_path_factory.mktemp("removed") / "c", dim=2) as found:
        found.add(["library", "house"], ["a", "b"], vectors=np.ones((2, 2)))
        assert ids(found, "libarry", fuzzy=True) == {"a"}
        found.delete("a")
        assert ids(found, "libarry", fuzzy=True) == set()
        found.add("library", "c", vectors=[1, 1])
        assert ids(found, "libarry", fuzzy=True) == {"c"}


def test_a_page_of_unknown_words_costs_eight_lookups() -> None:
    lookups: list[Sequence[str]] = []

    def count(tokens: Sequence[str]) -> list[int]:
        if len(tokens) > 1:
            lookups.append(tokens)
        return [int(each == "bread") for each in tokens]

    words = [f"bread{letter}" for letter in "bcfghjkmnpqrt"]
    unlike = ["xyzzy", "plugh", "bread"]  # nothing is near the first two
    fuzzy = FuzzyWords(count)
    for _ in range(2):  # of a search, and of its highlights
        first = list(fuzzy.rewrite((word,) for word in unlike + words[:2]))
        second = list(fuzzy.rewrite((word,) for word in words[2:]))
        assert first == [(word,) for word in unlike] + [("bread",)] * 2
        assert second == [("bread",)] * 4 + [(word,) for word in words[6:]]
        assert len(lookups) == 8


@given(query=st.text(max_size=30), known=st.sets(WORDS, max_size=5))
def test_any_query_is_rewritten_to_valid_parts(query: str, known: set[str]) -> None:
    fuzzy = FuzzyWords(lambda tokens: [int(each in known) for each in tokens])
    parts = query_parts(query, lambda terms: fuzzy.rewrite((term,) for term in terms))
    assert all(term for part in parts for term in part)
    assert len(parts) <= len(query_parts(query)) or not query_parts(query)
