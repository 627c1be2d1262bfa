"""Query encoders: small models that imitate a large one's embeddings of queries."""

from __future__ import annotations

import itertools
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from commands import end_of
from hashing_encoder import HashingEncoder
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from nestling import Collection, _core
from nestling._util.timing import seconds
from nestling.collection.query.refine import margins
from nestling.corpus.stdlib_docs import read_stdlib_docs
from nestling.encoder import Encoder
from nestling.errors import (
    ArgumentError,
    ArgumentTypeError,
    CorpusError,
    EncoderMismatchError,
    FormatError,
    IdError,
    ModelError,
    StorageError,
    VectorError,
)
from nestling.runtime.modules import normalise
from nestling.runtime.token_rows import FILE, TokenRows, save_token_rows
from nestling.training import QueryEncoderSettings, train_query_encoder
from nestling.training.query_encoder import train as training
from nestling.training.query_encoder.held_out import refine_below
from nestling.training.query_encoder.pieces import cut
from nestling.training.query_encoder.rows import Bags, RowFitter
from nestling.training.query_encoder.vocabulary import encode_tokens

MakeFolder = Callable[..., Path]
DIM = tiny_models.DIM
WORDS = tiny_models.WORDS[4:11]
TEXTS = [" ".join(words) for words in product(WORDS, repeat=3)]
QUICK = QueryEncoderSettings(dims=[8], pieces=600, epochs=8, batch_size=32, lr=0.02)
PROMPTS = {"query": "query: ", "passage": "passage: "}


@pytest.fixture
def teacher(make_folder: MakeFolder) -> Encoder:
    """A model whose special tokens and prompts are part of every embedding."""
    files = {"config_sentence_transformers.json": {"prompts": PROMPTS}}
    return Encoder(make_folder(name="teacher", files=files), threads=1)


@pytest.fixture
def fast(teacher: Encoder, tmp_path: Path) -> Path:
    train_query_encoder(teacher, TEXTS, tmp_path / "fast", QUICK)
    return tmp_path / "fast"


@pytest.fixture
def collection(teacher: Encoder, tmp_path: Path) -> Path:
    with Collection(tmp_path / "c", teacher) as made:
        made.add(TEXTS)
    return tmp_path / "c"


def with_margin(fast: Path, margin: float | None) -> Path:
    """A copy of a query encoder that refines below another margin."""
    folder = fast.with_name(f"fast-{margin}")
    shutil.copytree(fast, folder)
    settings = json.loads((folder / "nestling.json").read_text("utf-8"))
    (folder / "nestling.json").write_text(json.dumps(settings | {"refine_below": margin}), "utf-8")
    return folder


# What is learnt.


def test_it_gives_nearly_the_embeddings_of_its_teacher(teacher: Encoder, fast: Path) -> None:
    queries = ["moon cat", "dog dog sun", "read", "مرحبا write cat moon"]
    student = Encoder(fast, threads=1)
    found, expected = student.encode_queries(queries), teacher.encode_queries(queries)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert (found * expected).sum(axis=1).min() > 0.9
    # Without the prompt and the special tokens, which the rows have taken up.
    assert (student.query_prompt, student.document_prompt) == ("", "")
    assert student.teacher is not None
    assert student.teacher.fingerprint == teacher.fingerprint
    assert (student.dim, student.nesting) == (teacher.dim, teacher.nesting)
    assert student.encode_queries("")[0] == 0
    assert set(np.unique(student.encode_queries("unknown-word"))) <= set(
        np.unique(student.encode_queries("[UNK]"))
    )


def test_the_report_says_what_was_done(teacher: Encoder, tmp_path: Path) -> None:
    report = train_query_encoder(teacher, TEXTS * 2, tmp_path / "f", QUICK, queries=["cat?", " "])
    assert (report.texts, report.queries) == (len(TEXTS), 1)
    assert report.pieces + report.held_out <= 600
    assert report.held_out > 0
    assert set(report.cosines) == {8, DIM}
    assert min(report.cosines.values()) > 0.9
    assert 0 < report.fast <= 1.05 * report.teacher
    assert 0 <= report.refined <= 1
    assert Encoder(tmp_path / "f").refine_below == report.refine_below
    stored = json.loads((tmp_path / "f" / training.REPORT_FILE).read_text("utf-8"))
    assert stored == json.loads(json.dumps(report.as_dict()))
    assert "ndcg@10" in str(report)
    assert not (tmp_path / "f.training").exists()


