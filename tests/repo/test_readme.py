"""The README's Python blocks run, each by itself; those that need a model are slow tests."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8") if README.exists() else ""
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)

MODEL = re.compile(r"nestling\.(Encoder|Collection)\(")  # without a dim, both take a model
OPTIONAL = ("haystack", "langchain_core", "llama_index")  # of other libraries; extras bring them


def test_the_readme_has_python_blocks() -> None:
    assert BLOCKS


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=str(i), marks=pytest.mark.slow if MODEL.search(block) else ())
        for i, block in enumerate(BLOCKS)
    ],
)
def test_a_block_runs(block: str, tmp_path: Path) -> None:
    for package in OPTIONAL:
        if f"from {package}" in block and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", block],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", TEXT))))
def test_the_readmes_links_into_the_repository_exist(link: str) -> None:
    assert (README.parent / link).exists()
