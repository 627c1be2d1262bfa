"""Highlights are what the index found; snippets show the most of them."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from word_table import found

from nestling.bench.lexical.fts5 import match_expression
from nestling.collection.query.highlight import Highlighter, Snippet, mark, snippet
from nestling.errors import ArgumentError

WORDS = [
    "library",
    "libraries",
    "running",
    "run",
    "runs",
    "Café",
    "cafe",
    "the",
    "مكتبة",
    "والمكتبات",
]
WORDS += ["北京", "京都", "京", "war", "peace", "x²", "½", "กรุงเทพ", "เทพ", "서울시", "서울", "울"]
WORDS += ["می\u200cخواهم", "میخواهم", '"', "l" * 40_000, "ل" * 40_000, "l" * 40_001]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)


def marked(text: str, query: str) -> str:
    return mark(text, Highlighter(query).spans(text), "[", "]")


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("Many libraries are old.", "library", "Many [libraries] are old."),
        ("He runs; running, he ran.", "run", "He [runs]; [running], he ran."),
        ("Un CAFÉ, des cafés", "cafe", "Un [CAFÉ], des [cafés]"),
        ("فِي المَكْتَبَةِ كُتُبٌ", "مكتبات", "فِي [المَكْتَبَةِ] كُتُبٌ"),
        ("我住在北京大学里", "北京大学", "我住在[北京大学]里"),
        ("我住在北京大学里", "京", "我住在北[京]大学里"),
        ("war and peace, war", '"war and peace"', "[war and peace], war"),
        ("the king of the hill", "the king", "the [king] of the hill"),
        ("nothing", "else", "nothing"),
        ("nothing", "?!", "nothing"),
        ("", "word", ""),
        ("a\ud800b \0 word", "word", "a\ud800b \0 [word]"),
        ("กรุงเทพมหานคร", "เทพ", "กรุง[เทพ]มหานคร"),
        ("กินข้าว", "กิ", "[กิ]นข้าว"),
        ("서울특별시이다", "특별시", "서울[특별시]이다"),
        ("من می\u200cخواهم", "میخواهم", "من [می\u200cخواهم]"),
        ("\u2067كتاب\u2069 قديم", "كتاب", "\u2067[كتاب]\u2069 قديم"),
        ("葛\U000e0100城", "葛", "[葛\U000e0100]城"),
        ("½ cup", "1", "[½] cup"),
    ],
)
def test_the_words_of_a_query_are_highlighted(text: str, query: str, expected: str) -> None:
    assert marked(text, query) == expected


@given(TEXTS, TEXTS)
def test_a_text_has_highlights_if_and_only_if_fts5_finds_it(text: str, query: str) -> None:
    assume(match_expression(query) is not None)
    assert found(text, query) == bool(Highlighter(query).spans(text))


WIDE = ["x", "é", "ب", "ก", "北", "한", "ᄏ", "x\u0301", "ก\u0e34", "葛\u200d", "\U0001d400"]


@pytest.mark.parametrize("word", WIDE)
@pytest.mark.parametrize(
    "length", [63, 64, 65, 8_191, pytest.param(32_769, marks=pytest.mark.slow)]
)
def test_words_of_any_length_are_found_and_highlighted(word: str, length: int) -> None:
    long = word * length
    for text, query in ((long, long), (f"a {long} b", f'"{long}" b'), (f"{word} b", f"{long} b")):
        assert Highlighter(query).spans(text)
        assert found(text, query)


@given(st.text(max_size=80), st.text(max_size=30))
def test_spans_are_sorted_and_disjoint(text: str, query: str) -> None:
    end = 0
    for first, last in Highlighter(query).spans(text):
        assert end <= first < last <= len(text)
        end = last
    assert marked(text, query).replace("[", "").replace("]", "") == text.replace("[", "").replace(
        "]", ""
    )


def test_a_snippet_shows_the_part_with_the_most_distinct_words() -> None:
    text = "rust rust rust " + "filler " * 30 + "rust meets python here " + "filler " * 30
    found = snippet(text, Highlighter("rust python").spans(text), width=40)
    shown = found.text
    assert shown == text[found.start : found.end]
    assert len(shown) <= 40
    assert "rust meets python" in shown
    assert found.marked("[", "]").count("[") == 2
    assert shown == shown.strip()
    assert set(shown.split()) <= set(text.split())


@pytest.mark.parametrize(
    ("query", "many", "best"),
    [
        ("library rivers", "library Libraries library's", "a river, a library"),
        ("مكتبة نهر", "المكتبة مكتبات ومكتبتنا", "نهر عند المكتبات"),
    ],
)
def test_forms_of_one_word_count_once(query: str, many: str, best: str) -> None:
    for text in (f"{many} {'- ' * 99}{best}", f"{best} {'- ' * 99}{many}"):
        assert snippet(text, Highlighter(query).spans(text), 40).text.strip("- ") == best


def test_a_snippet_of_a_short_text_is_the_whole_text() -> None:
    assert snippet("short", [(0, 5)], 10) == Snippet("short", 0, 5, ((0, 5),))


def test_a_snippet_without_matches_is_the_start() -> None:
    assert snippet("one two three four", [], 9) == Snippet("one two", 0, 7, ())


@given(st.text(st.sampled_from("ab  \n"), min_size=1, max_size=80), st.integers(1, 30), st.data())
def test_a_snippet_keeps_to_its_width(text: str, width: int, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    spans = [(a, b) for a, b in pairs if not text[a:b].isspace()]  # a word has other characters
    found = snippet(text, spans, width)
    assert 0 <= found.start <= found.end <= len(text)
    assert found.text == text[found.start : found.end]
    assert len(found.text) <= width
    for first, last in found.highlights:
        assert 0 <= first < last <= len(found.text)
    assert bool(found.highlights) == bool(spans)


def test_a_width_below_one_is_refused() -> None:
    with pytest.raises(ArgumentError, match="width"):
        snippet("text", [], 0)


@pytest.mark.slow
@pytest.mark.parametrize("mark", ["\u0301", "\u0e34", "\u3099", "\u05b0"])
def test_a_letter_with_any_number_of_marks_is_found_and_highlighted(mark: str) -> None:
    for letter in ("x", "ก", "か"):
        long = f"a{letter}{mark * 40_000}{letter}"
        for text, query in ((long, long), (f"z {long}", f"{long} z"), (long, f'"{long} {long}" a')):
            if text != long or query == long:
                assert Highlighter(query).spans(text)
            assert found(text, query) == bool(Highlighter(query).spans(text))
