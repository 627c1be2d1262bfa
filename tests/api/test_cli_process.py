"""The command line, as a process of its own: its imports, pipes, encodings and real models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nestling import Collection


def nestling(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nestling", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", check=False, **options
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from nestling.cli.app import app; "
        "print([m for m in ('onnxruntime', 'tokenizers', 'onnx', 'pyarrow') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_module_runs_as_the_command() -> None:
    ended = nestling("--help")
    assert ended.returncode == 0
    names = ("demo", "index", "add", "search", "delete", "tune", "info", "check", "compact")
    assert all(name in ended.stdout for name in (*names, "backup", "export", "encode", "eval"))


@pytest.mark.skipif(os.name != "posix", reason="shell pipes")
def test_a_closed_pipe_gives_no_traceback(tmp_path: Path) -> None:
    vectors, out = tmp_path / "v.npy", tmp_path / "v.nest"
    np.save(vectors, np.eye(500, 8, dtype=np.float32) + 1)
    assert nestling("index", vectors, "--out", out).returncode == 0
    pipe = f"{sys.executable} -m nestling search {out} --vector {vectors} -k 100 --json | head -c 9"
    ended = subprocess.run(pipe, shell=True, capture_output=True, text=True, check=False)
    assert ended.stdout == '{"questio'
    assert ended.stderr == ""


def test_a_terminal_without_arabic_still_gets_an_answer(tmp_path: Path) -> None:
    vectors, out = tmp_path / "v.npy", tmp_path / "مصر.nest"
    np.save(vectors, np.eye(5, 8, dtype=np.float32))
    assert nestling("index", vectors, "--out", out).returncode == 0
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    ended = nestling("info", out, "--json", env=environment)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["index"] == str(out)


@pytest.mark.slow
def test_questions_find_real_texts_in_two_languages(tmp_path: Path) -> None:
    """With the real multilingual model, in the user's own cache."""
    texts = {
        "cairo": "القاهرة هي عاصمة جمهورية مصر العربية وأكبر مدنها، وتقع على ضفاف نهر النيل.",
        "bees": "النحل حشرات تعيش في خلايا وتصنع العسل من رحيق الأزهار.",
        "moon": "القمر هو التابع الطبيعي الوحيد للأرض، ويدور حولها في نحو سبعة وعشرين يوما.",
        "rust": "Rust is a systems programming language that guarantees memory safety.",
    }
    for name, text in texts.items():
        (tmp_path / "corpus").mkdir(exist_ok=True)
        (tmp_path / "corpus" / f"{name}.txt").write_text(text, encoding="utf-8")
    out = tmp_path / "found"
    ended = nestling("index", tmp_path / "corpus", "--out", out, "--model", "e5", "--json")
    assert ended.returncode == 0, ended.stderr
    questions = {
        "ما هي عاصمة مصر؟": "cairo.txt",
        "What is the capital of Egypt?": "cairo.txt",
        "How do bees make honey?": "bees.txt",
        "ما الذي يدور حول الأرض؟": "moon.txt",
        "a language for safe systems programming": "rust.txt",
    }
    ended = nestling("search", out, "-", "-k", 1, "--json", input="\n".join(questions))
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert {answer["question"]: answer["hits"][0]["id"] for answer in found} == questions


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_without_its_model_ends_and_says_so(tmp_path: Path, workers: int) -> None:
    Collection(tmp_path / "c", dim=4).close()
    options = ("--models", "minilmm", "--workers", workers, "--port", 0)
    ended = nestling("serve", tmp_path / "c", *options, timeout=120)
    assert ended.returncode == 1
    assert "'minilmm' is not a built-in model" in ended.stderr
    assert not {"Traceback", "Fatal"} & set(ended.stderr.split())
    assert ended.stderr.splitlines()[-1].startswith("error: ")
