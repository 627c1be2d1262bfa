"""The shape of the source: files of one subject each, Python only in the bindings, one version."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

import nestling
from nestling import _core

ROOT = Path(__file__).parents[2]
CORE = sorted(path for path in (ROOT / "cpp").rglob("*") if path.suffix in {".cpp", ".hpp"})


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", CORE, ids=name)
def test_python_is_seen_in_the_bindings_only(path: Path) -> None:
    if "bindings" not in path.relative_to(ROOT).parts:
        assert not re.search(r"pybind11|Python\.h|\bPyObject\b", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", CORE, ids=name)
def test_no_line_is_longer_than_100_columns(path: Path) -> None:
    """clang-format leaves comments alone, so that it does not make paragraphs of their lists."""
    assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= 100


@pytest.mark.parametrize("path", [p for p in CORE if p.suffix == ".hpp"], ids=name)
def test_every_header_says_what_it_is_and_is_guarded(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("// ")
    if not path.name.endswith(".inl.hpp"):  # those are included once by each ISA file
        assert "#pragma once" in text


def test_the_version_is_the_same_everywhere() -> None:
    version = metadata.version("nestling")
    assert _core.__version__ == version
    assert nestling.__version__ == version
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version
