"""Passages cover a text, keep to their sizes, and begin and end with sentences."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.collection.ingest.passages import Passages
from nestling.errors import ArgumentError

SENTENCES = (
    "One is here. Two is there! Is three? «Four.» خمسة هنا؟ ستة هناك. 七です。8 is 3.5.\n\n- nine\n"
)
TEXTS = st.one_of(
    st.text(max_size=400),
    st.lists(st.sampled_from([*"ab .!?\n", "،", "。", "\u0301", "\u200d", "Dr. ", ". A", " " * 9]))
    .map("".join),
    st.lists(st.sampled_from(SENTENCES.split(" ")), max_size=80).map(" ".join),
)  # fmt: skip


@given(TEXTS, st.integers(1, 60), st.data())
def test_passages_hold_every_letter_and_keep_to_their_sizes(
    text: str, size: int, data: st.DataObject
) -> None:
    passages = Passages(size, data.draw(st.integers(0, size // 2)))
    spans = passages.spans(text)
    held = [False] * len(text)
    for start, end in spans:
        assert 0 <= start < end <= min(len(text), start + size)
        held[start:end] = [True] * (end - start)
    assert all(here or c.isspace() for here, c in zip(held, text, strict=True))
    for (start, end), (following, last) in pairwise(spans):
        assert start < following
        assert end < last
        assert end - following <= passages.overlap
    if len(text) > size:
        assert all(text[a:b].strip() == text[a:b] for a, b in spans)
    assert passages.spans(text) == spans


@pytest.mark.parametrize("text", ["x", " two words ", "a\nb", "x" * 1000])
def test_a_short_text_is_one_passage_whole(text: str) -> None:
    assert Passages().spans(text) == [(0, len(text))]


@pytest.mark.parametrize("text", ["", " ", "\n" * 5000])
def test_a_blank_text_has_no_passage(text: str) -> None:
    assert Passages().spans(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "It rained hard. |Then it was over! |Was it so? |Yes indeed it was…",
        "He said “no, never.” |She laughed (and left.) |All was over.",
        "هل تعرف القاهرة؟ |نعم أعرفها جيدا. |هي عاصمة مصر۔ |انتهى الكلام.",
        "東京は日本の首都です。|大阪は違います！|本当ですか？|はい。",
        "A paragraph without an end\n\n|another one without any\n\n|and the last one",
        "Things to buy today:\n|- bread and butter\n|- milk and honey\n|12. and yet more",
        "# A heading of some length\n|Then the text begins here. |And it goes on.",
    ],
)
def test_sentences_end_where_they_should(text: str) -> None:
    parts = [part.strip() for part in text.split("|")]
    joined = text.replace("|", "")
    for size in range(max(map(len, parts)), len(joined)):
        ends = {joined[:b].rstrip() for _, b in Passages(size, 0).spans(joined)}
        whole = {"".join(text.split("|")[: i + 1]).rstrip() for i in range(len(parts))}
        assert ends <= whole


@pytest.mark.parametrize(
    "inside",
    [
        "It costs 3.14 Euros in all",
        "العدد هو ٣٫١٤ تقريبا",
        "Then Dr. Smith and Mrs. Jones came",
        "Fruit, e.g. Apples, i.e. Food",
        "The U.S. Senate met",
        "By J. R. Tolkien himself",
        "Call a.b.C and os.Path now",
        "He waited... and then he left",
        "He waited . . . and then left",
        "See no. 5 and p. 7 of it",
        '"Stop!" he cried',
    ],
)
def test_marks_within_a_sentence_do_not_end_it(inside: str) -> None:
    text = f"{inside}. The next one is longer than the first one by far, it seems."
    assert Passages(len(text) - 5, 0).spans(text)[0] == (0, len(inside) + 1)


def test_whole_sentences_are_shared_up_to_the_overlap() -> None:
    text = " ".join(f"Sentence {number:02}." for number in range(10))  # 12 characters each
    spans = Passages(size=38, overlap=13).spans(text)
    assert [text[a:b] for a, b in spans[:2]] == [
        "Sentence 00. Sentence 01. Sentence 02.",
        "Sentence 02. Sentence 03. Sentence 04.",
    ]
    apart = Passages(size=38, overlap=11).spans(text)  # a sentence is longer than that
    assert text[slice(*apart[1])].startswith("Sentence 03.")


def test_a_long_sentence_is_cut_at_a_clause_then_at_white_space_then_anywhere() -> None:
    cut = Passages(20, 0)
    text = "one two three, four five six seven eight"
    assert text[slice(*cut.spans(text)[0])] == "one two three,"
    text = "one two three four five six seven eight"
    assert text[slice(*cut.spans(text)[0])] == "one two three four"
    assert cut.spans("x" * 45) == [(0, 20), (20, 40), (40, 45)]


def test_a_hard_cut_keeps_characters_whole() -> None:
    for unit in ("e\u0301\u0323", "👩\u200d🚀", "👍🏽"):
        text = unit * 30
        for start, _ in Passages(10, 0).spans(text):
            assert not unicodedata.category(text[start]).startswith("M")
            assert start % len(unit) == 0


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (-5, 0), (10, 6), (10, -1)])
def test_invalid_sizes_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ArgumentError, match="must be"):
        Passages(size, overlap)


@pytest.mark.parametrize(
    "unit",
    ["word ", ".", ". ", " ", "x", "\n", "\u0301", '."', "#", ",", "。", " \n a", "x" + " " * 3000],
)
@pytest.mark.timeout(250)  # a quadratic splitter takes hours for a text of this length
def test_a_long_text_is_split_whatever_it_holds(unit: str) -> None:
    text = "x" + unit * (1_000_000 // len(unit))
    spans = Passages().spans(text)
    assert (spans[0][0], spans[-1][1]) == (0, len(text.rstrip()))