@pytest.mark.parametrize("pairs", [0, 50])
def test_the_same_call_gives_the_same_bits(teacher: Encoder, tmp_path: Path, pairs: int) -> None:
    settings = QueryEncoderSettings(pieces=200, epochs=2, batch_size=32, pairs=pairs)
    for name in ("a", "b"):
        train_query_encoder(teacher, TEXTS, tmp_path / name, settings)
    assert (tmp_path / "a" / FILE).read_bytes() == (tmp_path / "b" / FILE).read_bytes()
    other = QueryEncoderSettings(pieces=200, epochs=2, batch_size=32, pairs=pairs, seed=1)
    train_query_encoder(teacher, TEXTS, tmp_path / "c", other)
    assert (tmp_path / "a" / FILE).read_bytes() != (tmp_path / "c" / FILE).read_bytes()


def test_an_interrupted_training_resumes(
    teacher: Encoder, fast: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(training, "encode_tokens", lambda *_: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            train_query_encoder(teacher, TEXTS, tmp_path / "g", QUICK)
    assert (tmp_path / "g.training").exists()
    other = QueryEncoderSettings(dims=[8], pieces=600, epochs=9, batch_size=32, lr=0.02)
    with pytest.raises(StorageError, match="epochs 8, not 9"):
        train_query_encoder(teacher, TEXTS, tmp_path / "g", other)
    # What was encoded is not encoded again.
    monkeypatch.setattr(teacher, "encode_queries", None)
    train_query_encoder(teacher, TEXTS, tmp_path / "g", QUICK)
    assert (tmp_path / "g" / FILE).read_bytes() == (fast / FILE).read_bytes()


def test_a_descent_moves_towards_the_targets_along_the_gradient() -> None:
    rng = np.random.default_rng(0)
    start = rng.standard_normal((6, 8)).astype(np.float32)
    start[0] = 0
    bags = Bags.of([np.array(row) for row in ([1, 2], [3], [2, 2, 4], [5, 1])])
    targets = rng.standard_normal((4, 8)).astype(np.float32)
    for extra in (0, 2):
        settings = QueryEncoderSettings(dims=[3], lr=1e-4, batch_size=4, dropout=0).resolve(8)
        fitter = RowFitter(start, np.bincount(bags.tokens, minlength=6), settings, extra=extra)
        losses = [fitter.epoch(bags, targets, rng) for _ in range(4)]
        assert losses == sorted(losses, reverse=True)
        assert losses[0] > losses[-1]
        assert not fitter.rows[0].any()
        expected = [1 - cosine(fitter.encode(bags), targets, dim) for dim in (3, 8)]
        assert fitter._descend(bags, targets, 0.0) == pytest.approx(np.mean(expected), abs=1e-5)


def test_dropped_rows_do_not_move_and_tokens_are_never_dropped() -> None:
    rng = np.random.default_rng(0)
    start = np.zeros((6, 8), np.float32)
    start[1:4] = np.eye(8)[:3]
    bags = Bags.of([np.array(row) for row in ([1, 2, 4], [3, 1, 5])])  # 4 and 5 are pairs
    targets = rng.standard_normal((2, 8)).astype(np.float32)
    moved = []
    for dropout in (0.0, 0.5, 0.999999):
        settings = QueryEncoderSettings(dropout=dropout, batch_size=2, epochs=1).resolve(8)
        fitter = RowFitter(start, np.ones(6, np.int64), settings, extra=2)
        fitter.epoch(bags, targets, np.random.default_rng(3))
        assert (fitter.rows[1:4] != start[1:4]).any(axis=1).all()
        moved.append(int(fitter.rows[4:].any(axis=1).sum()))
    assert moved[0] == 2
    assert moved[2] == 0


def cosine(first: np.ndarray, second: np.ndarray, dim: int) -> float:
    a, b = first[:, :dim], second[:, :dim]
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())


def test_gradients_agree_with_differences() -> None:
    rng = np.random.default_rng(1)
    start = rng.standard_normal((5, 6)).astype(np.float32)
    bags = Bags.of([np.array([1, 2, 2]), np.array([3, 4])])
    targets = rng.standard_normal((2, 6)).astype(np.float32)
    settings = QueryEncoderSettings(dims=[2], batch_size=2).resolve(6)
    fitter = RowFitter(start, np.ones(5, np.int64), settings)
    steps: dict[str, np.ndarray] = {}
    for name, adam in fitter._adams.items():

        def keep(gradient: np.ndarray, *rest: Any, name: str = name) -> None:
            steps[name] = gradient.copy()

        adam.step = keep  # type: ignore[method-assign]
    fitter._descend(bags, targets, 0.0)

    def loss() -> float:
        return fitter._descend(bags, targets, 0.0)

    first = steps.copy()
    for row, column in ((1, 0), (2, 5), (4, 3)):
        kept = fitter._rows[row, column]
        values = []
        for sign in (1, -1):
            fitter._rows[row, column] = kept + sign * 1e-2
            values.append(loss())
        fitter._rows[row, column] = kept
        slope = (values[0] - values[1]) / 2e-2
        assert first["rows"][row - 1, column] == pytest.approx(slope, abs=2e-3)


def test_forms_that_no_text_has_are_near_those_that_texts_have(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    """Without runs of letters, a word that the tokenizer does not know is any unknown word."""
    teacher = Encoder(make_folder(name="t"), threads=1)
    forms = {"cat": "xkatzex", "moon": "xlunox"}  # of the same meaning, and unknown as tokens
    texts = [f"{forms[word]} {other} {word}" for word in forms for other in WORDS] * 2
    texts += [f"{word} {other}" for word in forms for other in WORDS] + TEXTS
    meant = [text.replace("xkatzex", "cat").replace("xlunox", "moon") for text in texts]
    targets = dict(zip(texts, teacher.encode_queries(meant), strict=True))
    settings = QueryEncoderSettings(dims=[8], pieces=2000, epochs=20, batch_size=32, lr=0.02)
    vectors = np.stack([targets[text] for text in texts])
    similar = []
    for grams in (0, 1000):
        out = tmp_path / f"fast-{grams}"
        train_query_encoder(teacher, texts, out, replace(settings, grams=grams), vectors=vectors)
        assert ("grams" in load_file(str(out / FILE))) == bool(grams)
        student = Encoder(out, threads=1)
        found = student.encode_queries(["xkatzes", "xlunos", "xkatzex", "xlunox"])
        similar.append(found @ found.T)
    assert similar[0].min() > 0.999  # all of them are unknown
    near, far = similar[1][[0, 1], [2, 3]], similar[1][[0, 1], [3, 2]]
    assert (near > far).all()


def test_runs_of_letters_count_as_no_tokens(fast: Path) -> None:
    embedder = Encoder(fast, threads=1).embedder
    (row,), _ = embedder.tokenize(["moon cat"])
    assert len(row) > 2 == embedder.count_tokens(row)
    assert embedder.unknown_share(["moon cat", "[UNK] moon", ""])[[0, 2]].tolist() == [0, 0]


def test_tokens_are_encoded_as_queries_of_one_token(teacher: Encoder) -> None:
    tokens = [tiny_models.WORDS.index(word) for word in ("cat", "moon")]
    found = encode_tokens(teacher, tokens)
    np.testing.assert_allclose(found, teacher.encode_queries(["cat", "moon"]), atol=1e-6)


# What it learns from.


@given(
    st.lists(st.text("abc .?!\n؟", max_size=60), max_size=8),
    st.integers(1, 40),
    st.integers(0, 5),
)
def test_pieces_are_words_of_their_text_in_order(texts: list[str], most: int, seed: int) -> None:
    pieces, sources = cut(texts, most, np.random.default_rng(seed))
    assert len(pieces) == len(sources) == len(set(pieces)) <= most
    for piece, source in zip(pieces, sources.tolist(), strict=True):
        words = iter(texts[source].split())
        assert piece
        assert all(word in words for word in piece.split(" "))
    again, _ = cut(texts, most, np.random.default_rng(seed))
    assert again == pieces


def test_sentences_lines_and_arabic_questions_are_pieces() -> None:
    text = "A title\nBread rises. Does it? ما عاصمة مصر؟ القاهرة. 東京は。首都です。"
    pieces, _ = cut([text], 60, np.random.default_rng(0))
    assert {"A title", "Bread rises.", "Does it?", "ما عاصمة مصر؟", "القاهرة.", "東京は。"} <= set(
        pieces
    )


def test_unusable_arguments_are_refused_early(teacher: Encoder, fast: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(CorpusError, match="at least 20"):
        train_query_encoder(teacher, TEXTS[:3], out)
    with pytest.raises(CorpusError, match="give 1 different pieces, of 1 texts"):
        train_query_encoder(teacher, TEXTS, out, QueryEncoderSettings(pieces=1))
    with pytest.raises(ArgumentError, match="1 vectors for 343 texts"):
        train_query_encoder(teacher, TEXTS, out, vectors=np.ones((1, DIM)))
    with pytest.raises(VectorError, match="dims must be 1 to 16"):
        train_query_encoder(teacher, TEXTS, out, QueryEncoderSettings(dims=[17]))
    for student in (Encoder(fast), teacher.with_queries(fast)):
        with pytest.raises(ArgumentError, match="for another encoder"):
            train_query_encoder(student, TEXTS, out)
    with pytest.raises(StorageError, match="exists"):
        train_query_encoder(teacher, TEXTS, fast)
    for bad in (
        {"grams": -1},
        {"epochs": 0},
        {"lr": 1.0},
        {"pairs": -1},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"seed": -1},
        {"pieces": 0},
    ):
        with pytest.raises(ArgumentError, match=next(iter(bad))):
            QueryEncoderSettings(**bad)  # type: ignore[arg-type]
    assert not out.exists()


# The rows themselves.


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), min_size=1, max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_sums_of_rows_are_those_of_numpy(
    tmp_path_factory: pytest.TempPathFactory, texts: list[list[int]], paired: bool, shifted: bool
) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((5, 6)).astype(np.float32)
    rows[0] = 0
    index = np.array([0, 1, 2, 3, 4, 0, 2], np.int32)
    pairs = {(1, 2): 3, (2, 2): 4} if paired else {}
    path = tmp_path_factory.mktemp("rows") / FILE
    offset = rng.standard_normal(6).astype(np.float32) if shifted else None
    save_token_rows(path, rows, index, np.array(list(pairs)) if paired else None, offset)
    table = TokenRows(path)
    found = table.run([np.array(text) for text in texts])
    known = np.append(index, [0, 0, 0])  # ids beyond the table have no row
    expected = np.stack(
        [
            rows[known[text]].sum(axis=0)
            + sum(rows[pairs.get(pair, 0)] for pair in itertools.pairwise(text))
            for text in texts
        ]
    )
    expected = expected if offset is None else normalise(expected) + offset
    np.testing.assert_allclose(found, expected, atol=0.15)
    units = {dim: table.run([np.array(text) for text in texts], dim) for dim in (2, 6)}
    for dim in units:
        np.testing.assert_allclose(units[dim], normalise(found[:, :dim]), atol=1e-6)
    for place, text in enumerate(texts):  # bit for bit, whatever the other texts are
        np.testing.assert_array_equal(table.run([np.array(text)])[0], found[place])
        for dim in units:
            np.testing.assert_array_equal(table.run([np.array(text)], dim)[0], units[dim][place])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": None}, "it holds codes, scales"),
        ({"codes": np.zeros((3, 2), np.float32)}, "codes is float32"),
        ({"scales": np.ones((3, 1), np.float32)}, "scales has the shape"),
        ({"scales": np.ones(2, np.float32)}, "3 rows of 2 dimensions have 2 scales"),
        ({"scales": np.array([1, np.nan, 1], np.float32)}, "scales holds NaN"),
        ({"index": np.array([0, 3], np.int32)}, "a token has a row beyond the 3"),
        ({"index": np.array([0, -1], np.int32)}, "a token has a row beyond the 3"),
        ({"inner": np.ones((2, 4), np.float32)}, "it holds"),
        ({"pairs": np.ones((1, 2), np.int64)}, "pairs is int64"),
        ({"pairs": np.ones(2, np.int32)}, "pairs has the shape"),
        ({"pairs": np.ones((1, 3), np.int32)}, "pairs has the shape"),
        ({"pairs": np.ones((3, 2), np.int32)}, "beside 3 rows"),
        ({"pairs": np.array([[1, -1]], np.int32)}, "negative id"),
        ({"pairs": np.array([[1, 2], [1, 2]], np.int32)}, "do not rise"),
        ({"pairs": np.array([[2, 1], [1, 2]], np.int32)}, "do not rise"),
        ({"offset": np.ones(3, np.float32)}, "the offset has 3 dimensions, the rows have 2"),
        ({"offset": np.ones((1, 2), np.float32)}, "offset has the shape"),
        ({"grams": np.ones(3, np.int32)}, "grams is int32"),
        ({"grams": np.ones((3, 1), np.uint8)}, "grams has the shape"),
        ({"grams": np.array([0xFF], np.uint8)}, "grams is not UTF-8"),
        ({"grams": np.frombuffer(b"a\nb\nc", np.uint8)}, "3 runs of letters have 2 rows"),
        ({"grams": np.frombuffer(b"a\na", np.uint8)}, "a run of letters is there twice"),
    ],
)
def test_a_malformed_table_is_refused(
    tmp_path: Path, change: dict[str, np.ndarray | None], message: str
) -> None:
    path = tmp_path / FILE
    save_token_rows(path, np.ones((3, 2), np.float32), np.array([0, 1], np.int32))
    tensors = {**load_file(str(path)), **change}
    save_file({name: t for name, t in tensors.items() if t is not None}, str(path))
    with pytest.raises(ModelError, match=message):
        TokenRows(path)


