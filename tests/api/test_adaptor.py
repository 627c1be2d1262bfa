"""Adaptors: rotations that put what matters into the first dimensions of a frozen encoder."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
import tiny_models

from nestling.encoder import Encoder
from nestling.errors import CorpusError, NestlingError, StorageError, VectorError

torch = pytest.importorskip("torch")

from nestling.training import AdaptorReport  # noqa: E402
from nestling.training import train_adaptor as train_encoder  # noqa: E402
from nestling.training.adaptor.anchors import from_pairs, from_texts  # noqa: E402
from nestling.training.adaptor.fit import Fitter  # noqa: E402
from nestling.training.adaptor.settings import AdaptorSettings  # noqa: E402
from nestling.training.adaptor.start import cayley, principal_axes  # noqa: E402

MakeFolder = Callable[..., Path]
DIM = tiny_models.DIM
TEXTS = [" ".join(words) for words in product(tiny_models.WORDS[4:11], repeat=3)]
QUICK: dict[str, Any] = {"steps": 12, "evaluate_every": 4, "batch_size": 32}
RUN_OPTIONS = {"pairs", "force", "restart", "on_evaluation"}


def train_adaptor(encoder: Encoder, texts: list[str], out: Path, **options: Any) -> AdaptorReport:
    """Trains with settings and options of the run in one dictionary."""
    run = {name: options.pop(name) for name in RUN_OPTIONS & options.keys()}
    return train_encoder(encoder, texts, out, AdaptorSettings(**options), **run)


def units(rng: np.random.Generator, rows: int, dim: int = 32) -> np.ndarray:
    """Unit vectors about a mean, whose meaning lies in a few directions of unequal weight."""
    weights = 1 / np.arange(1, dim + 1)
    mixed = rng.standard_normal((rows, dim)) * weights + 2 * np.eye(dim)[3]
    turned = mixed @ np.linalg.qr(np.random.default_rng(9).standard_normal((dim, dim)))[0]
    turned /= np.linalg.norm(turned, axis=1, keepdims=True)
    return turned.astype(np.float32)


def save_pairs(path: Path) -> Path:
    lines = (json.dumps({"query": t.split()[0], "positive": t}) for t in TEXTS[:120])
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def matrix_of(folder: Path) -> np.ndarray:
    with np.load(folder / "adaptor.npz") as arrays:
        return arrays["matrix"]


@pytest.fixture
def encoder(make_folder: MakeFolder) -> Encoder:
    return Encoder(make_folder(), threads=1)


def test_principal_axes_are_orthogonal_with_the_mean_last() -> None:
    vectors = units(np.random.default_rng(0), 400)
    rotation = principal_axes(vectors)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(32), atol=1e-5)
    mean = vectors.mean(axis=0)
    assert abs(rotation[-1] @ mean) == pytest.approx(np.linalg.norm(mean), rel=1e-5)
    spread = (vectors @ rotation.T)[:, :-1].var(axis=0)
    assert (np.diff(spread) <= 1e-7).all()


def test_a_cayley_transform_is_a_rotation_and_begins_as_the_identity() -> None:
    free = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
    rotation = cayley(free)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(cayley(torch.zeros(8, 8)), torch.eye(8))


def test_neighbours_of_texts_are_others_and_never_themselves() -> None:
    rng = np.random.default_rng(2)
    vectors = units(rng, 300)
    anchors = from_texts(vectors, most=100, holdout=1000, rng=rng)
    assert len(anchors.vectors) == 100
    assert len(anchors.held_out) == 10
    assert not set(anchors.held_out) & set(anchors.trained)
    assert not (anchors.neighbours == anchors.self_ids[:, None]).any()
    batch = anchors.draw(rng, 64, 3)
    for position in np.flatnonzero(batch.self_ids >= 0):
        np.testing.assert_array_equal(
            batch.candidates[batch.self_ids[position]], batch.anchors[position]
        )


def test_questions_of_one_answer_are_held_out_together() -> None:
    rng = np.random.default_rng(3)
    right = np.repeat(np.arange(40), 5)
    anchors = from_pairs(
        units(rng, 200), units(rng, 60), right.tolist(), most=1000, holdout=1000, rng=rng
    )
    assert not set(anchors.positive[anchors.held_out]) & set(anchors.positive[anchors.trained])
    batch = anchors.draw(np.random.default_rng(4), 32, 2)
    assert (batch.positive >= 0).all()
    assert (batch.self_ids == -1).all()
    assert {b.positive.min() >= 0 for b in anchors.held_out_batches(8, 2)} == {True}


def test_the_descent_brings_prefixes_nearer_to_the_whole() -> None:
    rng = np.random.default_rng(5)
    group = from_texts(units(rng, 600), most=600, holdout=60, rng=rng)
    settings = AdaptorSettings(
        dims=[4, 8], steps=60, evaluate_every=20, batch_size=64, lr=0.02
    ).resolve(32)
    assert settings.dims == (4, 8, 32)
    turned = np.linalg.qr(rng.standard_normal((32, 32)))[0].astype(np.float32)
    fitter = Fitter(turned, [group], settings)
    while not fitter.finished:
        fitter.advance()
    first, last = fitter.evaluations[0], fitter.evaluations[-1]
    assert last.loss < 0.8 * first.loss
    assert fitter.best.shape == (32, 32)
    np.testing.assert_allclose(fitter.best @ fitter.best.T, np.eye(32), atol=1e-5)


def test_a_descent_that_gains_nothing_stops_early_and_keeps_its_best() -> None:
    rng = np.random.default_rng(6)
    group = from_texts(units(rng, 300), most=300, holdout=30, rng=rng)
    settings = AdaptorSettings(
        dims=[4], steps=900, evaluate_every=2, batch_size=8, lr=0.9, patience=3
    ).resolve(32)
    fitter = Fitter(principal_axes(group.candidates), [group], settings)
    while not fitter.finished:
        fitter.advance()
    assert fitter.step < 900
    best = min(fitter.evaluations, key=lambda each: each.loss)
    assert len(fitter.evaluations) - 1 - fitter.evaluations.index(best) == 3


def test_a_restored_descent_continues_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    group = from_texts(units(rng, 300), most=300, holdout=30, rng=rng)
    settings = AdaptorSettings(dims=[4, 8], steps=30, evaluate_every=10, batch_size=32).resolve(32)
    whole, first, second = (Fitter(np.eye(32, dtype=np.float32), [group], settings) for _ in "123")
    while not whole.finished:
        whole.advance()
    first.advance()
    torch.save(first.state(), tmp_path / "state.pt")
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    while not second.finished:
        second.advance()
    np.testing.assert_array_equal(second.best, whole.best)
    assert second.evaluations == whole.evaluations


@pytest.mark.parametrize("with_pairs", [False, True], ids=["texts", "pairs"])
def test_an_adapted_encoder_keeps_its_whole_embeddings(
    encoder: Encoder, tmp_path: Path, with_pairs: bool
) -> None:
    pairs = save_pairs(tmp_path / "pairs.jsonl") if with_pairs else None
    report = train_adaptor(encoder, TEXTS, tmp_path / "out", pairs=pairs, dims=[8, 4], **QUICK)
    adapted = Encoder(tmp_path / "out", threads=1)
    assert adapted.nesting == (4, 8, DIM)
    before, after = encoder.encode(TEXTS), adapted.encode(TEXTS)
    np.testing.assert_allclose(after @ after.T, before @ before.T, atol=1e-5)
    np.testing.assert_allclose(after, before @ matrix_of(adapted.path).T, atol=1e-5)
    assert (report.texts, report.pairs) == (len(TEXTS), 120 if with_pairs else 0)
    assert sum(report.after.values()) <= sum(report.before.values())
    assert json.loads((tmp_path / "out" / "adaptor.json").read_text())["steps"] == 12
    assert not (tmp_path / "out.training").exists()


def test_one_seed_gives_one_rotation_and_another_another(encoder: Encoder, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train_adaptor(encoder, TEXTS, tmp_path / name, dims=[4], seed=seed, **QUICK)
    first, same, other = (matrix_of(tmp_path / name) for name in "abc")
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_an_interrupted_training_resumes(encoder: Encoder, tmp_path: Path) -> None:
    train_adaptor(encoder, TEXTS, tmp_path / "whole", dims=[4], **QUICK)

    def stop(evaluation: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_adaptor(encoder, TEXTS, tmp_path / "out", dims=[4], on_evaluation=stop, **QUICK)
    assert not (tmp_path / "out").exists()
    with pytest.raises(StorageError, match="checkpoints of another training"):
        train_adaptor(encoder, TEXTS, tmp_path / "out", dims=[4], seed=1, **QUICK)
    others = TEXTS[::-1]
    with pytest.raises(KeyboardInterrupt):
        train_adaptor(
            encoder, others, tmp_path / "out", dims=[4], restart=True, on_evaluation=stop, **QUICK
        )
    report = train_adaptor(encoder, others, tmp_path / "out", dims=[4], **QUICK)
    assert report.resumed == 4
    train_adaptor(encoder, others, tmp_path / "others", dims=[4], **QUICK)
    np.testing.assert_array_equal(matrix_of(tmp_path / "out"), matrix_of(tmp_path / "others"))
    with pytest.raises(KeyboardInterrupt):
        train_adaptor(
            encoder, TEXTS, tmp_path / "out", dims=[4], force=True, on_evaluation=stop, **QUICK
        )
    train_adaptor(encoder, TEXTS, tmp_path / "out", dims=[4], force=True, **QUICK)
    np.testing.assert_array_equal(matrix_of(tmp_path / "out"), matrix_of(tmp_path / "whole"))


def test_unusable_arguments_are_refused_early(encoder: Encoder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(CorpusError, match="3 different texts"):
        train_adaptor(encoder, ["cat", "dog", "cat", "sun", " "], out)
    with pytest.raises(VectorError, match="dims must be 1 to 16, not"):
        train_adaptor(encoder, TEXTS, out, dims=[17])
    with pytest.raises(TypeError, match="stepz"):
        train_adaptor(encoder, TEXTS, out, stepz=3)
    with pytest.raises(ValueError, match="lr must be above 0 and below 1") as error:
        train_adaptor(encoder, TEXTS, out, lr=2.0)
    assert isinstance(error.value, NestlingError)
    with pytest.raises(ValueError, match="patience must be") as error:
        train_adaptor(encoder, TEXTS, out, patience=0)
    assert isinstance(error.value, NestlingError)
    scored = tmp_path / "scored.tsv"
    scored.write_text("cat\tdog\t0.5\nsun\tmoon\t0.7\n")
    with pytest.raises(CorpusError, match="scored pairs"):
        train_adaptor(encoder, TEXTS, out, pairs=scored)
    out.mkdir()
    (out / "something").touch()
    with pytest.raises(StorageError, match="something else"):
        train_adaptor(encoder, TEXTS, out)


def test_the_command_adapts_and_reports(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS), encoding="utf-8")
    arguments = ["train", "adaptor", "--model", str(make_folder()), "--texts", str(corpus)]
    arguments += ["--out", str(tmp_path / "out"), "--dims", "8,4", "--steps", "3", "--json"]
    ended = commands.end_of(capsys, *arguments)
    assert ended.code == 0, ended.err
    assert (ended.json["texts"], ended.json["steps"]) == (len(TEXTS), 3)
    assert list(ended.json["after"]) == ["4", "8"]
    assert "step 3, held-out loss by dims: 4 " in ended.err
    assert "--force" in commands.end_of(capsys, *arguments).err
    assert commands.end_of(capsys, *arguments, "--force", "--dims", "x").code == 2
    assert commands.end_of(capsys, *arguments, "--force", "--dims", "99").code == 1


SCRIPT = """
import sys
from itertools import product
from nestling.encoder import Encoder
from nestling.training import AdaptorSettings, train_adaptor
folder, words, out = sys.argv[1], sys.argv[2].split(","), sys.argv[3]
texts = [" ".join(chosen) for chosen in product(words, repeat=4)]
settings = AdaptorSettings(dims=[8, 4], steps=300, evaluate_every=10)
train_adaptor(Encoder(folder, threads=1), texts, out, settings,
              on_evaluation=lambda each: print(each.step, flush=True))
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_killed_at_random_moments_it_ends_with_the_same_bits(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", SCRIPT, str(make_folder()), ",".join(tiny_models.WORDS[4:10])]

    def run(out: str, *, evaluations: int | None, pause: float = 0.0) -> str:
        """Runs to the end, or kills it shortly after so many evaluations; returns its errors."""
        with subprocess.Popen(
            [*command, str(tmp_path / out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            if evaluations is not None:
                for _ in range(evaluations):
                    process.stdout.readline()
                time.sleep(pause)
                process.send_signal(signal.SIGKILL)
            return process.communicate(timeout=200)[1].decode()

    assert run("whole", evaluations=None) == ""
    rng = np.random.default_rng()
    moments = [(3, 0.0)]
    moments += [(int(rng.integers(0, 7)), float(rng.uniform(0, 0.3))) for _ in range(3)]
    for evaluations, pause in moments:
        run("killed", evaluations=evaluations, pause=pause)
        if (tmp_path / "killed").exists():  # done before the signal came
            break
    else:
        assert run("killed", evaluations=None) == ""
    report = json.loads((tmp_path / "killed" / "adaptor.json").read_text())
    assert report["resumed"]
    for name in ("adaptor.npz", "onnx/model.onnx"):
        one, two = ((tmp_path / out / name).read_bytes() for out in ("whole", "killed"))
        assert one == two, (name, moments)
