"""The encoder on tiny models: order, lengths, odd texts, prefixes, threads."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import DIM, WORDS, table

from nestling.encoder import Encoder
from nestling.errors import ModelError, SettingError, TruncationWarning, VectorError

MakeFolder = Callable[..., Path]
PLAIN = WORDS[4:11]


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def mean_of(*words: str) -> np.ndarray:
    return unit(table()[[WORDS.index(word) for word in words]].mean(axis=0))


@pytest.fixture
def encoder(make_folder: MakeFolder) -> Encoder:
    return Encoder(make_folder(special=False), threads=2)


@given(
    texts=st.lists(st.lists(st.sampled_from(PLAIN), min_size=1, max_size=40), max_size=60),
    batch_size=st.integers(1, 70),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_text_keeps_its_place_whatever_the_batches(
    encoder: Encoder, texts: list[list[str]], batch_size: int
) -> None:
    vectors = encoder.encode([" ".join(words) for words in texts], batch_size=batch_size)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(texts), DIM)
    for vector, words in zip(vectors, texts, strict=True):
        np.testing.assert_allclose(vector, mean_of(*words), atol=1e-6)


def test_one_string_gives_one_vector(encoder: Encoder) -> None:
    single = encoder.encode("cat sun")
    assert single.shape == (DIM,)
    np.testing.assert_array_equal(single, encoder.encode(["cat sun"])[0])
    assert encoder.encode_queries("cat").shape == (DIM,)


@pytest.mark.parametrize("text", ["cat", "cat sun dog moon", "", "مرحبا"])
@pytest.mark.parametrize("dim", [None, 5])
def test_a_single_text_becomes_what_it_is_among_others(
    encoder: Encoder, text: str, dim: int | None
) -> None:
    among = encoder.encode(["cat dog sun", text, "sun"], dim=dim)[1]
    for alone in (encoder.encode(text, dim=dim), encoder.encode([text], dim=dim)[0]):
        assert (alone.shape, alone.dtype) == (among.shape, np.float32)
        np.testing.assert_allclose(alone, among, atol=1e-6)


def test_a_single_text_starts_no_threads(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start
    monkeypatch.setattr(
        threading.Thread, "start", lambda thread: (started.append(thread), start(thread))[1]
    )
    encoder.encode("cat sun")
    encoder.encode_queries(["cat sun"])
    assert not started
    encoder.encode(["cat", "sun"])
    assert started


def test_more_texts_than_a_window_keep_their_order(encoder: Encoder) -> None:
    words = [PLAIN[i % len(PLAIN)] for i in range(20_000)]
    expected = np.stack([mean_of(word) for word in PLAIN])
    np.testing.assert_allclose(
        encoder.encode(words), expected[np.arange(20_000) % len(PLAIN)], atol=1e-6
    )


def test_a_text_without_tokens_is_the_zero_vector(encoder: Encoder) -> None:
    vectors = encoder.encode(["", "cat", "   \n"])
    assert not vectors[[0, 2]].any()
    np.testing.assert_allclose(vectors[1], mean_of("cat"), atol=1e-6)
    assert not encoder.encode("").any()


def test_an_empty_text_has_the_special_tokens_where_the_model_adds_them(
    make_folder: MakeFolder,
) -> None:
    encoder = Encoder(make_folder())
    np.testing.assert_allclose(encoder.encode(""), mean_of("[CLS]", "[SEP]"), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cat مرحبا", ["cat", "مرحبا"]),
        ("cat 😀", ["cat", "😀"]),
        ("cat \ud83d dog", ["cat", "\ufffd", "dog"]),
        ("\udc00", ["\ufffd"]),
        ("\ud83d\ude00", ["😀"]),
        ("cat\x00dog", ["[UNK]"]),
    ],
    ids=["arabic and english", "emoji", "lone high", "lone low", "a pair in two halves", "null"],
)
def test_odd_texts_have_a_defined_embedding(encoder: Encoder, text: str, words: list[str]) -> None:
    np.testing.assert_allclose(encoder.encode(text), mean_of(*words), atol=1e-6)


def test_a_prefix_is_normalised_again(encoder: Encoder) -> None:
    whole = encoder.encode(["cat dog", "sun", ""])
    prefix = encoder.encode(["cat dog", "sun", ""], dim=5)
    assert prefix.shape == (3, 5)
    np.testing.assert_allclose(prefix[:2], [unit(row[:5]) for row in whole[:2]], atol=1e-6)
    assert not prefix[2].any()


@pytest.mark.parametrize("dim", [0, -1, DIM + 1])
def test_a_dim_that_the_model_lacks_is_refused(encoder: Encoder, dim: int) -> None:
    with pytest.raises(VectorError, match=f"dim must be 1 to {DIM}"):
        encoder.encode(["cat"], dim=dim)


def test_arguments_of_a_wrong_kind_are_named(encoder: Encoder, make_folder: MakeFolder) -> None:
    with pytest.raises(TypeError, match=r"texts\[1\] is NoneType"):
        encoder.encode(["cat", None])  # type: ignore[list-item]
    for wrong in (5, None, b"cat"):
        kind = type(wrong).__name__
        with pytest.raises(TypeError, match=f"a string or strings, not {kind}"):
            encoder.encode(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch_size"):
        encoder.encode(["cat"], batch_size=0)
    with pytest.raises(ValueError, match="threads"):
        Encoder(make_folder(), threads=0)
    with pytest.raises(ModelError, match="precision"):
        Encoder(make_folder(), precision="int4")  # type: ignore[arg-type]


def test_truncation_is_counted_and_told_once_a_call(make_folder: MakeFolder) -> None:
    encoder = Encoder(make_folder(), max_length=4, threads=1)
    texts = ["cat", "cat dog", "cat dog sun", "cat dog sun moon"]
    with pytest.warns(
        TruncationWarning, match="2 of 4 texts were longer than the 4 tokens"
    ) as told:
        vectors = encoder.encode(texts)
    assert len(told) == 1
    assert told[0].filename == __file__
    assert encoder.truncated == 2
    np.testing.assert_array_equal(vectors[2], vectors[1])
    np.testing.assert_array_equal(vectors[3], vectors[1])
    with pytest.warns(TruncationWarning, match="1 of 1 texts") as told:
        single = encoder.encode_queries("cat dog sun")
    assert told[0].filename == __file__
    assert encoder.truncated == 3
    np.testing.assert_array_equal(single, encoder.encode_queries("cat dog"))


def test_a_long_text_is_read_as_far_as_the_model_reads(make_folder: MakeFolder) -> None:
    encoder = Encoder(make_folder(special=False), max_length=32)
    with pytest.warns(TruncationWarning):
        vector = encoder.encode("cat " * 32 + "dog " * 25_000)
    np.testing.assert_allclose(vector, mean_of("cat"), atol=1e-6)


def test_one_huge_word_before_the_text_hides_nothing(make_folder: MakeFolder) -> None:
    encoder = Encoder(make_folder(special=False), max_length=32)
    vector = encoder.encode("x" * 100_000 + " cat dog")  # no warning: three tokens in all
    np.testing.assert_allclose(vector, mean_of("[UNK]", "cat", "dog"), atol=1e-6)


def test_only_the_beginnings_of_long_texts_are_tokenized(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder(make_folder(special=False), max_length=32)
    tokenizer = encoder.embedder.tokenizer
    encode, lengths = tokenizer._encode, []

    def counted(texts: list[str]) -> list[Any]:
        lengths.extend(map(len, texts))
        return encode(texts)

    monkeypatch.setattr(tokenizer, "_encode", counted)
    with pytest.warns(TruncationWarning):
        encoder.encode(["cat dog " * 12_500] * 200)  # 20 MB
    assert len(lengths) == 200
    assert max(lengths) <= 32 * 16


def test_threads_share_an_encoder(make_folder: MakeFolder) -> None:
    encoder = Encoder(make_folder(), threads=2)
    texts = [" ".join(PLAIN[: 1 + i % len(PLAIN)]) for i in range(1_000)]
    expected = encoder.encode(texts)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda i: encoder.encode(texts[i::8]), range(8)))
    for i, part in enumerate(parts):
        np.testing.assert_allclose(part, expected[i::8], atol=1e-6)


def test_the_number_of_threads_changes_nothing(make_folder: MakeFolder) -> None:
    folder = make_folder()
    texts = [" ".join(PLAIN[: 1 + i % len(PLAIN)]) for i in range(1_000)]
    one, three = (Encoder(folder, threads=n).encode(texts) for n in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_threads_come_from_the_argument_else_the_environment(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder()
    monkeypatch.setenv("NESTLING_THREADS", "3")
    assert Encoder(folder).threads == 3
    assert Encoder(folder, threads=1).threads == 1
    monkeypatch.setenv("NESTLING_THREADS", "many")
    with pytest.raises(SettingError, match=r"NESTLING_THREADS must be .* at least 1, not 'many'"):
        Encoder(folder)


def test_an_encoder_works_in_a_fork_without_a_word(make_folder: MakeFolder) -> None:
    script = """
