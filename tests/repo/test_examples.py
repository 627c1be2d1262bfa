"""The examples run: with a tiny model in seconds, with the real ones as slow tests."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(name: str, *arguments: object) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples" / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=280,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that knows a dozen words; searches by words find all the same."""
    tiny_models = runpy.run_path(str(ROOT / "tests/api/tiny_models.py"))
    folder: Path = tiny_models["make_folder"](tmp_path_factory.mktemp("models"))
    return folder


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "day.md").write_text("# Day\n\nThe sun and the dog\n")
    (folder / "night.txt").write_text("The moon and the cat\n")
    return folder


def test_each_example_begins_with_its_command() -> None:
    assert len(EXAMPLES) == 4
    for path in EXAMPLES:
        assert f"python examples/{path.name}" in path.read_text(encoding="utf-8")[:300]


def test_search_folder_keeps_up_with_the_folder(
    notes: Path, tiny_model: Path, tmp_path: Path
) -> None:
    command = (notes, "moon cat", "--model", tiny_model, "-k", 1)
    command = (*command, "--collection", tmp_path / "kept")
    first = run("search_folder.py", *command)
    assert "2 new, 0 changed, 0 as before, 0 deleted" in first
    assert "night.txt, characters 0 to 20" in first
    assert "The [moon] and the [cat]" in first
    (notes / "day.md").unlink()
    (notes / "night.txt").write_text("The moon, and no cat\n")
    second = run("search_folder.py", *command)
    assert "0 new, 1 changed, 0 as before, 1 deleted" in second


def test_arabic_faq_finds_letters_written_otherwise(tiny_model: Path) -> None:
    found = run("arabic_faq.py", "اعيد المنتج", "--model", tiny_model)
    assert "كيف أُعيد منتجًا اشتريته؟" in found
    filtered = run("arabic_faq.py", "اعيد المنتج", "--topic", "ضمان", "--model", tiny_model)
    assert "هل الأجهزة مكفولة؟" in filtered


def test_web_app_answers_while_documents_are_added(tiny_model: Path) -> None:
    output = run("web_app.py", "--model", tiny_model)
    assert "{'documents': 400}" in output
    assert "of 200 questions found their room" in output


def test_evaluate_model_measures_prefixes_and_a_funnel(tiny_model: Path, tmp_path: Path) -> None:
    texts = {"a": "the cat reads", "b": "the dog writes", "c": "sun and moon"}
    for file, prefix in (("corpus.jsonl", ""), ("queries.jsonl", "about-")):
        lines = [json.dumps({"_id": prefix + n, "text": text}) + "\n" for n, text in texts.items()]
        (tmp_path / file).write_text("".join(lines))
    judgements = "".join(f"about-{name}\t{name}\t1\n" for name in texts)
    (tmp_path / "qrels.tsv").write_text("q\td\tscore\n" + judgements)
    funnel = "8@4:100 > 16@16"
    arguments = ("--folder", tmp_path, "--dims", "16,8", "--funnel", funnel)
    table = run("evaluate_model.py", *arguments, "--model", tiny_model)
    assert [line.split("  ")[0] for line in table.splitlines()[3:]] == [
        *("16@32", "16@4", "8@32", "8@4"),
        funnel,
    ]


@pytest.mark.slow
@pytest.mark.parametrize("example", [pytest.param(path.name, id=path.stem) for path in EXAMPLES])
def test_an_example_runs_by_itself(example: str) -> None:
    assert run(example)


@pytest.mark.slow
def test_web_app_finds_every_room() -> None:
    assert "200 of 200 questions found their room" in run("web_app.py")


@pytest.mark.slow
def test_arabic_faq_finds_by_meaning() -> None:
    assert "كيف أغيّر كلمة المرور؟" in run("arabic_faq.py", "نسيت الرقم السري")
    assert "ما طرق الدفع المتاحة؟" in run("arabic_faq.py", "Can I pay in cash?")
