"""Fine-tuning as it is used: killed at random moments, and on a real model with real texts."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("accelerate")
pytest.importorskip("datasets")

from tiny_bert import make_bert, write_pairs

from nestling import Encoder
from nestling.evaluation import EvaluationSettings, evaluate, read_dataset
from nestling.training import FineTuneSettings, finetune

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1_800),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::nestling.errors.TruncationWarning"),
]

SHARED = Path(os.environ.get("NESTLING_SHARED") or Path(__file__).parents[3] / "shared")


def command(model: Path, pairs: Path, out: Path, *options: object) -> list[str]:
    settings = ["--dims", "32,16,8", "--steps", 300, "--batch-size", 16, "--lr", 1e-3]
    settings += ["--threads", 1, "--holdout", 20, *options]
    start = [sys.executable, "-m", "nestling", "train", "finetune", "--json"]
    return [*start, "--model", str(model), "--pairs", str(pairs), "--out", str(out)] + [
        str(setting) for setting in settings
    ]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_killed_training_ends_with_the_same_bits(seed: int, tmp_path: Path) -> None:
    """kill -9 at random moments, in the middle of checkpoints too, as one is taken every step."""
    model, pairs = make_bert(tmp_path), write_pairs(tmp_path / "pairs.jsonl")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run(command(model, pairs, whole), check=True, capture_output=True)
    draw, kills = random.Random(seed), 0
    while kills < 4:
        process = subprocess.Popen(
            command(model, pairs, cut, "--checkpoint-minutes", 0),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        # Importing torch takes seconds; what matters comes after the first step of this process.
        for line in process.stderr:
            if line.startswith("step"):
                break
        time.sleep(draw.uniform(0, 0.8))
        process.kill()
        process.communicate()
        kills += process.returncode == -9
        if process.returncode == 0:
            pytest.fail("the training ended before it was killed: it must take more steps")
    ended = subprocess.run(
        command(model, pairs, cut), check=True, capture_output=True, encoding="utf-8"
    )
    assert json.loads(ended.stdout)["resumed"] > 0
    for name in ("model.safetensors", "onnx/model.onnx", "onnx/model_int8.onnx"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()
    reports = [json.loads((folder / "finetune.json").read_text("utf-8")) for folder in (whole, cut)]
    assert reports[0]["after"] == reports[1]["after"]


def test_minilm_gets_shorter_without_getting_worse(tmp_path: Path) -> None:
    """A few minutes of training; README has the figures of an hour."""
    if not (SHARED / "data" / "squad-train").is_dir():
        pytest.skip("shared data absent")
    report = finetune(
        "minilm",
        SHARED / "data" / "squad-train",
        tmp_path / "out",
        FineTuneSettings(
            dims=[384, 128, 64, 32], weights=[3, 1, 1, 1], steps=40, holdout=0, bf16=True
        ),
        threads=1,
    )
    assert report.agreement["float32"] < 1e-5
    assert report.agreement["int8"] > 0.95
    dataset = read_dataset(SHARED / "data" / "squad-dev", limit=1_000)
    values = []
    for name in ("minilm", tmp_path / "out"):
        encoder = Encoder(name, threads=1)
        table = evaluate(
            encoder,
            dataset,
            EvaluationSettings(dims=[384, 64], bits=[32], funnels=[], depth=100, rounds=0),
        )
        values.append({row.dims: row.metrics["ndcg@10"] for row in table.rows})
    raw, trained = values
    assert trained[64] > raw[64] + 0.02
    assert trained[384] > raw[384] - 0.005
