"""The word index of the core finds what FTS5 finds, in its order, and survives any bytes."""

from __future__ import annotations

import random
import sqlite3
import string
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_lexical import SCRIPTS
from word_table import ranking, table

from nestling import _core
from nestling.collection.ingest.analysis import (
    index_text,
    is_single_character,
    query_parts,
    token,
)
from nestling.collection.query.terms import PartKind
from nestling.errors import FormatError, IdError

Rows = NDArray[np.int64]
Hits = tuple[list[int], list[float]]


class Placed(NamedTuple):
    """A word index with the number of its first row."""

    index: _core.WordIndex
    first: int


def build(texts: Sequence[str], rows: Sequence[int] | None = None) -> _core.WordIndex:
    numbers = np.arange(len(texts)) if rows is None else np.array(rows, np.int64)
    count = int(numbers.max()) + 1 if len(numbers) else 0
    return _core.WordIndex.build(numbers, [index_text(text) for text in texts], count=count)


def parts_of(query: str) -> list[tuple[list[str], bool]]:
    return [
        ([token(term) for term in part], is_single_character(part)) for part in query_parts(query)
    ]


def search(
    placed: Sequence[Placed], query: str, k: int = 1_000, allowed: Rows | None = None
) -> Hits:
    chosen = None if allowed is None else _core.RowFilter(list(placed), allowed)
    rows, scores = _core.search_words(list(placed), parts_of(query), k=k, filter=chosen)
    return rows.tolist(), scores.tolist()


def fts5(
    database: sqlite3.Connection, query: str, k: int = 1_000, allowed: Rows | None = None
) -> Hits:
    lines = ranking(database, query)
    if allowed is not None:
        lines = [line for line in lines if line[0] in set(allowed.tolist())]
    lines.sort(key=lambda line: -line[1])
    return [row for row, _ in lines[:k]], [score for _, score in lines[:k]]


def assert_same(found: Hits, expected: Hits) -> None:
    """The same scores, to rounding, and the same rows but for the order of equal ones."""
    assert found[1] == pytest.approx(expected[1], rel=1e-9)
    for group in groups(expected):
        if group.stop < len(found[0]):  # equal ones may be cut off differently
            assert set(found[0][group]) == set(expected[0][group])
    pairs = list(zip(found[1], found[0], strict=True))
    assert pairs == sorted(pairs, key=lambda pair: (-pair[0], pair[1]))


def groups(hits: Hits) -> list[slice]:
    """The places of hits whose scores are equal, to rounding."""
    found, start = [], 0
    for place in range(1, len(hits[1]) + 1):
        if place == len(hits[1]) or hits[1][start] - hits[1][place] > 1e-9 * hits[1][start]:
            found.append(slice(start, place))
            start = place
    return found


FEW = ["apple", "bread", "river", "rivers", "stone", "كتاب", "北京", "北", "東京", "café", "x", "y"]
TEXTS = st.lists(st.lists(st.sampled_from(FEW), max_size=12).map(" ".join), max_size=40)
QUERIES = st.lists(
    st.sampled_from([*FEW, '"apple bread"', '"bread bread river"', '"x x"', "京", "missing"]),
    min_size=1,
    max_size=6,
).map(" ".join)


@given(texts=TEXTS, query=QUERIES, k=st.integers(1, 50), data=st.data())
def test_hits_are_those_of_fts5(texts: list[str], query: str, k: int, data: st.DataObject) -> None:
    """In several indexes, with removed rows and with a filter."""
    database = table(*texts)
    cuts = sorted({0, len(texts), *data.draw(st.lists(st.integers(0, len(texts)), max_size=3))})
    removed = data.draw(st.sets(st.integers(0, max(0, len(texts) - 1)), max_size=len(texts)))
    placed = []
    for start, end in pairwise(cuts):
        index = build(texts[start:end])
        gone = sorted(row - start for row in removed if start <= row < end)
        for part in np.array_split(np.array(gone, np.int64), 2):
            index = index.without(part) if len(part) else index
        placed.append(Placed(index, start))
    database.executemany("DELETE FROM t WHERE rowid = ?", [(row,) for row in removed])
    allowed = None
    if data.draw(st.booleans()):
        allowed = np.array(sorted(data.draw(st.sets(st.integers(0, 45), max_size=20))), np.int64)
    expected = fts5(database, query, k, allowed)
    assert_same(search(placed, query, k, allowed), expected)
    if placed:
        merged = _core.WordIndex.merged([p.index for p in placed], shifts=[p.first for p in placed])
        merged.check()
        assert len(merged) == len(texts) - len(removed & set(range(len(texts))))
        assert search([Placed(merged, 0)], query, k, allowed) == search(placed, query, k, allowed)
    database.close()