def test_the_core_refuses_arrays_that_do_not_fit_together() -> None:
    arrays: dict[str, Any] = {
        "codes": np.ones((2, 3), np.int8),
        "scales": np.ones(2, np.float32),
        "index": np.array([1], np.int32),
        "pairs": np.empty((0, 2), np.int32),
        "offset": np.empty(0, np.float32),
    }
    table = _core.TokenTable(**arrays)
    ids = np.array([0, -1, 7, 2**40], np.int64)  # all but the first one are of no token
    np.testing.assert_array_equal(table.sums(ids, [1, 0, 3]), [[1, 1, 1], [0, 0, 0], [0, 0, 0]])
    halves = np.full(2, np.sqrt(0.5), np.float32)
    np.testing.assert_allclose(table.units(ids, [1, 3], prefix=2), [halves, [0, 0]], rtol=1e-6)
    for prefix in (0, 4):
        with pytest.raises(VectorError, match="1 to 3 dimensions"):
            table.units(ids, [4], prefix)
    for lengths in ([3], [5], [2, 3], [2**64 - 1, 5]):
        with pytest.raises(IdError):
            table.sums(ids, lengths)
    for name, wrong in (
        ("codes", np.ones((2, 0), np.int8)),
        ("scales", np.ones(4, np.float32)),
        ("index", np.array([2], np.int32)),
        ("pairs", np.ones((2, 2), np.int32)),
        ("offset", np.ones(2, np.float32)),
    ):
        with pytest.raises(FormatError, match="do not fit together"):
            _core.TokenTable(**(arrays | {name: wrong}))


