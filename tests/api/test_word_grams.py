"""Runs of letters inside words: which ones a text has, whatever way its words are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.runtime import word_grams
from nestling.runtime.word_grams import WordGrams, grams_of

WORDS = st.text(st.sampled_from("abçßİدأُـ中한1_-!.'"), max_size=8)


@given(st.text("abcd", min_size=1, max_size=9))
def test_they_are_all_runs_of_four_letters(word: str) -> None:
    whole = f"<{word}>"
    ends = range(len(whole) + 1)
    expected = {whole[i:j] for i in ends for j in ends if j - i == 4}
    assert set(grams_of(word)) == expected


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("Straße", "STRASSE"),
        ("café", "cafe\u0301"),
        ("café", "cafe"),
        ("مُحَمَّد", "محمد"),
        ("محـــمد", "محمد"),
        ("إسلام", "أسلام"),
        ("ﻻ", "لا"),  # a ligature
        ("(bread)", "bread!"),
    ],
)
def test_ways_to_write_a_word_have_the_same(word: str, other: str) -> None:
    assert list(grams_of(word)) == list(grams_of(other)) != []


def test_forms_of_an_arabic_word_share_most() -> None:
    forms = [set(grams_of(word)) for word in ("مدرسة", "المدرسة", "مدرستهم", "والمدرسة")]
    for form in forms[1:]:
        assert len(form & forms[0]) >= len(forms[0]) // 2


def test_parts_of_a_word_are_words() -> None:
    assert list(grams_of("ab-cd")) == ["<ab>", "<cd>"]
    assert list(grams_of("...")) == []


@given(st.lists(WORDS, max_size=6), st.sets(st.sampled_from(list(grams_of("abcab1")))))
def test_a_text_has_the_ids_of_its_words_in_order(words: list[str], known: set[str]) -> None:
    grams = sorted(known)
    table = WordGrams(grams, first=7)
    text = " ".join(words)
    expected = [
        7 + grams.index(gram) for word in text.split() for gram in grams_of(word) if gram in known
    ]
    assert table.ids(text) == expected
    assert table.ids(text) == expected  # from the words that it knows now
    assert len(table) == len(known)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_grams, "_MOST_KNOWN", 10)
    table = WordGrams(list(grams_of("abc")), first=0)
    for number in range(100):
        assert table.ids(f"abc x{number}") == table.ids("abc")
        assert len(table._known) <= 10
    assert len(table.ids("abc " * 10_000)) == word_grams._MOST_WORDS * len(list(grams_of("abc")))


def test_endless_words_are_read_in_part_and_not_kept() -> None:
    table = WordGrams(list(grams_of("abc")), first=0)
    endless = "x" * 1_000_000
    assert table.ids(f"abc {endless}") == table.ids("abc")
    assert table.ids(f"{endless} abc") == []
    assert max(map(len, table._known)) <= word_grams._LONGEST_KNOWN
