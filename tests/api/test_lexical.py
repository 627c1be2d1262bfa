"""The text that FTS5 indexes and its queries agree on every word."""

from __future__ import annotations

import re
import sqlite3
import sys
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from word_table import found, rows, table

from nestling import _core
from nestling.bench.lexical.fts5 import match_expression
from nestling.collection.ingest import arabic
from nestling.collection.ingest.analysis import (
    index_text,
    query_parts,
    token,
    words,
)
from nestling.collection.ingest.characters import IGNORABLE, UNSPACED
from nestling.collection.query.highlight import Highlighter

OPERATORS = ["NEAR", "AND", "OR", "NOT", "*", "^", ":", "-", "(", ")", '"', "'", "x", "+", "{", "}"]
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
SCRIPTS = "abcXYZ0129éÉßÅñſı ΣσςЙйЁ שָׁלוֹם كِتَابٌأؤئىةـ ﻻﷲ हिन्दी"
SCRIPTS += "ไทย 北京東ｶﾞが ①½²Ⅳ™ 👍🏽 \u200d\u00ad\ufe0f._-'\0\ud800"
SCRIPTS += "กิน้ำ ລາວ ភាសាខ្មែរ မြန်မာ ᥖᥭᥰ ᦅᦷ ᨣᩴ ꪎꪱ ꆈꌠ ㄅㄆ 한국어 "
SCRIPTS += "\u1112\u1161\u11ab ㅋ ꦗꦮ می\u200cخواهم ﷺ"
QUERIES = st.one_of(
    ANY_TEXT,
    st.lists(st.sampled_from(OPERATORS), max_size=12).map(" ".join),
    st.text(SCRIPTS, max_size=40),
)


@pytest.fixture(scope="module")
def empty() -> Iterator[sqlite3.Connection]:
    database = table("some text")
    yield database
    database.close()


@given(query=QUERIES)
def test_no_query_is_a_syntax_error(empty: sqlite3.Connection, query: str) -> None:
    rows(empty, query)


def test_a_query_may_have_thousands_of_words(empty: sqlite3.Connection) -> None:
    assert rows(empty, " ".join(f"w{number}" for number in range(5000)) + " text") == [0]


@given(text=st.text(SCRIPTS, max_size=40) | ANY_TEXT)
def test_every_word_of_a_text_finds_it(text: str) -> None:
    database = table(text)
    try:
        for word in words(text):
            shown = text[word.start : word.end]
            assert rows(database, shown) == [0], shown
            assert Highlighter(shown).spans(text), shown
    finally:
        database.close()


@given(text=st.text(SCRIPTS, max_size=60) | ANY_TEXT)
def test_the_words_of_python_are_the_tokens_of_fts5(text: str) -> None:
    database = table(text)
    try:
        found = database.execute("SELECT term FROM v ORDER BY offset").fetchall()
    finally:
        database.close()
    assert [token(word.term) for word in words(text)] == [term for (term,) in found]


SUFFIXES = """
ational tional enci anci izer logi bli alli entli eli ousli ization ation ator alism iveness fulness
ousness aliti iviti biliti ical ness icate iciti ful ative alize al ance ence er ic able ible ant
ement ment ent sion tion ou ism ate iti ous ive ize e ll y s es ies sses ed eed ing at bl iz
"""
ENGLISH = st.builds(
    lambda stem, suffixes: (stem + "".join(suffixes))[:80],
    st.text("aeiouylswxbtzé", max_size=5) | st.text("abcdeilnsty", max_size=70),
    st.lists(st.sampled_from(SUFFIXES.split()), max_size=3),
).filter(bool)


@settings(max_examples=20)
@given(st.lists(ENGLISH, min_size=100, max_size=300, unique=True))
def test_stems_are_those_of_fts5(listed: list[str]) -> None:
    database = table()
    try:
        database.executemany("INSERT INTO t(rowid, x) VALUES (?, ?)", enumerate(listed))
        found = database.execute("SELECT term FROM v ORDER BY doc").fetchall()
    finally:
        database.close()
    assert list(map(_core.stem, listed)) == [stem for (stem,) in found]


def sprinkled(text: str, ignorable: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """The text with ignorable characters after some of the characters that belong to a word."""
    ends = {end for word in words(text) for end in range(word.start + 1, word.end + 1)}
    return st.lists(ignorable, min_size=len(text) + 1, max_size=len(text) + 1).map(
        lambda added: "".join(
            (added[place] if place in ends else "") + text[place : place + 1]
            for place in range(len(text) + 1)
        )
    )


IGNORABLES = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if re.match(f"[{IGNORABLE}]", character) or unicodedata.category(character) == "Cf"
]
SOME_IGNORABLES = st.lists(
    st.sampled_from(["", "\u200c", "\u200d", "\u200e", "\u200f", "\u2060", "\ufeff", "\u00ad"])
    | st.sampled_from(IGNORABLES),
    max_size=2,
).map("".join)


