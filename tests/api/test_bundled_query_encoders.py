"""The query encoders that come with the package, read from wherever it is installed."""

from __future__ import annotations

import json
from functools import partial
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st

from nestling import Collection, Encoder
from nestling._util.timing import seconds
from nestling.corpus.stdlib_docs import read_stdlib_docs
from nestling.errors import EncoderMismatchError
from nestling.models import QUERY_ENCODERS, card
from nestling.models.query_encoders import bundled_rows, pack_rows, unpack_rows
from nestling.runtime.token_rows import TokenRows

FILES = resources.files("nestling.models.query_encoders")
MOST = 15_000_000  # bytes of all of them: what a wheel should carry for what few may use

ROWS = numpy_st.arrays(
    np.float32,
    st.tuples(st.integers(0, 5), st.sampled_from([2, 4, 16])),
    elements=st.floats(-8, 8, width=32),
)


@given(ROWS)
def test_four_bits_keep_a_row_within_half_a_step(rows: np.ndarray) -> None:
    codes, scales = pack_rows(rows)
    assert codes.shape == (len(rows), rows.shape[1] // 2)
    found = unpack_rows(codes, scales)
    assert found.shape == rows.shape
    # No further than where nothing is clipped: half a step each, and what float16 rounds.
    step = np.abs(rows).max(axis=1, initial=0) / 7
    far = np.linalg.norm(found - rows, axis=1)
    assert (far <= np.sqrt(rows.shape[1]) * (step * 0.51 + 1e-6)).all()


@pytest.mark.parametrize("name", QUERY_ENCODERS)
def test_each_has_rows_of_its_teachers_dimensions_and_a_card(name: str, tmp_path: Path) -> None:
    bundled = bundled_rows(name)
    about = QUERY_ENCODERS[name]
    dim = card(about.teacher).dim
    assert bundled.rows.shape == (len(bundled.tokens) + len(bundled.pairs), dim)
    assert len(np.unique(bundled.tokens)) == len(bundled.tokens)
    assert bundled.tokens.max() < bundled.vocabulary
    assert bundled.refine_below > 0
    bundled.save(tmp_path / "rows.safetensors")
    rows = TokenRows(tmp_path / "rows.safetensors")
    first = bundled.tokens[:1].astype(np.int64)
    found = rows.run([first])[0]
    expected = bundled.rows[0] / np.linalg.norm(bundled.rows[0]) + bundled.offset
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert str(about).startswith(f"{name}: ")
    assert all(figure in str(about) for figure in about.figures)
    written = json.loads(FILES.joinpath(f"{name}.json").read_text("utf-8"))
    assert written.keys() >= {"model", "data", "command", "settings", "figures", "licence"}
    assert written["model"] == about.teacher
    assert written["settings"]["tokens"] == len(bundled.tokens)
    assert written["settings"]["pairs"] == len(bundled.pairs)


def test_tokens_without_a_row_add_nothing(tmp_path: Path) -> None:
    bundled = bundled_rows("e5-fast")
    without = np.setdiff1d(np.arange(bundled.vocabulary), bundled.tokens)[:3]
    assert len(without) == 3
    bundled.save(tmp_path / "rows.safetensors")
    rows = TokenRows(tmp_path / "rows.safetensors")
    with_row = bundled.tokens[:1].astype(np.int64)
    for few in (with_row, without):
        found = rows.run([np.concatenate([few, without])])
        expected = rows.run([with_row])
        if few is without:  # nothing is left but the mean of all queries
            expected = bundled.offset[np.newaxis]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_together_they_are_small_enough_for_a_wheel() -> None:
    sizes = [len(FILES.joinpath(f"{name}.npz").read_bytes()) for name in QUERY_ENCODERS]
    assert sum(sizes) < MOST
    assert len({bundled_rows(name).digest for name in QUERY_ENCODERS}) == len(QUERY_ENCODERS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "queries"),
    [
        ("minilm-fast", ["how do whales sing?", "symptoms of a heart attack", "Treaty of Rome"]),
        ("e5-fast", ["متى تأسست جامعة القاهرة؟", "ما هي عاصمة اليابان؟", "how do whales sing?"]),
    ],
)
def test_it_comes_near_to_the_real_model(name: str, queries: list[str]) -> None:
    teacher = Encoder(QUERY_ENCODERS[name].teacher, threads=1)
    fast = teacher.with_queries(name)
    exact, found = teacher.encode_queries(queries), fast.encode_queries(queries)
    mean = bundled_rows(name).offset
    mean = mean / np.linalg.norm(mean)

    def apart(vectors: np.ndarray) -> np.ndarray:
        rest = vectors - (vectors @ mean)[:, np.newaxis] * mean
        return rest / np.linalg.norm(rest, axis=1, keepdims=True)

    cosines = apart(found) @ apart(exact).T
    assert (cosines.argmax(axis=1) == np.arange(len(queries))).all()
    assert np.diag(cosines).min() > 0.5
    calls = [partial(encoder.encode_queries, queries[0]) for encoder in (teacher, fast)]
    times = np.median([[seconds(call) for call in calls] for _ in range(50)], axis=0)
    assert times[1] < times[0] / 8
    with pytest.raises(EncoderMismatchError, match="imitates"):
        Encoder("wordllama", threads=1).with_queries(name)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_collection_uses_it_by_its_name(tmp_path: Path) -> None:
    documents = read_stdlib_docs()[::40]
    with Collection(tmp_path / "docs", "minilm", passages=None) as c:
        c.add(document.text for document in documents)
    queries = [" ".join(document.text.split()[3:11]) for document in documents]
    with Collection(tmp_path / "docs", query_encoder="minilm-fast") as c:
        found = {refine: c.search(queries, refine=refine) for refine in ("never", "auto", "always")}
    best = [hits[0].id for hits in found["always"]]
    shares = {
        refine: np.mean([hits[0].id == id for hits, id in zip(lists, best, strict=True)])
        for refine, lists in found.items()
    }
    assert 0.6 < shares["never"] <= shares["auto"] <= 1
    assert any(hits.refined for hits in found["auto"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_collection_of_two_languages_uses_e5_fast(tmp_path: Path) -> None:
    texts = {
        "cairo": "القاهرة هي عاصمة جمهورية مصر العربية وأكبر مدنها.",
        "tokyo": "طوكيو هي عاصمة اليابان، ويعيش فيها ملايين السكان.",
        "bread": "Bread rises because yeast makes bubbles of gas in the dough.",
        "whales": "Humpback whales sing long songs that other whales learn.",
        "heart": "تعد أمراض القلب من أكثر أسباب الوفاة شيوعا في العالم.",
        "vitamins": "Oranges and lemons are rich in vitamin C.",
    }
    questions = {
        "ما هي عاصمة مصر؟": "cairo",
        "ما هي عاصمة اليابان؟": "tokyo",
        "what makes bread rise?": "bread",
        "how do whales sing?": "whales",
        "ما هي أخطر أمراض القلب؟": "heart",
        "which vitamin is in lemons?": "vitamins",
    }
    with Collection(tmp_path / "both", "e5") as c:
        c.add(texts.values(), texts.keys())
    with Collection(tmp_path / "both", query_encoder="e5-fast") as c:
        found = c.search(list(questions))
        assert [hits[0].id for hits in found] == list(questions.values())
        assert c._encoder._encoder is None  # `e5` was not even loaded
        for question, id in questions.items():
            assert c.search(question, 1, refine="auto")[0].id == id
            assert c.search(question, 1)[0].score == found[list(questions).index(question)][0].score
