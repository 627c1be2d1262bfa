"""Long queries cost no more than their rarest words, and short ones are searched whole."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from collection_helpers import opened
from hypothesis import given, settings
from hypothesis import strategies as st

from nestling import Collection
from nestling.collection.ingest.analysis import query_parts, token, words
from nestling.collection.query import terms
from nestling.collection.query.source import LocalSource
from nestling.collection.query.terms import search_parts

LETTERS = "abcdefgh"
SPELLINGS = [first + last for first in LETTERS for last in LETTERS] + ["東京都", "京都", "كتاب"]
TEXTS = [
    " ".join(random.Random(number).choices(SPELLINGS, [1 / n for n in range(1, 68)], k=12))
    for number in range(400)
]


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    made = opened(tmp_path_factory.mktemp("long") / "c", passages=None)
    made.add(TEXTS[:200], progress=False)
    made.add(TEXTS[200:], progress=False)  # several parts of the index
    return made


COUNTS = Counter(term for text in TEXTS for term in {token(word.term) for word in words(text)})


def chosen(collection: Collection, query: str) -> list[tuple[str, ...]]:
    with collection._store.reading() as (connection, view):
        return search_parts(LocalSource(connection, view, None).counts, query)


def frequency(part: tuple[str, ...]) -> int:
    return min(COUNTS[token(term)] for term in part)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from([*SPELLINGS, "unknown", '"aa ab"', '"ab unknown"', '"ba ca da"']),
        max_size=60,
    ),
    st.integers(1, 40),
)
def test_the_rarest_parts_are_searched_for(
    collection: Collection, spellings: list[str], most: int
) -> None:
    query = " ".join(spellings)
    parts = query_parts(query)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terms, "MAX_PARTS", most)
        found = chosen(collection, query)
    if len(parts) <= most:
        assert found == parts
    else:
        rarest = sorted(filter(frequency, parts), key=frequency)[:most]
        assert sorted(found) == sorted(rarest)
        assert found == [part for part in parts if part in rarest]


def test_usual_questions_are_searched_whole(collection: Collection) -> None:
    rng = random.Random(1)
    for count in range(1, terms.MAX_PARTS + 1):
        query = " ".join(rng.sample(SPELLINGS, count))
        assert len(query_parts(query)) <= terms.MAX_PARTS + 2  # two spellings are of several parts
        if len(query_parts(query)) <= terms.MAX_PARTS:
            assert chosen(collection, query) == query_parts(query)


def test_a_pasted_document_finds_itself(collection: Collection, tmp_path: Path) -> None:
    rng = random.Random(2)
    texts = [" ".join(f"w{int(rng.paretovariate(0.6))}x" for _ in range(150)) for _ in range(200)]
    with opened(tmp_path / "c", passages=None) as pasted:
        pasted.add(texts, ids=range(200), progress=False)
        for number in range(0, 200, 10):
            query = f"{texts[number]} {texts[(number + 1) % 200][:300]}"
            assert len(query_parts(query)) > terms.MAX_PARTS
            for mode in ("lexical", "hybrid"):
                hits = pasted.search(query, 3, mode=mode)
                assert str(number) in [hit.id for hit in hits]


def test_any_number_of_words_is_searched(collection: Collection) -> None:
    words = " ".join(f"new{number}" for number in range(100_000))
    assert chosen(collection, f"aa {words}") == [("aa",)]
    assert len(collection.search(f"aa {words}", mode="lexical")) > 0
    assert len(collection.search(words, mode="lexical")) == 0
    quotes = '" "'.join(f"new{number}" for number in range(30_000))
    assert chosen(collection, f'"{quotes}"') == []


def test_a_read_only_collection_takes_long_queries_too(collection: Collection) -> None:
    with opened(collection.path, read_only=True) as reader:
        query = " ".join(SPELLINGS)
        expected = [hit.id for hit in collection.search(query, mode="lexical")]
        for _ in range(2):
            assert [hit.id for hit in reader.search(query, mode="lexical")] == expected