def test_a_corrupted_file_is_refused(fast: Path) -> None:
    whole = (fast / FILE).read_bytes()
    for content in (b"", whole[:20], whole[:-3]):
        (fast / FILE).write_bytes(content)
        with pytest.raises(ModelError, match=FILE):
            Encoder(fast)
    (fast / FILE).write_bytes(whole)
    settings = json.loads((fast / "nestling.json").read_text("utf-8"))
    for change in ({"teacher": "minilm"}, {"teacher": {"name": 1}}, {"refine_below": -1}):
        (fast / "nestling.json").write_text(json.dumps(settings | change), "utf-8")
        with pytest.raises(ModelError, match=next(iter(change))):
            Encoder(fast)


# Beside the encoder of the documents.


def test_an_encoder_with_queries_keeps_its_documents(teacher: Encoder, fast: Path) -> None:
    both = teacher.with_queries(fast)
    student = Encoder(fast)
    for one in (both, pickle.loads(pickle.dumps(both))):
        np.testing.assert_array_equal(one.encode("cat sun"), teacher.encode("cat sun"))
        np.testing.assert_array_equal(one.encode_queries("cat"), student.encode_queries("cat"))
        assert one.fingerprint == teacher.fingerprint
        assert "queries by 'fast'" in repr(one)
    alone = both.with_queries(None)
    np.testing.assert_array_equal(alone.encode_queries("cat"), teacher.encode_queries("cat"))
    assert teacher.queries is None