import os, sys
import numpy as np
from nestling.encoder import Encoder
encoder = Encoder(sys.argv[1], threads=2)
texts = ["cat dog", "sun"] * 600
before = encoder.encode(texts)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(encoder.encode(texts), before) else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    environment = {k: v for k, v in os.environ.items() if k != "TOKENIZERS_PARALLELISM"}
    run = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, str(make_folder())],
        capture_output=True,
        text=True,
        timeout=200,
        env=environment,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")


def _encode_in_child(folder: Path) -> np.ndarray:
    return Encoder(folder, threads=2).encode(["cat dog", "sun"])


def test_an_encoder_works_in_a_spawned_process(make_folder: MakeFolder) -> None:
    folder = make_folder()
    # Not multiprocessing.Pool: its terminate() can wait for ever for a lock of a worker it ended.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        got = pool.submit(_encode_in_child, folder).result(timeout=200)
    np.testing.assert_array_equal(got, _encode_in_child(folder))


def test_a_bar_shows_only_when_asked_or_when_a_terminal_has_to_wait(
    encoder: Encoder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder.encode(["cat"] * 10)
    encoder.encode(["cat"] * 10, progress=False)
    assert capsys.readouterr() == ("", "")
    encoder.encode(["cat"] * 10, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "encoding with tiny" in err
    encoder.encode("cat", progress=True)
    assert "1/1" in capsys.readouterr().err
    monkeypatch.setattr("nestling._util.progress._PATIENCE", 0.0)
    encoder.encode(["cat"] * 10)
    assert capsys.readouterr().err == ""  # not a terminal
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    encoder.encode(["cat"] * 10)
    assert "encoding with tiny" in capsys.readouterr().err


def test_importing_the_encoder_does_not_start_onnx() -> None:
    script = "import sys, nestling.encoder; sys.exit('onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_no_warning_comes_from_short_texts(encoder: Encoder) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode(["cat"] * 3)
    assert encoder.truncated == 0
