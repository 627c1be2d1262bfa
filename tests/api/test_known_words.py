"""A text of known words has the ids that its tokenizer gives it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from nestling.runtime import known_words
from nestling.runtime.known_words import KnownWords, reads_words

LETTERS = "abBsxéİßد中한"
PIECES = ["a", "b", "ab", "s", "x", "e", "i", "ss", "د", "中", "한", "?", ".", "-", "1", "[", "]"]


def word_pieces() -> Tokenizer:
    """As that of BERT."""
    names = ["[UNK]", "[MASK]", *PIECES, *(f"##{piece}" for piece in PIECES)]
    tokenizer = Tokenizer(
        models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[UNK]", "[MASK]"])
    return tokenizer


def unigrams() -> Tokenizer:
    """As that of XLM-R, with a token that takes the spaces around it."""
    names = ["<unk>", "<mask>", "▁", *PIECES, *(f"▁{piece}" for piece in PIECES)]
    pieces = [(name, -1.0 - i / 7) for i, name in enumerate(names)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True)])
    return tokenizer


TOKENIZERS = {"word pieces": word_pieces(), "unigrams": unigrams()}
KNOWN = {name: KnownWords(tokenizer) for name, tokenizer in TOKENIZERS.items()}
# Words that are known, between spaces that sometimes are not.
WORDS = st.text(LETTERS + "?.-1[]", min_size=1, max_size=5)
ODD = st.sampled_from(
    [
        *("", "[MASK]", "a<mask>", "<mask>", "a\u00a0", "\u200bb", "b\ufffd", "▁a", "a\n", "ﬁ"),
        *("e\u0301", "🙂", "ﷺ", "\u1100\u1161", "x" * 70, "²", "a\u2028", "…"),
    ]
)
TEXTS = st.lists(st.one_of(WORDS, WORDS, WORDS, ODD), min_size=1, max_size=6).map(" ".join)


def ids_by(tokenizer: Tokenizer, text: str) -> Any:
    return tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("name", TOKENIZERS)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_the_ids_are_those_of_the_tokenizer(name: str, texts: list[str]) -> None:
    tokenizer = TOKENIZERS[name]
    for words in (KNOWN[name], KnownWords(tokenizer)):
        for text in texts:
            assert words.ids(text) in (ids_by(tokenizer, text), None)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_plain_words_are_known_and_others_are_left_to_the_tokenizer(name: str) -> None:
    words = KnownWords(TOKENIZERS[name])
    for text in ("ab", "ab s", "a-b ab? 1.", "دد 中"):
        assert words.ids(text) == ids_by(TOKENIZERS[name], text)
        assert words.ids(text) is not words.ids(text)  # nobody can change what is known
    words.learn(["ab s x", "a  i"])  # all but what is between the two spaces
    known = len(words)
    assert words.ids("x i a") == ids_by(TOKENIZERS[name], "x i a")
    assert len(words) == known
    for text in ("a  i", " a", "a ", "a\tb", "a\u00a0b", "a \ufffd", "", "s" * 65):
        assert words.ids(text) is None
    assert len(words) == known
    assert words.ids("a [MASK]" if name == "word pieces" else "a<mask>") is None


def test_a_word_that_is_truncated_is_not_known() -> None:
    tokenizer = word_pieces()
    tokenizer.enable_truncation(3)
    words = KnownWords(tokenizer)
    assert words.ids("xxxx ab") is None
    assert words.ids("xxx ab") == [*ids_by(tokenizer, "xxx"), *ids_by(tokenizer, "ab")]


def test_a_full_table_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_words, "_MOST", 3)
    words = KnownWords(TOKENIZERS["word pieces"])
    for text in ("a b", "a s", "x ab", "a b s x", "a b"):
        assert words.ids(text) == ids_by(TOKENIZERS["word pieces"], text)
        assert len(words) <= 4


def other(**parts: Any) -> Tokenizer:
    tokenizer = word_pieces()
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    return tokenizer


@pytest.mark.parametrize(
    "tokenizer",
    [
        other(pre_tokenizer=pre_tokenizers.ByteLevel()),
        other(pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="first")),
        other(pre_tokenizer=pre_tokenizers.Metaspace(split=False)),
        other(
            pre_tokenizer=pre_tokenizers.Sequence(
                [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits()]
            )
        ),
        other(normalizer=normalizers.Replace(Regex("a b"), "c")),
        other(normalizer=normalizers.Prepend("a")),
        Tokenizer(models.BPE()),
    ],
    ids=lambda tokenizer: str(tokenizer.pre_tokenizer)[:40],
)
def test_tokenizers_that_read_across_spaces_are_told_apart(tokenizer: Tokenizer) -> None:
    assert not reads_words(tokenizer)


def test_an_added_token_with_a_space_is_read_across_spaces() -> None:
    tokenizer = word_pieces()
    assert reads_words(tokenizer)
    assert reads_words(TOKENIZERS["unigrams"])
    tokenizer.add_tokens(["a b"])
    assert not reads_words(tokenizer)
