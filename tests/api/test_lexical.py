"""The text that FTS5 indexes and its queries agree on every word."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.collection.ingest import arabic
from nestling.collection.ingest.analysis import (
    TOKENIZER,
    index_text,
    match_expression,
    query_parts,
    words,
)

OPERATORS = ["NEAR", "AND", "OR", "NOT", "*", "^", ":", "-", "(", ")", '"', "'", "x", "+", "{", "}"]
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
SCRIPTS = "abcXYZ0129éÉßÅñſı ΣσςЙйЁ שָׁלוֹם كِتَابٌأؤئىةـ ﻻﷲ हिन्दी"
SCRIPTS += "ไทย 北京東ｶﾞが ①½²Ⅳ™ 👍🏽 \u200d\u00ad\ufe0f._-'\0\ud800"
QUERIES = st.one_of(
    ANY_TEXT,
    st.lists(st.sampled_from(OPERATORS), max_size=12).map(" ".join),
    st.text(SCRIPTS, max_size=40),
)


def table(*texts: str) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    database.execute(f'CREATE VIRTUAL TABLE t USING fts5(x, tokenize="{TOKENIZER}")')
    database.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, instance)")
    rows = enumerate(map(index_text, texts))
    database.executemany("INSERT INTO t(rowid, x) VALUES (?, ?)", rows)
    return database


def rows(database: sqlite3.Connection, query: str) -> list[int]:
    expression = match_expression(query)
    if expression is None:
        return []
    found = database.execute("SELECT rowid FROM t WHERE t MATCH ? ORDER BY rowid", [expression])
    return [row for (row,) in found]


def found(text: str, query: str) -> bool:
    database = table(text)
    try:
        return rows(database, query) == [0]
    finally:
        database.close()


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
        if not database.execute("SELECT count(*) FROM v").fetchone()[0]:
            return
        for word in words(text):
            shown = text[word.start : word.end]
            terms = database.execute("SELECT count(*) FROM t WHERE t MATCH ?",
                                     [f'"{word.term}"']).fetchone()[0]  # fmt: skip
            tokenless = not any(index_text(word.term).strip())
            assert terms or tokenless, (shown, word)
            assert rows(database, shown) == [0] or match_expression(shown) is None, shown
    finally:
        database.close()


@given(text=st.text(SCRIPTS, max_size=60) | ANY_TEXT)
def test_the_words_of_python_are_the_tokens_of_fts5(text: str) -> None:
    """For the indexed text, and for its words with their offsets, one by one."""
    whole, apart = table(text), sqlite3.connect(":memory:")
    try:
        apart.execute(f'CREATE VIRTUAL TABLE t USING fts5(x, tokenize="{TOKENIZER}")')
        apart.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, instance)")
        terms = " ".join(word.term for word in words(text))
        apart.execute("INSERT INTO t(rowid, x) VALUES (0, ?)", [terms])
        tokens = "SELECT term, offset FROM v ORDER BY offset"
        assert whole.execute(tokens).fetchall() == apart.execute(tokens).fetchall()
    finally:
        whole.close()
        apart.close()


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