def test_another_encoder_refuses_it(
    teacher: Encoder, fast: Path, make_folder: MakeFolder, tmp_path: Path
) -> None:
    other = Encoder(make_folder(name="other"))
    with pytest.raises(EncoderMismatchError, match=f"imitates .*{teacher.fingerprint}"):
        other.with_queries(fast)
    with pytest.raises(EncoderMismatchError, match="not a query encoder"):
        teacher.with_queries(other)
    for encoder, dim in ((other, None), (None, DIM), (HashingEncoder(dim=DIM), None)):
        folder = tmp_path / f"c-{dim}-{type(encoder).__name__}"
        with pytest.raises(EncoderMismatchError, match=folder.name):
            Collection(folder, encoder, dim=dim, query_encoder=fast)
    assert other.queries is None


def test_a_collection_encodes_its_queries_with_it(
    collection: Path, teacher: Encoder, fast: Path
) -> None:
    student = Encoder(fast)
    queries = ["moon cat dog", "sun"]
    with Collection(collection, query_encoder=fast) as c:
        found = c.search(queries)
        expected = c.search(queries, vectors=student.encode_queries(queries))
        assert found == expected
        assert c._encoder._encoder is None  # the large model was not even loaded
        assert c.search(queries, refine="always") == c.search(
            queries, vectors=teacher.encode_queries(queries)
        )
        hybrid = c.search("moon", mode="hybrid", refine="always")
        assert hybrid == c.search("moon", mode="hybrid", vectors=teacher.encode_queries("moon"))
        assert c.add("read read read read").added == 1  # documents by the encoder itself
        np.testing.assert_allclose(
            c.search("read", 1, include=["vector"], vectors=teacher.encode("read" + " read" * 3))[
                0
            ].vector,
            teacher.encode("read read read read"),
            atol=2e-3,
        )
    with Collection(collection, teacher.with_queries(student)) as c:
        assert c.search(queries) == expected