@given(text=st.text(SCRIPTS, max_size=40), data=st.data())
def test_format_characters_in_words_are_not_seen(text: str, data: st.DataObject) -> None:
    spelled = data.draw(sprinkled(text, SOME_IGNORABLES))
    assert [word.term for word in words(spelled)] == [word.term for word in words(text)]
    assert match_expression(spelled) == match_expression(text)
    for word, plain in zip(words(spelled), words(text), strict=True):
        shown = re.sub(f"[{IGNORABLE}]", "", spelled[word.start : word.end])
        assert shown == re.sub(f"[{IGNORABLE}]", "", text[plain.start : plain.end])


@given(text=st.text(SCRIPTS, max_size=40), form=st.sampled_from(["NFC", "NFD"]))
def test_composed_and_decomposed_texts_have_the_same_words(text: str, form: str) -> None:
    other = unicodedata.normalize(form, text)
    assert [word.term for word in words(other)] == [word.term for word in words(text)]


@given(
    text=st.text(
        "กินข้าวໄດ້ភាសាខ្មែរမြန်မာ北京大学한국어가각ㅋᥖᥭᥰꆈꌠꦗꦮㄅㄆがｶﾞ", min_size=1, max_size=30
    ),
    data=st.data(),
)
def test_any_part_of_a_run_without_spaces_finds_it(text: str, data: st.DataObject) -> None:
    found = words(text)
    if not found:
        return
    first = data.draw(st.integers(0, len(found) - 1))
    last = data.draw(st.integers(first, len(found) - 1))
    part = text[found[first].start : found[last].end]
    database = table("other 日本 words", text)
    try:
        assert rows(database, part) == [1]
        assert rows(database, f'"{part}"') == [1]
    finally:
        database.close()
    for query in (part, f'"{part}"'):
        spans = Highlighter(query).spans(text)
        assert any(a <= found[first].start and b >= found[first].start + 1 for a, b in spans)


def letters(step: int) -> list[str]:
    characters = map(chr, range(0x80, sys.maxunicode + 1))
    return [character for character in characters if character.isalnum()][::step]


@pytest.mark.parametrize("step", [41, pytest.param(1, marks=pytest.mark.slow)])
def test_every_letter_of_unicode_finds_itself(step: int) -> None:
    listed = letters(step)
    database = table(*(f"x {letter} y" for letter in listed))
    try:
        for row, letter in enumerate(listed):
            expression = match_expression(letter)
            if expression is None:
                assert not index_text(letter).strip()
                continue
            query = "SELECT 1 FROM t WHERE t MATCH ? AND rowid = ?"
            assert database.execute(query, [expression, row]).fetchone(), letter
            assert Highlighter(letter).spans(f"zz {letter} zz"), letter
    finally:
        database.close()


