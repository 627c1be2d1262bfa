"""The committed stub of the extension is the one that the built extension makes.

To make it again:

    pybind11-stubgen nestling._core -o python && ruff format python/nestling/_core.pyi
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUB = ROOT / "python" / "nestling" / "_core.pyi"


def needs(module: str, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is absent: install the extra '{extra}'")


def meaning(source: str) -> str:
    """The syntax tree without layout: formatting and the indentation of docstrings may differ."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text)) as docstring):
                docstring.value = inspect.cleandoc(text)
    return ast.unparse(tree)


def run(*command: str, **environment: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_stub_is_what_the_extension_makes(tmp_path: Path) -> None:
    needs("pybind11_stubgen", "test")
    run("pybind11_stubgen", "nestling._core", "--output-dir", str(tmp_path), "--exit-code")
    made = (tmp_path / "nestling" / "_core.pyi").read_text(encoding="utf-8")
    assert meaning(made) == meaning(STUB.read_text(encoding="utf-8"))


# What stubs of pybind11 cannot say: the metaclass of its classes, that Python cannot construct one
# of them, and that there is no __all__ at run time.
ALLOWED = r"nestling\._core\.([A-Z]\w+|__all__)"


@pytest.mark.slow
def test_mypy_finds_every_name_of_the_extension_in_the_stub(tmp_path: Path) -> None:
    needs("mypy", "lint")
    (tmp_path / "allowed").write_text(ALLOWED)
    run(
        "mypy.stubtest",
        f"--mypy-config-file={ROOT / 'pyproject.toml'}",
        f"--allowlist={tmp_path / 'allowed'}",
        "nestling._core",
        MYPYPATH=str(ROOT / "python"),
    )