def test_refining_encodes_again_what_is_in_doubt(
    collection: Path, teacher: Encoder, fast: Path
) -> None:
    queries = ["moon cat dog", "sun", "read write مرحبا cat"]
    with Collection(collection, query_encoder=fast) as c:
        plain = c.search(queries, 11)
    sizes = margins(np.array([[hit.score for hit in hits] for hits in plain], np.float32))
    middle = float(sizes.max() + sizes.min()) / 2
    assert 0 < middle < 9
    for limit, doubtful in ((0.0, sizes < 0), (9.0, sizes < 9), (middle, sizes < middle)):
        with Collection(collection, query_encoder=with_margin(fast, limit)) as c:
            for mode in ("dense", "hybrid"):
                found = c.search(queries, 3, refine="auto", mode=mode)
                vectors = np.where(
                    doubtful[:, None],
                    teacher.encode_queries(queries),
                    Encoder(fast).encode_queries(queries),
                )
                expected = c.search(queries, 3, vectors=vectors, mode=mode)
                assert [hits.refined for hits in found] == doubtful.tolist()
                assert [hits.hits for hits in found] == [hits.hits for hits in expected]
            one = c.search(queries[0], explain=True, refine="auto")
            assert one.refined == doubtful[0]
            assert one.explanation is not None
            assert one.explanation.margin == pytest.approx(sizes[0], abs=1e-6)
            assert ("refine" in one.explanation.microseconds) == doubtful[0]
            assert "margin of the query encoder" in str(one.explanation)
            assert not c.search(queries[0]).refined
            assert not c.search(queries[0], refine="auto", mode="lexical").refined


