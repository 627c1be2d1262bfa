"""The demo: the standard library's documentation is read completely, searched, and kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hashing_encoder import HashingEncoder

from nestling.cli import main
from nestling.corpus import Document
from nestling.corpus.stdlib_docs import MAX_WORDS, read_stdlib_docs

Demo = Callable[..., tuple[str, str]]


@pytest.fixture(scope="module")
def docs() -> list[Document]:
    return read_stdlib_docs()


def test_the_library_has_thousands_of_passages(docs: list[Document]) -> None:
    assert len(docs) > 4000
    assert len({document.id for document in docs}) == len(docs)
    assert len({document.passage for document in docs}) == len(docs)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("datetime.datetime.strptime", "parsed from a string"),
        ("shutil.copytree", "(src, dst"),
        ("collections.Counter.most_common", "(n=None)"),
        ("collections.deque.appendleft", "left side"),
        ("os.path.join", "pathname components"),
        ("os.listdir", "names of the files in the directory"),
        ("len", "number of items"),
        ("str.split", "separator"),
        ("json.loads", "Deserialize"),
        ("json", "JavaScript"),
        ("asyncio.runners.run", "coroutine"),
        ("xml.etree.ElementTree.parse", "XML"),
        ("struct.unpack", "format string"),
    ],
)
def test_modules_classes_and_functions_written_in_python_and_in_c_are_there(
    docs: list[Document], name: str, words: str
) -> None:
    passage = next(document.passage for document in docs if document.id == name)
    assert words in passage


def test_nothing_private_trivial_or_foreign_is_read(docs: list[Document]) -> None:
    names = [str(document.id).split(".") for document in docs]
    assert not [name for name in names if any(part.startswith("_") for part in name)]
    assert not {name[0] for name in names} & {"test", "idlelib", "antigravity", "pytest", "numpy"}
    assert all(len(document.text) >= 20 or "…" in document.text for document in docs)
    assert all(len(document.text.split()) <= MAX_WORDS + 1 for document in docs)
    assert all(len(document.title) < 250 for document in docs)


def test_reading_opens_and_prints_nothing() -> None:
    code = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "import webbrowser; webbrowser.open = lambda *_: print('browser')\n"
        "from nestling.corpus.stdlib_docs import read_stdlib_docs; read_stdlib_docs()\n"
        "print(sorted({'antigravity', 'this', 'tkinter', 'idlelib', 'turtle'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NESTLING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def demo(
    cache: Path,
    docs: list[Document],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Demo:
    few = [document for document in docs if str(document.id).startswith(("shutil", "shlex"))]
    monkeypatch.setattr("nestling.encoder.Encoder", HashingEncoder)
    monkeypatch.setattr("nestling.corpus.stdlib_docs.read_stdlib_docs", lambda: few)

    def run(*arguments: str) -> tuple[str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(["demo", *arguments])
        out, err = capsys.readouterr()
        assert not end.value.code, err
        return out, err

    return run


def answers(printed: str) -> dict[str, Any]:
    return dict(json.loads(printed))


def test_the_demo_answers_a_question_and_shows_every_stage(demo: Demo) -> None:
    out, _ = demo("recursively copy a directory tree")
    assert "shutil.copytree(" in out.splitlines()[1]
    assert all(word in out for word in ("rows seen", "rows kept", "bytes read", "µs"))


def test_without_a_question_it_searches_for_its_examples(demo: Demo) -> None:
    found = answers(demo("--json")[0])
    assert len(found["answers"]) >= 5
    assert all(len(answer["hits"]) == 3 for answer in found["answers"])


def test_a_question_that_the_model_cannot_read_gets_a_hint(demo: Demo) -> None:
    question = "كيف أنسخ ملفا؟"
    assert "nestling demo --model e5" in demo(question)[1]
    assert "--model e5" not in demo("copy a file, à la carte")[1]
    out, err = demo(question, "--model", "e5", "--json")
    assert "--model e5" not in err
    assert (answers(out)["model"], answers(out)["reused"]) == ("e5", False)


def test_a_second_run_reuses_what_the_first_built(demo: Demo, cache: Path) -> None:
    first = answers(demo("copy a file", "--json")[0])
    before = stamps(cache)
    second = answers(demo("copy a file", "--json")[0])
    assert (first["reused"], second["reused"]) == (False, True)
    assert [hit["id"] for hit in first["answers"][0]["hits"]] == [
        hit["id"] for hit in second["answers"][0]["hits"]
    ]
    assert stamps(cache) == before


def stamps(cache: Path) -> dict[Path, int]:
    """When each file was written; not the empty ones that SQLite keeps beside a reader."""
    paths = [path for suffix in ("db", "nest") for path in cache.rglob(f"*.{suffix}")]
    return {path: path.stat().st_mtime_ns for path in paths}


def test_a_corrupted_index_is_built_again(demo: Demo, cache: Path) -> None:
    demo("copy a file")
    (file,) = cache.rglob("*.nest")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    out, err = demo("copy a file", "--json")
    assert not answers(out)["reused"]
    assert "building it again" in err
    (file,) = cache.rglob("*.nest")
    assert file.read_bytes() == whole


def test_model_files_from_another_source_build_the_index_again(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo("copy a file")
    monkeypatch.setattr(HashingEncoder, "fingerprint", "f" * 16)
    assert not answers(demo("copy a file", "--json")[0])["reused"]
    assert answers(demo("copy a file", "--json")[0])["reused"]


@pytest.mark.slow
def test_the_real_demo_finds_the_right_functions() -> None:
    """Uses the user's own cache, so that the model is fetched once."""
    command = [sys.executable, "-m", "nestling", "demo", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    found = {answer["question"]: answer["hits"] for answer in answers(ended.stdout)["answers"]}
    right = {
        # int8 products differ between CPUs, and these two are nearly equal.
        "parse a date": ("strptime", "parse", "date.fromisoformat"),
        "another program": ("subprocess",),
        "misspelled": ("difflib.get_close_matches",),
        "cache": ("functools",),
        "paragraph": ("textwrap",),
        "sorted list": ("bisect.insort",),
    }
    for words, names in right.items():
        (hits,) = (hits for question, hits in found.items() if words in question)
        assert any(name in hits[0]["id"] for name in names), (words, hits)
