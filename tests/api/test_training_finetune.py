"""Fine-tuning a tiny encoder: it learns, exports, resumes, and refuses what it cannot do."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("accelerate")
pytest.importorskip("datasets")

from commands import end_of  # noqa: E402
from tiny_bert import DIM, make_bert, write_pairs, write_scored  # noqa: E402

from fake_clock import FakeClock  # noqa: E402
from nestling import (  # noqa: E402
    CorpusError,
    Encoder,
    LockedError,
    ModelError,
    NestlingError,
    StorageError,
)
from nestling.training import FineTuneReport, FineTuneSettings  # noqa: E402
from nestling.training import finetune as finetune_encoder  # noqa: E402
from nestling.training.checkpoints import RunFolder  # noqa: E402
from nestling.training.export import check_exportable, export  # noqa: E402
from nestling.training.finetune.model import load_network  # noqa: E402

# Of torch and of what trains with it; nestling's own warnings are errors all the same.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
QUICK: dict[str, Any] = {"dims": [32, 16, 8], "batch_size": 16, "lr": 1e-3, "threads": 1}
QUICK |= {"blend": 1.0, "group_size": 8}


RUN_OPTIONS = {"threads", "checkpoint_minutes", "force", "restart", "on_log"}


def finetune(model: Any, data: Any, out: Any, **options: Any) -> FineTuneReport:
    """Fine-tunes with settings and options of the run in one dictionary."""
    run = {name: options.pop(name) for name in RUN_OPTIONS & options.keys()}
    return finetune_encoder(model, data, out, FineTuneSettings(**options), **run)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bert(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.jsonl")


@pytest.fixture(scope="module")
def trained(model: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("trained") / "out"
    return finetune(model, pairs, out, epochs=4, **QUICK)


def weights(folder: Path | str) -> bytes:
    return (Path(folder) / "model.safetensors").read_bytes()


def test_prefixes_get_better_on_what_was_held_out(trained: Any) -> None:
    assert (trained.steps, trained.planned, trained.pairs, trained.held_out) == (64, 64, 270, 30)
    for dims in (32, 16, 8):
        assert trained.after[dims] > trained.before[dims] + 0.05
    assert trained.metric == "ndcg@10"
    assert list(trained.after) == [32, 16, 8]
    assert "ndcg@10 on 30 held-out pairs" in str(trained)


def test_the_log_has_the_loss_of_every_prefix(trained: Any) -> None:
    assert [entry["step"] for entry in trained.log] == list(range(1, 65))
    first, last = trained.log[0]["loss_by_dims"], trained.log[-1]["loss_by_dims"]
    assert list(first) == ["32", "16", "8"]
    for entry in trained.log:
        assert entry["loss"] == pytest.approx(sum(entry["loss_by_dims"].values()), abs=1e-3)
    assert all(last[dims] < first[dims] for dims in first)
    rates = [entry["lr"] for entry in trained.log]
    assert max(rates) == pytest.approx(1e-3, rel=0.2)
    assert rates[-1] < 1e-4


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_folder_is_an_encoder_with_nesting(trained: Any, precision: Any) -> None:
    encoder = Encoder(trained.out, precision=precision, threads=1)
    assert encoder.nesting == (8, 16, 32)
    assert encoder.dim == DIM
    assert encoder.precision == precision
    assert encoder.max_length == 24  # not that of the training
    assert encoder.name == "out"
    texts = ["w1 w2 w3", "w100 w7 " * 9, ""]
    expected = load_network(trained.out).encode(texts, normalize_embeddings=True)
    got = encoder.encode(texts)
    assert (got * expected).sum(axis=1).min() > (0.9999 if precision == "float32" else 0.95)
    assert trained.agreement["float32"] < 1e-5


def test_the_folder_can_be_trained_again_and_has_a_report(trained: Any, pairs: Path) -> None:
    report = json.loads((Path(trained.out) / "finetune.json").read_text("utf-8"))
    assert report["settings"]["dims"] == [32, 16, 8]
    assert report["after"]["16"] == trained.after[16]
    assert not Path(f"{trained.out}.training").exists()
    again = finetune(
        trained.out, pairs, Path(trained.out).with_name("more"), steps=2, **QUICK | {"lr": 1e-5}
    )
    assert again.before[32] == pytest.approx(trained.after[32], abs=1e-6)


def test_a_seed_decides_everything(model: Path, pairs: Path, tmp_path: Path) -> None:
    options = QUICK | {"steps": 5, "holdout": 0}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        finetune(model, pairs, tmp_path / name, seed=seed, **options)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


class StopError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize(
    ("stop", "scored"),
    [
        (18, False),  # in the second epoch
        pytest.param(1, False, marks=pytest.mark.long),
        pytest.param(18, True, marks=pytest.mark.long),
    ],
)
def test_a_stopped_run_resumes_and_ends_with_the_same_weights(
    stop: int, scored: bool, model: Path, pairs: Path, tmp_path: Path
) -> None:
    if scored:
        pairs = write_scored(tmp_path / "scored.jsonl", 300)
    options = QUICK | {"steps": 22, "holdout": 20, "checkpoint_minutes": 0}
    whole = finetune(model, pairs, tmp_path / "whole", **options)

    def halt(entry: Any) -> None:
        if entry["step"] == stop:
            raise StopError

    with pytest.raises(StopError):
        finetune(model, pairs, tmp_path / "cut", on_log=halt, **options)
    assert not (tmp_path / "cut").exists()
    # A checkpoint that was being written when the process died is not one.
    torn = tmp_path / "cut.training" / "checkpoint-999"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half")
    report = finetune(model, pairs, tmp_path / "cut", **options)
    assert report.resumed == (None if stop == 1 else stop - 1)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert report.after == whole.after
    plain = [{k: v for k, v in e.items() if k != "seconds"} for e in report.log]
    assert [e["step"] for e in plain] == [e["step"] for e in whole.log]


def test_checkpoints_of_another_run_are_refused(model: Path, pairs: Path, tmp_path: Path) -> None:
    def halt(entry: Any) -> None:
        raise StopError

    options = QUICK | {"steps": 4, "holdout": 0, "checkpoint_minutes": 0}
    with pytest.raises(StopError):
        finetune(model, pairs, tmp_path / "out", on_log=halt, **options)
    with pytest.raises(StorageError, match=r"another training \(lr 0.001, not 0.002\)"):
        finetune(model, pairs, tmp_path / "out", **options | {"lr": 2e-3})
    report = finetune(model, pairs, tmp_path / "out", restart=True, **options | {"lr": 2e-3})
    assert report.resumed is None
    with pytest.raises(StorageError, match="exists"):
        finetune(model, pairs, tmp_path / "out", **options)
    finetune(model, pairs, tmp_path / "out", force=True, **options)


def test_a_folder_that_another_process_trains_in_is_locked(
    model: Path, pairs: Path, tmp_path: Path
) -> None:
    options = QUICK | {"steps": 2, "holdout": 0}
    with RunFolder.open(tmp_path / "out.training", {}), pytest.raises(LockedError, match="another"):
        finetune(model, pairs, tmp_path / "out", **options)
    assert finetune(model, pairs, tmp_path / "out", restart=True, **options).steps == 2


def test_a_limit_of_time_plans_fewer_steps(
    model: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that lets every batch take a tenth of a second, of six seconds in all."""
    trainer = import_module("nestling.training.finetune.trainer")
    monkeypatch.setattr(trainer, "time", FakeClock(tick=0.1))
    options = QUICK | {"holdout": 0, "epochs": 10_000, "max_minutes": 0.1}
    report = finetune(model, pairs, tmp_path / "out", **options)
    assert 40 < report.planned < 60
    assert 1 <= report.steps <= report.planned
    assert report.log[-1]["lr"] < 1e-3