def test_queries_of_unknown_tokens_are_refined_whatever_their_margin(
    collection: Path, teacher: Encoder, fast: Path
) -> None:
    folder = with_margin(fast, 0.0)
    tensors = load_file(str(folder / FILE))
    tensors["index"][tiny_models.WORDS.index("moon")] = 0
    save_file(tensors, str(folder / FILE))
    queries = ["moon", "cat dog cat dog moon", "cat dog cat dog sun moon", "cat", ""]
    shares = Encoder(folder).unknown_share(queries)
    np.testing.assert_allclose(shares, [1, 1 / 5, 1 / 6, 0, 0])
    assert not teacher.unknown_share(queries).any()
    assert Encoder(folder).unknown_share([]).shape == (0,)
    with Collection(collection, query_encoder=folder) as c:
        found = c.search(queries[:4], refine="auto")
        assert [hits.refined for hits in found] == [True, True, False, False]
        assert found[0].hits == c.search("moon", refine="always").hits
        assert found[3].hits == c.search("cat").hits


def test_refining_needs_a_margin_and_nothing_without_a_query_encoder(
    collection: Path, fast: Path
) -> None:
    with Collection(collection) as c:
        assert c.search("moon", refine="auto") == c.search("moon")
        with pytest.raises(ArgumentError, match="refine must be one of"):
            c.search("moon", refine="sometimes")  # type: ignore[arg-type]
    with (
        Collection(collection, query_encoder=with_margin(fast, None)) as c,
        pytest.raises(ArgumentError, match="refine_below"),
    ):
        c.search("moon", refine="auto")


@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 0.2, 0.3]), st.integers(0, 8), st.integers(0, 8)),
        min_size=1,
        max_size=12,
    )
)
def test_the_margin_is_the_least_that_keeps_enough(lines: list[tuple[float, float, float]]) -> None:
    sizes, fast, exact = (np.array(column) for column in zip(*lines, strict=True))
    limit = refine_below(sizes, fast, exact, kept=0.93, most=1)
    kept = np.where(sizes < limit, exact, fast).sum()
    for most in (0.0, 0.5):
        capped = refine_below(sizes, fast, exact, kept=0.93, most=most)
        assert (sizes < capped).mean() <= most
        below = sizes[sizes < limit]
        assert capped == limit or (sizes <= min(below[below >= capped])).mean() > most
    enough = [
        low
        for low in (0.0, 0.15, 0.25, 0.35)
        if np.where(sizes < low, exact, fast).sum() >= 0.93 * exact.sum()
    ]
    assert kept >= 0.93 * exact.sum()
    assert (sizes < limit).sum() == (sizes < min(enough)).sum()


def test_a_collection_trains_on_its_passages(collection: Path, tmp_path: Path) -> None:
    out = tmp_path / "own"
    with Collection(collection, read_only=True) as c:
        report = c.train_query_encoder(out, QUICK)
    assert report.texts == len(TEXTS)
    with Collection(collection, query_encoder=out) as c:
        found, best = (
            {hit.id for hit in c.search("moon cat dog", 30, refine=refine)}
            for refine in ("never", "always")
        )
        assert len(found & best) > 15  # of 343, by chance 2 or 3
    with Collection(tmp_path / "h", HashingEncoder(dim=8)) as c:
        c.add(TEXTS[:30])
        with pytest.raises(ArgumentTypeError, match="not a HashingEncoder"):
            c.train_query_encoder(out)
    with Collection(tmp_path / "v", dim=2) as c, pytest.raises(VectorError, match="no encoder"):
        c.train_query_encoder(out)