@settings(max_examples=50)
@given(texts=st.lists(st.text(SCRIPTS.replace("\ud800", ""), max_size=30), max_size=5))
def test_words_of_all_scripts_are_found_as_by_fts5(texts: list[str]) -> None:
    database = table(*texts)
    placed = [Placed(build(texts), 0)]
    for query in texts:
        assert_same(search(placed, query), fts5(database, query))
    database.close()


def corpus(rows: int, words: int, seed: int = 0) -> list[str]:
    """Texts of words whose frequencies fall as Zipf found."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, words + 1)
    drawn = rng.choice(words, p=weights / weights.sum(), size=rows * 12)
    lengths = np.clip(rng.poisson(9, rows), 1, 12)
    return [
        " ".join(f"w{word}" for word in drawn[12 * row : 12 * row + length])
        for row, length in enumerate(lengths)
    ]


def expected_scores(texts: Sequence[str], query: Sequence[str]) -> NDArray[np.float64]:
    """BM25 by its formula."""
    words = [text.split() for text in texts]
    lengths = np.array([len(text) for text in words], np.float64)
    scores = np.zeros(len(texts))
    for term in query:
        counts = np.array([text.count(term) for text in words], np.float64)
        having = np.count_nonzero(counts)
        idf = np.log((len(texts) - having + 0.5) / (having + 0.5))
        weight = (idf if idf > 0 else 1e-6) * 2.2
        scores += weight * counts / (counts + 1.2 * (0.25 + 0.75 * lengths / lengths.mean()))
    return scores


@pytest.mark.parametrize("query", [["w300"], ["w2", "w40"], ["w0", "w1", "w5", "w80", "w999"]])
@pytest.mark.parametrize("k", [1, 10, 500])
@pytest.mark.parametrize("share", [None, 0.5, 0.05, 0.001])
def test_the_best_of_many_rows_are_found(query: list[str], k: int, share: float | None) -> None:
    texts = corpus(12_000, 2_000)
    scores = expected_scores(texts, query)
    allowed = None
    if share is not None:
        allowed = np.flatnonzero(np.random.default_rng(1).random(len(texts)) < share)
        scores[np.setdiff1d(np.arange(len(texts)), allowed)] = 0
    placed = [Placed(build(texts[start : start + 5_000]), start) for start in (0, 5_000, 10_000)]
    rows, found = search(placed, " ".join(query), k, allowed)
    order = np.lexsort((np.arange(len(texts)), -np.round(scores, 12)))[:k]
    order = order[scores[order] > 0]
    assert found == pytest.approx(scores[order].tolist(), rel=1e-9)
    assert rows == order.tolist()


@pytest.mark.parametrize("query", [["w300"], ["w0", "w1", "w5", "w80", "w999"]])
@pytest.mark.parametrize("share", [None, 0.2, 0.01])
def test_rows_far_apart_are_found(query: list[str], share: float | None) -> None:
    """Where few rows are touched, many are passed at once; here still only a part of all."""
    texts = corpus(12_000, 2_000)
    scores = expected_scores(texts, query)
    rows = np.arange(len(texts)) * 100
    allowed = None
    if share is not None:
        kept = np.random.default_rng(1).random(len(texts)) < share
        scores[~kept] = 0
        allowed = rows[kept] + 7
    found = search([Placed(build(texts, rows.tolist()), 7)], " ".join(query), 10, allowed)
    order = np.lexsort((rows, -np.round(scores, 12)))[:10]
    order = order[scores[order] > 0]
    assert found[0] == (rows[order] + 7).tolist()
    assert found[1] == pytest.approx(scores[order].tolist(), rel=1e-9)


def test_an_index_without_rows_has_no_hits() -> None:
    empty, other = build([]), build(["apple"])
    assert search([Placed(empty, 0)], "apple") == ([], [])
    for allowed in (None, np.array([5])):
        assert search([Placed(empty, 0), Placed(other, 5)], "apple", 9, allowed)[0] == [5]


def test_a_phrase_of_frequent_words_is_counted_where_it_occurs() -> None:
    texts = ["to be or not to be"] * 300 + ["be to"] * 300 + ["not to be " * 50]
    database = table(*texts)
    for query in ('"to be"', '"not to be" or', '"be or not to"'):
        assert_same(search([Placed(build(texts), 0)], query), fts5(database, query))
    database.close()


def test_a_text_of_many_words_is_stored() -> None:
    texts = ["few words", "word " * 200_000, "a long " + string.ascii_lowercase * 4_000]
    index = build(texts)
    index.check()
    assert search([Placed(index, 0)], "few")[0] == [0]
    assert search([Placed(index, 0)], '"word word"')[0] == [1]
    assert search([Placed(index, 0)], string.ascii_lowercase * 4_000)[0] == [2]


def test_rows_must_rise_and_be_below_the_count() -> None:
    for rows, count in (([1, 1], 5), ([2, 1], 5), ([0, 5], 5), ([-1, 0], 5), ([0], 5)):
        with pytest.raises(IdError):
            _core.WordIndex.build(np.array(rows), ["a", "b"], count=count)
    index = build(["a", "b", "c"])
    with pytest.raises(IdError):
        _core.WordIndex.merged([index, index], shifts=[0, 2])


def test_a_filter_fits_the_indexes_that_it_was_made_for() -> None:
    index = build(["apple", "bread", "apple"])
    chosen = _core.RowFilter([(index, 0), (index, 3)], np.array([-5, 0, 5, 9]))
    parts = parts_of("apple")
    rows, _ = _core.search_words([(index, 0), (index, 3)], parts, k=9, filter=chosen)
    assert rows.tolist() == [0, 5]
    for other in ([(index, 0), (index, 4)], [(index, 0), (build(["a"]), 3)], [(index, 0)] * 3):
        with pytest.raises(IdError, match="other word indexes"):
            _core.search_words(other, parts, k=9, filter=chosen)


def test_a_filter_gives_the_same_hits_however_often_it_is_used() -> None:
    """Lists that it keeps are those that it would read again; there is no room for all of them."""
    texts = corpus(12_000, 1_000)
    first, second = build(texts[:8_000]), build(texts[8_000:])
    placed = [Placed(first.without(np.arange(0, 8_000, 7)), 0), Placed(second, 8_000)]
    rng = np.random.default_rng(3)
    allowed = np.flatnonzero(rng.random(len(texts)) < 0.04)
    words = (rng.zipf(1.3, size=(600, 3)) - 1) % 1_000
    queries = [" ".join(f"w{word}" for word in each) for each in words.tolist()]
    kept = _core.RowFilter(list(placed), allowed)

    def answer(query: str) -> Hits:
        rows, scores = _core.search_words(list(placed), parts_of(query), k=5, filter=kept)
        return rows.tolist(), scores.tolist()

    expected = [search(placed, query, 5, allowed) for query in queries]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answer, queries)) == expected
    assert [answer(query) for query in queries] == expected


def follows(row: list[str], tokens: list[str]) -> bool:
    """Whether the tokens are in a row, one after the other."""
    places = range(len(row) - len(tokens) + 1)
    return any(row[place : place + len(tokens)] == tokens for place in places)


KINDS = st.sampled_from([PartKind.PHRASE, PartKind.PREFIX, PartKind.ANY])


@given(
    st.lists(st.lists(st.sampled_from("abcde"), max_size=5).map(" ".join), max_size=25),
    st.lists(
        st.tuples(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3), KINDS), max_size=5
    ),
    st.integers(0, 25),
    st.sets(st.integers(0, 24), max_size=6),
    st.integers(1, 9),
)
def test_rows_score_the_same_apart_from_the_others_with_the_statistics_of_all(
    texts: list[str],
    given_parts: list[tuple[list[str], PartKind]],
    cut: int,
    removed: set[int],
    k: int,
) -> None:
    parts = [
        (tokens[:1] if kind == PartKind.PREFIX else tokens, int(kind))
        for tokens, kind in given_parts
    ]
    gone = np.array(sorted(row for row in removed if row < len(texts)), np.int64)
    halves = [
        Placed(build(texts[:cut]).without(gone[gone < cut]), 0),
        Placed(build(texts[cut:]).without(gone[gone >= cut] - cut), cut),
    ]
    counts = [_core.count_matches([half], parts) for half in halves]
    total = [sum(each) for each in zip(*counts, strict=True)]
    assert total == _core.count_matches(list(halves), parts)
    living = [text.split() for row, text in enumerate(texts) if row not in removed]
    sought = [
        each
        for tokens, kind in parts
        for each in ([[token] for token in tokens] if kind == PartKind.ANY else [tokens])
    ]
    assert total == [sum(follows(row, each) for row in living) for each in sought]
    statistics = (
        sum(len(half.index) for half in halves),
        sum(half.index.tokens for half in halves),
        total,
    )
    rows, scores = _core.search_words(list(halves), parts, k=k, filter=None)
    found = [
        _core.search_words([half], parts, k=k, filter=None, statistics=statistics)
        for half in halves
    ]
    apart = np.concatenate([each[0] for each in found])
    values = np.concatenate([each[1] for each in found])
    order = np.argsort(-values, kind="stable")[:k]
    assert apart[order].tolist() == rows.tolist()
    assert values[order].tolist() == scores.tolist()


def test_statistics_that_do_not_fit_are_refused() -> None:
    index = build(["apple bread", "bread", "stone"])
    parts = parts_of("apple bread")
    for statistics, message in (
        ((3, 4, [1]), "1 counts for 2 parts"),
        ((3, 4, [1, 2, 3]), "3 counts for 2 parts"),
        ((2, 4, [1, 2]), "fewer rows"),
        ((3, 3, [1, 2]), "fewer rows"),
        ((3, 4, [1, 1]), "fewer rows"),
    ):
        with pytest.raises(IdError, match=message):
            _core.search_words([(index, 0)], parts, k=3, filter=None, statistics=statistics)
    rows, _ = _core.search_words(
        [(index, 0)], parts, k=3, filter=None, statistics=(2**40, 2**50, [2**40, 2**63])
    )
    assert rows.tolist() == [0, 1]


def saved(index: _core.WordIndex, path: Path) -> bytes:
    index.save(str(path).encode(), metadata='{"kind": "words"}')
    return path.read_bytes()


def loaded(path: Path, *, verify: bool = False) -> _core.WordIndex:
    return _core.WordIndex.open(_core.File(str(path).encode(), verify=verify))


def test_a_file_holds_what_was_saved(tmp_path: Path) -> None:
    texts = corpus(3_000, 500)
    index = build(texts)
    first = saved(index, tmp_path / "a.words")
    again = loaded(tmp_path / "a.words", verify=True)
    again.check()
    assert (len(again), again.tokens, again.terms) == (3_000, index.tokens, index.terms)
    assert search([Placed(again, 0)], "w3 w50") == search([Placed(index, 0)], "w3 w50")
    assert saved(again, tmp_path / "b.words") == first
    halves = [build(texts[:1_000]), build(texts[1_000:])]
    merged = _core.WordIndex.merged(halves, shifts=[0, 1_000])
    assert saved(merged, tmp_path / "c.words") == first


def test_every_flipped_bit_of_a_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.words"
    whole = saved(build(corpus(300, 50)), path)
    for place in random.Random(0).sample(range(8 * len(whole)), 300):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(FormatError):
            loaded(path, verify=True)


def test_searches_of_a_corrupted_file_end(tmp_path: Path) -> None:
    """Whatever the bytes of the lists are, a search ends, with hits or with an error."""
    path = tmp_path / "a.words"
    whole = saved(build(corpus(2_000, 60)), path)
    chance = random.Random(0)
    ended = {"found": 0, "refused": 0}
    for _ in range(500):
        flipped = bytearray(whole)
        for _ in range(chance.choice([1, 1, 5, 50])):
            flipped[chance.randrange(len(whole))] = chance.randrange(256)
        path.write_bytes(flipped)
        try:
            index = loaded(path)
            for query in ("w0 w7 w30", '"w0 w1"', "w59"):
                search([Placed(index, 0)], query, 10)
            _core.WordIndex.merged([index, index], shifts=[0, index.rows])
            index.check()
            ended["found"] += 1
        except FormatError:
            ended["refused"] += 1
    assert ended["refused"] > 200


@pytest.mark.parametrize("count", [63, 64, 65, 4_096])
def test_the_first_and_the_last_row_are_found_where_only_they_are_allowed(count: int) -> None:
    allowed = np.array([0, count - 1])
    rows, _ = search([Placed(build(["bread river"] * count), 0)], "bread river", 9, allowed)
    assert rows == [0, count - 1]
