"""The latency of a question, part by part: the parts are the encoder's own, and they add up."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_clock import FakeClock
from nestling.bench import main
from nestling.bench.text import _beginnings, measure
from nestling.encoder import Encoder
from nestling.errors import CorpusError
from nestling.index import Index
from nestling.training import QueryEncoderSettings, train_query_encoder

PARTS = ["tokenise", "model", "modules", "search", "rest, in Python", "text to hits"]
TEXTS = [f"{a} {b} {c}" for a in ("cat", "dog") for b in ("sun", "moon") for c in "abcdefgh"]

MakeFolder = Callable[..., Path]


@pytest.fixture
def encoder(make_folder: MakeFolder) -> Encoder:
    return Encoder(make_folder(special=False), threads=1)


@pytest.fixture
def index(encoder: Encoder) -> Index:
    index = Index(encoder.dim, threads=1)
    index.add(np.random.default_rng(0).standard_normal((300, encoder.dim)))
    return index


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["text", *arguments])
    captured = capsys.readouterr()
    return int(exit_.value.code or 0), captured.out, captured.err


def test_json_holds_every_part(
    capsys: pytest.CaptureFixture[str], make_folder: MakeFolder, tmp_path: Path
) -> None:
    questions = tmp_path / "questions.txt"
    questions.write_text("cat dog\n\nsun\nmoon cat dog sun\n", encoding="utf-8")
    model = ("--model", str(make_folder(special=False)), "--rows", "200", "--rounds", "3")
    code, out, _ = run(capsys, *model, "--queries", str(questions), "--json")
    breakdown: dict[str, Any] = json.loads(out)
    assert code == 0
    assert (breakdown["rows"], breakdown["dim"], breakdown["questions"], breakdown["rounds"]) == (
        200,
        16,
        3,
        3,
    )
    assert breakdown["tokens"] == 2
    assert breakdown["questions_per_s"] > 0
    assert breakdown["passages_per_s"] > 0
    assert breakdown["passage_tokens"] == 120
    assert list(breakdown["parts"]) == PARTS
    for part in breakdown["parts"].values():
        assert 0 < part["p50_us"] <= part["p99_us"]
    code, out, _ = run(capsys, *model, "--queries", str(questions), "--limit", "1", "--json")
    assert json.loads(out)["questions"] == 1


def test_the_table_holds_the_same(
    capsys: pytest.CaptureFixture[str], make_folder: MakeFolder
) -> None:
    folder = str(make_folder())
    code, out, err = run(capsys, "--model", folder, "--rows", "200", "--rounds", "1")
    assert (code, err) == (0, "")
    for line in (*PARTS, "top 10 of 200 rows", "one by one in 1 rounds", "100%"):
        assert line in out


def test_an_index_of_real_rows_is_tuned_by_the_questions_that_are_not_measured(
    capsys: pytest.CaptureFixture[str], make_folder: MakeFolder, tmp_path: Path
) -> None:
    folder = make_folder(special=False)
    texts = [" ".join(words) for words in product(("cat", "dog", "sun", "moon", "read"), repeat=4)]
    np.save(tmp_path / "rows.npy", Encoder(folder).encode(texts))
    questions = tmp_path / "questions.txt"
    questions.write_text("\n".join(texts[::5]), encoding="utf-8")
    options = ("--model", str(folder), "--vectors", str(tmp_path / "rows.npy"), "--rounds", "1")
    options += ("--queries", str(questions), "--limit", "20", "--json")
    _, out, _ = run(capsys, *options, "--funnel", "1@4:10 > 16@16")
    plain = json.loads(out)
    assert (plain["rows"], plain["questions"], plain["cells"]) == (len(texts), 20, "")
    assert plain["recall"] < 0.6
    code, out, _ = run(capsys, *options, "--funnel", "1@4:10 > 16@16", "--tune", "0.95")
    tuned = json.loads(out)
    assert code == 0
    assert tuned["recall"] > 0.8
    assert tuned["funnel"] != plain["funnel"]
    _, out, _ = run(capsys, *options, "--rows", "100")
    assert json.loads(out)["rows"] == 100


def test_each_part_is_charged_to_its_own_name(
    encoder: Encoder, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = {"tokenise": 0.002, "model": 0.004, "modules": 0.006, "search": 0.008}
    clock = FakeClock()

    def slow(call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def slowed(*args: Any, **named: Any) -> Any:
            clock.advance(waits[name])
            return call(*args, **named)

        return slowed

    for owner, method, name in (
        (type(encoder.embedder.tokenizer), "encode", "tokenise"),
        (type(encoder.embedder.graph), "run", "model"),
        (type(encoder.embedder.tail), "run", "modules"),
        (Index, "search", "search"),
    ):
        monkeypatch.setattr(owner, method, slow(getattr(owner, method), name))
    monkeypatch.setattr("nestling.bench.text.time", clock)
    monkeypatch.setattr("nestling._util.timing.time", clock)
    breakdown = measure(encoder, index, ["cat", "dog sun"], rounds=2)
    for name, wait in waits.items():
        assert breakdown.parts[name].p50_us == pytest.approx(wait * 1e6)
    assert breakdown.parts["text to hits"].p50_us == pytest.approx(sum(waits.values()) * 1e6)
    assert breakdown.parts["rest, in Python"].p50_us == pytest.approx(0, abs=1e-6)


def test_no_clock_is_left_behind(encoder: Encoder, index: Index) -> None:
    embedder = encoder.embedder
    parts = (encoder, embedder, embedder.graph, embedder.tokenizer, index)
    before = [dict(vars(part)) for part in parts]
    measure(encoder, index, ["cat"], rounds=1)
    after = [dict(vars(part)) for part in parts]
    assert [d.keys() for d in after] == [d.keys() for d in before]


def test_questions_without_a_token_are_left_out(encoder: Encoder, index: Index) -> None:
    assert measure(encoder, index, ["", "cat", " "], rounds=1).questions == 1
    with pytest.raises(CorpusError, match="none of the 2 questions has a token"):
        measure(encoder, index, ["", " "], rounds=1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--queries", "absent.txt"], 1, "absent.txt"),
        (["--model", "absent/folder"], 1, "absent/folder"),
        (["--rows", "1"], 2, "--rows"),
    ],
)
def test_wrong_arguments_are_reported(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    found, out, err = run(capsys, *arguments)
    assert (found, out) == (code, "")
    assert message in " ".join(err.split())


def test_a_query_encoder_takes_the_place_of_the_model(
    capsys: pytest.CaptureFixture[str], make_folder: MakeFolder, tmp_path: Path
) -> None:
    teacher = make_folder(name="teacher")
    settings = QueryEncoderSettings(pieces=60, epochs=1)
    train_query_encoder(Encoder(teacher), TEXTS, tmp_path / "fast", settings)
    options = ("--model", str(teacher), "--query-encoder", str(tmp_path / "fast"), "--typing")
    code, out, _ = run(capsys, *options, "--rows", "200", "--rounds", "1", "--json")
    breakdown: dict[str, Any] = json.loads(out)
    assert code == 0
    assert breakdown["query_encoder"] == "fast"
    assert breakdown["tokens"] < 10  # without special tokens
    assert 0 < breakdown["keystroke"]["p50_us"] <= breakdown["keystroke"]["p99_us"]
    code, out, _ = run(capsys, *options, "--rows", "200", "--rounds", "1")
    assert "queries by fast" in out
    assert "A keystroke to its hits, 30 a question" in out


def test_a_question_is_typed_in_thirty_keystrokes() -> None:
    for question in ("a", "cat", "what makes bread rise when it is baked in an oven?"):
        typed = _beginnings(question)
        assert len(typed) == 30
        assert typed[-1] == question
        assert all(later.startswith(earlier) for earlier, later in pairwise(typed))