def test_a_blend_is_a_mean_of_the_weights_before_and_after(
    model: Path, pairs: Path, tmp_path: Path
) -> None:
    options = QUICK | {"steps": 5, "holdout": 0}
    finetune(model, pairs, tmp_path / "learnt", **options)
    finetune(model, pairs, tmp_path / "mixed", **options | {"blend": 0.25})
    first, learnt, mixed = (
        load_network(folder).state_dict()
        for folder in (model, tmp_path / "learnt", tmp_path / "mixed")
    )
    for name, value in mixed.items():
        expected = 0.75 * first[name].numpy() + 0.25 * learnt[name].numpy()
        np.testing.assert_allclose(value.numpy(), expected, atol=1e-7, err_msg=name)
    name = "0.model.encoder.layer.0.output.dense.weight"
    assert np.abs(learnt[name].numpy() - first[name].numpy()).max() > 1e-4


def test_a_training_in_bfloat16_ends_in_float32(model: Path, pairs: Path, tmp_path: Path) -> None:
    report = finetune(model, pairs, tmp_path / "out", bf16=True, steps=3, **QUICK)
    assert report.agreement["float32"] < 1e-5
    plain = finetune(model, pairs, tmp_path / "plain", steps=3, **QUICK)
    assert weights(report.out) != weights(plain.out)
    assert report.log[0]["loss"] == pytest.approx(plain.log[0]["loss"], rel=0.02)