# The commands.


def test_the_command_trains_and_search_uses_it(
    collection: Path, teacher: Encoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cli"
    options = ("--pieces", 300, "--epochs", 2, "--dims", 8)
    ended = end_of(
        capsys, "train", "query-encoder", "--collection", collection, "--out", out, *options
    )
    assert (ended.code, ended.err) == (0, "")
    assert "pieces of 300 texts" in ended.out
    (tmp_path / "texts.txt").write_text("\n\n".join(TEXTS), "utf-8")
    lines = tmp_path / "lines.jsonl"
    lines.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS), "utf-8")
    from_texts = end_of(
        capsys,
        *("train", "query-encoder", "--texts", lines, "--model", teacher.path),
        *("--out", tmp_path / "t", "--json", *options),
    )
    assert from_texts.json["texts"] == 343
    found = end_of(
        capsys,
        *("search", collection, "moon cat", "--query-encoder", out),
        *("--refine", "auto", "--json"),
    ).json
    assert len(found["hits"]) == 10
    assert found["refined"] in (True, False)
    for wrong in (("--collection", collection, "--texts", lines), ()):
        ended = end_of(capsys, "train", "query-encoder", "--out", out, *wrong)
        assert ended.code == 2
        assert "either a collection or texts" in " ".join(ended.err.split())


def test_eval_shows_both_in_one_table(
    teacher: Encoder, fast: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name, lines in (("corpus", TEXTS), ("queries", ["moon cat", "sun dog"])):
        records = [json.dumps({"_id": str(i), "text": text}) for i, text in enumerate(lines)]
        (data / f"{name}.jsonl").write_text("\n".join(records), "utf-8")
    (data / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n0\t3\t1\n1\t9\t1\n", "utf-8")
    options = ("--dims", "16,8", "--bits", "32,4", "--rounds", 0, "--json")
    model = ("--model", teacher.path, "--query-encoder", fast)
    rows = end_of(capsys, "eval", data, *model, *options).json["rows"]
    funnel = next(row["system"] for row in rows if row["kind"] == "funnel")
    assert [row["system"] for row in rows] == [
        *("16@32", "16@4", "8@32", "8@4", funnel),
        *("16@32, fast", "8@32, fast", f"{funnel}, fast"),
    ]
    refused = end_of(capsys, "eval", data, "--model", fast, "--query-encoder", fast)
    assert refused.code == 1
    assert "imitates" in refused.err


# With a real model.


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_keeps_most_of_the_quality_of_minilm_at_a_fraction_of_its_time(tmp_path: Path) -> None:
    documents = read_stdlib_docs()[::12]
    with Collection(tmp_path / "docs", "minilm", passages=None) as c:
        c.add(document.text for document in documents)
        report = c.train_query_encoder(tmp_path / "fast", QueryEncoderSettings(pieces=4000))
    assert report.fast > 0.8 * report.teacher
    assert report.cosines[384] > 0.7
    queries = [" ".join(document.text.split()[3:11]) for document in documents[:200]]
    minilm = Encoder("minilm", threads=1)
    fast = minilm.with_queries(tmp_path / "fast")
    times: dict[Encoder, list[Any]] = {minilm: [], fast: []}
    for query in queries[:50]:
        for encoder, spent in times.items():
            spent.append(seconds(partial(encoder.encode_queries, query)))
    assert np.median(times[fast]) < np.median(times[minilm]) / 8
    with Collection(tmp_path / "docs", query_encoder=tmp_path / "fast") as c:
        found = {refine: c.search(queries, refine=refine) for refine in ("never", "auto", "always")}
    best = [hits[0].id for hits in found["always"]]
    shares = {
        refine: np.mean([hits[0].id == id for hits, id in zip(lists, best, strict=True)])
        for refine, lists in found.items()
    }
    assert 0.6 < shares["never"] < shares["auto"] < 1
    assert any(hits.refined for hits in found["auto"])
    assert not all(hits.refined for hits in found["auto"])