def test_the_ranges_of_characters_are_those_of_unicode() -> None:
    """Computed again from the properties; characters that either edition lacks are left out."""
    regex = pytest.importorskip("regex")
    breaks = "".join(
        rf"\p{{Line_Break={name}}}"
        for name in ("SA", "ID", "CJ", "NS", "AK", "AP", "AS", "H2", "H3", "JL", "JV", "JT")
    )
    unspaced = regex.compile(f"[{breaks}]")
    ignorable = regex.compile(r"[\p{Default_Ignorable_Code_Point}\p{Cf}]")
    assigned = regex.compile(r"\P{Cn}")
    listed_unspaced, listed_ignorable = re.compile(f"[{UNSPACED}]"), re.compile(f"[{IGNORABLE}]")
    wrong = []
    for character in map(chr, range(sys.maxunicode + 1)):
        category = unicodedata.category(character)
        if category in ("Cn", "Cs") or not assigned.match(character):
            continue
        if category[0] == "L" or category == "Nl":
            latin = any(map(str.isascii, unicodedata.normalize("NFKC", character)))
            expected = unspaced.match(character) is not None and not latin
            if expected != (listed_unspaced.match(character) is not None):
                wrong.append(character)
        if (ignorable.match(character) is None) != (listed_ignorable.match(character) is None):
            wrong.append(character)
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("The libraries of Cairo", "library"),
        ("a CAFÉ au lait", "cafe"),
        ("the cafe", "café"),
        ("Straße", "STRASSE"),
        ("ＡＢＣ１２", "abc12"),
        ("co\u00adoperate", "cooperate"),
        ("Nestling™", "nestling"),
        ("snake_case", "snake"),
        ("والمكتبات القديمة", "مكتبة"),
        ("إِلَى المَدْرَسَةِ", "مدرسه"),
        ("سنة ١٩٥٢", "1952"),
        ("کتاب", "كتاب"),
        ("我住在北京大学", "北京"),
        ("我住在北京大学", "学"),
        ("我住在北京大学", "住"),
        ("ｶﾞｲﾄﾞ", "ガイド"),
        ("हिन्दी भाषा", "हिन्दी"),
        ("שָׁלוֹם", "שלום"),
        ("war and peace", '"war and peace"'),
        ("a rock-n-roll band", "roll"),
        ("กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย", "ประเทศไทย"),
        ("กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย", "น"),
        ("น้ำแข็ง", "น้ํา"),  # the vowel am in two codes
        ("ນະຄອນຫຼວງວຽງຈັນ", "ວຽງຈັນ"),
        ("រាជធានីភ្នំពេញ", "ភ្នំពេញ"),
        ("ရန်ကုန်မြို့", "ရန်ကုန်"),
        ("대한민국의 수도는 서울특별시이다", "서울"),
        ("대한민국의 수도는 서울특별시이다", "대한민국"),
        (unicodedata.normalize("NFD", "서울특별시"), "서울"),
        ("ꆈꌠꁱꂷ", "ꌠꁱ"),
        ("من می\u200cخواهم", "میخواهم"),
        ("من میخواهم", "می\u200cخواهم"),
        ("العـــربية", "العربية"),
        ("ال\u200fكتاب", "كتاب"),
        ("𞸀𞸁", "اب"),  # mathematical forms
        ("zero\u200bwidth", "zerowidth"),
        ("na\ufeffme", "name"),
        ("葛\U000e0100城市", "葛城"),
    ],
)
def test_a_word_is_found_in_its_other_spellings(text: str, query: str) -> None:
    assert found(text, query)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("peace and war", '"war and peace"'),
        ("हम", "हिन्दी"),
        ("か", "が"),
        ("北大京", "北京"),
        ("nothing of it", "NEAR(something)"),
    ],
)
def test_other_words_are_not_found(text: str, query: str) -> None:
    assert not found(text, query)


def test_function_words_are_searched_only_without_other_words() -> None:
    assert query_parts("who is the king of Spain") == [("king",), ("spain",)]
    assert query_parts("من هو ملك إسبانيا") == [("ملك",), ("اسبانيا",)]
    assert query_parts("who is it") == [("who",), ("is",), ("it",)]
    assert query_parts('"to be" or not') == [("to", "be"), ("not",)]


def test_quotes_make_phrases_and_an_unclosed_one_is_ignored() -> None:
    assert match_expression('"new york" hotels') == '"new york" OR "hotels"'
    assert match_expression("«new york»") == '"new york"'
    assert match_expression('new "york') == '"new" OR "york"'
    assert match_expression("Rust rust") == '"rust"'


@pytest.mark.parametrize("query", ["", " ", "?!", "\0", "\ud800", '""', "👍", "ـ"])
def test_a_query_without_words_has_no_expression(query: str) -> None:
    assert match_expression(query) is None


def test_offsets_refer_to_the_original_text() -> None:
    text = "قال: مَكْتَبَةٌ، Ⅳ 北京都"
    assert [text[word.start : word.end] for word in words(text)] == [
        "قال", "مَكْتَبَةٌ", "Ⅳ", "北京", "京都", "都"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        ("والكتاب", "كتاب"),
        ("بالمدرسه", "مدرس"),
        ("للناس", "ناس"),
        ("وقال", "قال"),
        ("ولد", "ولد"),  # a leading "and" must leave three letters
        ("الم", "الم"),  # an article must leave two
        ("مهندسون", "مهندس"),
        ("كتابها", "كتاب"),
        ("طالبات", "طالب"),
        ("مصريه", "مصر"),
        ("ماء", "ماء"),
        ("word", "word"),
    ],
)
def test_arabic_words_have_the_stems_of_light10(word: str, stem: str) -> None:
    assert arabic.stem(word) == stem


def test_arabic_is_normalised_and_other_text_unchanged() -> None:
    assert arabic.normalise("أَإِآٱ ىٰ ؤ ئ ة ـــ ٣ ۴ ﻻ ک ی") == "اااا ي و ي ه  3 4 لا ك ي"
    assert arabic.normalise("Café ½ ﬁ") == "Café ½ ﬁ"
    assert arabic.has_arabic("x ب")
    assert not arabic.has_arabic("Ωπ \ufeff")