def test_hard_negatives_and_gradient_caching(model: Path, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "hard.jsonl", 120, negatives=2)
    options = QUICK | {"holdout": 0, "steps": 3, "warmup": 0.0}
    plain = finetune(model, pairs, tmp_path / "plain", **options)
    cached = finetune(model, pairs, tmp_path / "cached", mini_batch=5, **options)
    assert plain.negatives == cached.negatives == 2
    # Three columns of answers are harder to choose from than one.
    assert plain.log[0]["loss_by_dims"]["8"] > np.log(16)
    assert set(cached.log[0]["loss_by_dims"]) == {"32", "16", "8"}


def test_scored_pairs(model: Path, tmp_path: Path) -> None:
    pairs = write_scored(tmp_path / "scored.jsonl", 200)
    report = finetune(model, pairs, tmp_path / "out", epochs=4, **QUICK)
    assert report.metric == "spearman"
    assert report.held_out == 20
    assert report.log[-1]["loss"] < report.log[0]["loss"]
    assert Encoder(report.out).nesting == (8, 16, 32)


def test_other_architectures_are_refused_before_the_work(pairs: Path, tmp_path: Path) -> None:
    from sentence_transformers.sentence_transformer import modules

    other = make_bert(tmp_path / "relu", hidden_act="relu")
    with pytest.raises(ModelError, match="hidden_act 'relu' cannot be exported"):
        finetune(other, pairs, tmp_path / "out", **QUICK)
    assert not (tmp_path / "out.training").exists()
    network = load_network(make_bert(tmp_path / "dense"))
    network.append(modules.Dense(DIM, DIM))
    with pytest.raises(ModelError, match="module Dense cannot be exported"):
        check_exportable(network)


def test_a_graph_that_disagrees_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nestling.models.convert import bert

    network, folder = load_network(model), tmp_path / "out"
    build = bert.build_bert

    def wrong(tensors: Any, config: Any, **options: Any) -> Any:
        name = "encoder.layer.1.output.LayerNorm.bias"
        return build({**tensors, name: tensors[name] + 0.1}, config, **options)

    monkeypatch.setattr(bert, "build_bert", wrong)
    folder.mkdir()
    with pytest.raises(ModelError, match=r"differs from torch's by 0\.\d+ in a component"):
        export(network, folder, name="x", nesting=[32], texts=["w1 w2", "w3"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dims": [16, 8]}, "must be the whole embedding, 32, not 16"),
        ({"dims": [64, 32]}, "must be the whole embedding, 32, not 64"),
        ({"dims": [32, 32]}, "different lengths"),
        ({"dims": [32, 0]}, "different lengths of at least 1"),
        ({"weights": [1.0]}, "1 weights for 3 dims"),
        ({"weights": [1.0, 0.0, 1.0]}, "weights must be above 0"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"blend": 0.0}, "blend must be above 0"),
        ({"warmup": 1.0}, "warmup must be at least 0 and below 1"),
        ({"max_minutes": 0.0}, "max_minutes must be above 0"),
    ],
)
def test_settings_out_of_range_are_named(
    changes: dict[str, Any], message: str, model: Path, pairs: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        finetune(model, pairs, tmp_path / "out", **QUICK | changes)
    assert isinstance(error.value, NestlingError)
    assert not (tmp_path / "out.training").exists()


def test_too_few_pairs_for_a_batch_are_reported(model: Path, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "few.jsonl", 10)
    with pytest.raises(CorpusError, match="fewer than the 16 of a batch"):
        finetune(model, pairs, tmp_path / "out", holdout=0, **QUICK)
    assert not (tmp_path / "out.training").exists()


def test_a_loss_that_is_not_finite_is_reported(model: Path, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="choose a lower learning rate"):
        finetune(model, pairs, tmp_path / "out", steps=8, holdout=0, **QUICK | {"lr": 1e38})


def test_a_folder_without_torch_weights_is_refused(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    with pytest.raises(ModelError, match="an ONNX graph cannot be trained"):
        load_network(tmp_path)
    with pytest.raises(ModelError, match="an existing folder, or a hub id"):
        load_network("nonsense")
    with pytest.raises(ModelError, match="wordllama is not a BERT"):
        load_network("wordllama")


def test_the_command(
    model: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: object) -> Any:
        return end_of(capsys, "train", "finetune", "--model", model, "--pairs", pairs, *arguments)

    out = tmp_path / "out"
    options = ("--out", out, "--dims", "32,16,8", "--steps", 3, "--batch-size", 16, "-t", 1)
    ended = run(*options, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["steps"] == 3
    assert ended.json["after"].keys() == {"32", "16", "8"}
    assert "step 3 of 3" in ended.err
    assert Encoder(out).nesting == (8, 16, 32)
    assert run(*options).code == 1
    ended = run(*options, "--force", "--weights", "2,1,1")
    assert "held-out pairs" in ended.out
    for wrong in (("--dims", "32,x"), ("--dims", "16"), ("--lr", "0"), ("--weights", "1")):
        assert run(*options, "--force", *wrong).code == 2
    shutil.rmtree(out)
