"""Titles that count several times: scores as of BM25F, in every state of a collection."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from collection_helpers import opened, word_files
from hypothesis import given
from hypothesis import strategies as st
from test_collection_words import found

from nestling import ArgumentError, Collection, _core
from nestling.collection import check, repair
from nestling.collection.ingest.analysis import index_text, token, words
from nestling.errors import IdError, SettingError

K1, B = 1.2, 0.75

WORDS = st.sampled_from(["apple", "bread", "river", "stones", "كتاب", "北京"])
FIELD = st.lists(WORDS, max_size=6).map(" ".join)


def tokens(text: str) -> list[str]:
    return [token(word.term) for word in words(text)]


def bm25f(documents: Sequence[tuple[str, str]], query: Sequence[str], weight: int) -> list[float]:
    """BM25 of the words of titles and texts, of which those of titles count `weight` times.

    Robertson and Zaragoza 2009, section 3.6.2, with the same b for both fields.
    """
    fields = [(tokens(title), tokens(text)) for title, text in documents]
    lengths = np.array([weight * len(title) + len(text) for title, text in fields], np.float64)
    scores = np.zeros(len(documents))
    for word in dict.fromkeys(query):
        counts = np.array(
            [weight * title.count(word) + text.count(word) for title, text in fields], np.float64
        )
        rows = np.count_nonzero(counts)
        idf = max(math.log((len(documents) - rows + 0.5) / (rows + 0.5)), 1e-6)
        norm = K1 * (1 - B + B * lengths / max(lengths.mean(), 1e-9))
        scores += idf * counts * (K1 + 1) / (counts + norm)
    return [float(score) for score in scores]


def built(documents: Sequence[tuple[str, str]], weight: int) -> _core.WordIndex:
    return _core.WordIndex.build(
        np.arange(len(documents)),
        [index_text(f"{title}\n{text}") for title, text in documents],
        count=len(documents),
        titles=[index_text(title) for title, _ in documents],
        title_weight=weight,
    )


def ranked(index: _core.WordIndex, *parts: list[str]) -> Mapping[int, float]:
    rows, scores = _core.search_words(
        [(index, 0)], [(part, 0) for part in parts], k=99, filter=None
    )
    return dict(zip(rows.tolist(), scores.tolist(), strict=True))


@given(
    documents=st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=30),
    query=st.lists(WORDS, min_size=1, max_size=4),
    weight=st.integers(1, 16),
)
def test_scores_are_those_of_bm25f(
    documents: list[tuple[str, str]], query: list[str], weight: int
) -> None:
    terms = list(dict.fromkeys(tokens(" ".join(query))))
    index = built(documents, weight)
    index.check()
    expected = bm25f(documents, terms, weight)
    hits = ranked(index, *([term] for term in terms))
    assert hits.keys() == {row for row, score in enumerate(expected) if score > 0}
    for row, score in hits.items():
        assert score == pytest.approx(expected[row], rel=1e-6)
    cut = len(documents) // 2
    halves = [built(documents[:cut], weight), built(documents[cut:], weight)]
    assert _core.WordIndex.merged(halves, shifts=[0, cut]).same(index)


@given(
    documents=st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=30),
    phrase=st.lists(st.sampled_from(["apple", "bread", "river"]), min_size=2, max_size=3),
    weight=st.integers(2, 5),
)
def test_no_phrase_is_found_between_two_repetitions_of_a_title(
    documents: list[tuple[str, str]], phrase: list[str], weight: int
) -> None:
    found = [ranked(built(documents, each), tokens(" ".join(phrase))) for each in (1, weight)]
    assert found[0].keys() == found[1].keys()


def test_a_phrase_in_a_title_counts_as_often_as_its_words() -> None:
    documents = [("apple bread", "river"), ("river", "apple bread"), ("", "stone"), ("", "stone")]
    hits = ranked(built(documents, 4), ["appl", "bread"])
    lengths = [9, 6, 1, 1]
    for row, count in ((0, 4), (1, 1)):
        norm = K1 * (1 - B + B * lengths[row] / np.mean(lengths))
        # Two of four rows have it, so that the logarithm is not above its least value.
        assert hits[row] == pytest.approx(1e-6 * count * (K1 + 1) / (count + norm), rel=1e-6)


DOCUMENTS = [
    (("apple river", "bread violet", "")[n % 3], f"{'apple ' * (n % 4)}bread river stone{n % 5}")
    for n in range(40)
]
QUERIES = ("apple", "apple violet", "stone1 river bread", "bread")


def assert_scores(collection: Collection, weight: int) -> None:
    stored = list(collection)
    documents = [(document.title, document.text) for document in stored]
    for query in QUERIES:
        expected = bm25f(documents, tokens(query), weight)
        hits = dict(found(collection, query))
        assert hits.keys() == {d.id for d, score in zip(stored, expected, strict=True) if score > 0}
        for document, score in zip(stored, expected, strict=True):
            if score > 0:
                assert hits[document.id] == pytest.approx(score, rel=1e-6), query


@pytest.fixture
def titled(tmp_path: Path) -> Path:
    """A folder with a collection of two segments and pending rows."""
    path = tmp_path / "titled"
    with opened(path, title_weight=3) as collection:
        for start in (0, 15):
            add(collection, range(start, start + 15))
            collection.compact()
        add(collection, range(30, 40))
    return path


def add(collection: Collection, numbers: range) -> None:
    collection.add(
        [{"id": f"d{n}", "title": DOCUMENTS[n][0], "text": DOCUMENTS[n][1]} for n in numbers]
    )


def test_scores_are_the_same_pending_sealed_merged_and_opened_again(titled: Path) -> None:
    with opened(titled) as collection:
        for change in (
            lambda: None,
            lambda: collection.delete(["d1", "d16", "d31"]),
            collection.compact,
            lambda: add(collection, range(1, 2)),
            lambda: collection.tune(0.5, k=3, budget_seconds=0.05, verbose=False),
        ):
            change()
            assert_scores(collection, 3)
    assert check(titled).ok
    with opened(titled, read_only=True) as collection:
        assert collection.info().title_weight == 3
        assert_scores(collection, 3)


def test_lost_words_are_made_again_with_the_same_weight(titled: Path) -> None:
    for path in word_files(titled):
        path.unlink()
    with opened(titled) as collection:
        assert_scores(collection, 3)
    assert not check(titled).ok
    assert repair(titled)
    assert check(titled).ok
    with opened(titled) as collection:
        assert_scores(collection, 3)


def test_words_of_a_collection_with_another_weight_are_not_taken_for_its_own(
    titled: Path, tmp_path: Path
) -> None:
    with opened(titled) as collection, opened(tmp_path / "plain") as plain:
        collection.compact()
        for document in collection:
            plain.add([{"id": document.id, "title": document.title, "text": document.text}])
        plain.compact()
        assert_scores(plain, 1)
        assert_scores(collection, 3)
    (own,), (other,) = word_files(titled), word_files(tmp_path / "plain")
    own.write_bytes(other.read_bytes())
    report = check(titled)
    assert any("differ from the database" in problem for problem in report.problems)
    repair(titled)
    assert check(titled).ok


def test_only_the_first_500_characters_of_a_title_count_more_often(tmp_path: Path) -> None:
    title = "apple " + "stone " * 100 + "violet"
    with Collection(tmp_path / "c", dim=2, title_weight=2) as collection:
        collection.add([{"id": "a", "title": title, "text": "river"}], vectors=[[1, 0]])
        collection.add(["bread"] * 3, ids=["b", "c", "d"], vectors=[[0, 1]] * 3)
        once, twice = (dict(found(collection, word))["a"] for word in ("violet", "apple"))
    assert twice > once > 0


def test_a_collection_keeps_its_weight(titled: Path) -> None:
    with opened(titled, title_weight=3):
        pass
    with pytest.raises(ArgumentError, match="made with title_weight=3, not 2"):
        opened(titled, title_weight=2)


@pytest.mark.parametrize("weight", [0, 17, 2.5, "2"])
def test_a_weight_is_1_to_16(tmp_path: Path, weight: object) -> None:
    with pytest.raises(ArgumentError, match="title_weight"):
        Collection(tmp_path / "c", dim=2, title_weight=weight)  # type: ignore[arg-type]
    assert not (tmp_path / "c").exists()


def test_titles_are_as_many_as_texts() -> None:
    rows = np.arange(2)
    with pytest.raises(IdError, match="2 texts and 1 titles"):
        _core.WordIndex.build(rows, ["a", "b"], count=2, titles=["a"], title_weight=2)
    with pytest.raises(SettingError, match="once or more"):
        _core.WordIndex.build(rows, ["a", "b"], count=2, titles=["a", "b"], title_weight=0)
