"""The documentation is true: its code runs, its commands parse, its links lead somewhere.

A Python block runs by itself, in an empty folder, with warnings as errors; the blocks of a page
share a process. Blocks that need a model, or tune, are slow tests; those of packages that are not
installed are skipped.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from markdown_pages import ROOT, Block, Page, pages

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = None

PAGES = pages()
README = Page(ROOT / "README.md")

MODELS = {"minilm", "e5", "wordllama"}
PACKAGES = {  # what a module or a method needs beyond nestling's own dependencies
    "nestling.training": ("torch", "sentence_transformers"),
    "nestling.evaluation.mteb": ("mteb",),
    "nestling.cluster": ("fsspec", "pyarrow", "ray", "tenacity"),
    "nestling.bench.cluster": ("simpy",),
    "plot": ("matplotlib",),
    "export": ("pyarrow",),
    "import_file": ("pyarrow",),
}
OPTIONAL = {"haystack", "langchain_core", "llama_index", "mteb", "torch", "fastapi", "starlette"}


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            yield name, node


def missing_packages(source: str) -> list[str]:
    tree = ast.parse(source)
    used = {module for module in imports(tree) if module.partition(".")[0] == "nestling"}
    needed = {module.partition(".")[0] for module in imports(tree)} & OPTIONAL
    for name in (*used, *(name for name, _ in calls(tree))):
        for prefix, packages in PACKAGES.items():
            if name == prefix or name.startswith(f"{prefix}."):
                needed.update(packages)
    return sorted(name for name in needed if importlib.util.find_spec(name) is None)


def is_slow(source: str) -> bool:
    """Whether the block tunes, builds a cluster's dataset, or loads a model.

    It loads one where it names it, or makes an Encoder or a Collection without `dim`.
    """
    tree = ast.parse(source)
    if any(name in ("tune", "build") for name, _ in calls(tree)):
        return True
    if any(isinstance(n, ast.Constant) and n.value in MODELS for n in ast.walk(tree)):
        return True
    made = [(name, call) for name, call in calls(tree) if name in ("Encoder", "Collection")]
    made.sort(key=lambda item: (item[1].lineno, item[1].col_offset))
    return bool(made) and not any(keyword.arg == "dim" for keyword in made[0][1].keywords)


def python_blocks(page: Page, *, slow: bool) -> list[Block]:
    return [b for b in page.blocks("python", "py") if is_slow(b.text) == slow]


def run_blocks(blocks: list[Block], folder: Path) -> None:
    absent = {block.name: missing_packages(block.text) for block in blocks}
    present = [block for block in blocks if not absent[block.name]]
    if not present:
        packages = sorted({package for names in absent.values() for package in names})
        pytest.skip(f"not installed: {', '.join(packages)}")
    report = folder / "failures.json"
    result = subprocess.run(
        [sys.executable, "-W", "error", Path(__file__).with_name("run_blocks.py"), report],
        input=json.dumps([{"name": b.name, "source": b.text} for b in present]),
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=280,
        check=False,
    )
    assert report.exists(), result.stdout + result.stderr
    failures = json.loads(report.read_text(encoding="utf-8"))
    assert not failures, "\n\n".join(f"{name}\n{text}" for name, text in failures.items())
    assert result.returncode == 0, result.stderr


def with_python(*, slow: bool) -> list[Any]:
    return [pytest.param(p, id=p.name) for p in PAGES if python_blocks(p, slow=slow)]


@pytest.mark.parametrize("page", with_python(slow=False))
def test_python_blocks_run(page: Page, tmp_path: Path) -> None:
    run_blocks(python_blocks(page, slow=False), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", with_python(slow=True))
def test_slow_python_blocks_run(page: Page, tmp_path: Path) -> None:
    run_blocks(python_blocks(page, slow=True), tmp_path)


# Command lines


def command_lines(page: Page) -> Iterator[tuple[str, str]]:
    """Yields where each command line of the page's blocks stands, and the line."""
    for block in page.blocks("console", "bash", "sh", "shell"):
        text = block.text.replace("\\\n", " ")
        for number, line in enumerate(text.splitlines()):
            if line.startswith("$ "):
                yield f"{block.page}:{block.line + number}", line[2:]
            elif block.language != "console":
                yield f"{block.page}:{block.line + number}", line


def commands(line: str) -> Iterator[list[str]]:
    """Yields the words of each command between `&&`, `|` and `;`, without redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    skip = False
    for word in lexer:
        if word and set(word) <= set("();<>|&"):
            if set(word) & set("<>"):
                skip = True
                continue
            yield words
            words = []
        elif skip:
            skip = False
        elif words or not re.fullmatch(r"[A-Z_]+=.*", word):
            words.append(word)
    yield words


def root_of(words: list[str]) -> tuple[Any, list[str]] | None:
    """Returns the command tree that the words call, and its arguments; None for other programs."""
    import typer

    if words[:1] == ["nestling"] or words[:3] == ["python", "-m", "nestling"]:
        from nestling.cli import app

        arguments = words[1:] if words[0] == "nestling" else words[3:]
    elif words[:3] == ["python", "-m", "nestling.bench"]:
        from nestling.bench.app import app

        arguments = words[3:]
    else:
        return None
    return typer.main.get_command(app), arguments


def check_command(command: Any, arguments: list[str]) -> None:
    """Parses arguments as the command would, without running it; raises what it would."""
    import typer

    subcommands = getattr(command, "commands", {})
    if subcommands and arguments and not arguments[0].startswith("-"):
        assert arguments[0] in subcommands, f"no command {arguments[0]!r}"
        check_command(subcommands[arguments[0]], arguments[1:])
    elif arguments or not subcommands:
        with contextlib.suppress(typer.Exit):  # of --help and --version
            command.make_context(command.name, list(arguments))


COMMAND_LINES = [
    pytest.param(words, id=f"{where} {' '.join(words[:3])}")
    for page in PAGES
    for where, line in command_lines(page)
    for words in commands(line)
    if words
]


@pytest.mark.parametrize("words", COMMAND_LINES)
def test_command_lines_parse(words: list[str]) -> None:
    if called := root_of(words):
        check_command(*called)
    elif words[:2] == ["pip", "install"]:
        check_extras(words)


def check_extras(words: list[str]) -> None:
    if tomllib is None:
        pytest.skip("needs Python 3.11 or later")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    for word in words[2:]:
        if match := re.fullmatch(r"(?:\.|nestling)\[([\w,-]+)\]", word):
            assert set(match[1].split(",")) <= extras


@pytest.mark.parametrize("page", [pytest.param(p, id=p.name) for p in PAGES])
def test_commands_and_options_in_the_prose_exist(page: Page) -> None:
    for code in page.inline_code():
        try:
            called = root_of(shlex.split(code))
        except ValueError:  # not a command line: an apostrophe
            continue
        if called is None:
            continue
        command, arguments = called
        while arguments and arguments[0] in getattr(command, "commands", {}):
            command, arguments = command.commands[arguments[0]], arguments[1:]
        if hasattr(command, "commands") and arguments:
            assert not re.fullmatch(r"[a-z][a-z-]*", arguments[0]), f"`{code}`: no such command"
        options = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        options |= {"-h", "--help"}
        for word in arguments:
            if re.match(r"--?[a-z]", word):
                assert word.partition("=")[0] in options, f"`{code}`: no option {word}"


# Links, and the README


@pytest.mark.parametrize("page", [pytest.param(p, id=p.name) for p in PAGES])
def test_links_into_the_repository_exist(page: Page) -> None:
    missing = sorted({str(link) for link in page.links() if not link.exists()})
    assert not missing


def test_the_readme_is_short() -> None:
    assert len(README.text.splitlines()) <= 150


def test_the_readme_begins_with_the_two_commands_that_do_everything() -> None:
    first_screen = "\n".join(README.text.splitlines()[:20])
    assert "pip install . && nestling demo" in first_screen
    assert "pip install '.[test]' && pytest" in first_screen


def test_the_pictures_of_the_funnel_show_its_figures(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "docs/pictures/funnel.py"))
    script["main"](["--out", str(tmp_path)])
    for name in ("funnel-light.svg", "funnel-dark.svg"):
        drawn = (tmp_path / name).read_text(encoding="utf-8")
        assert drawn == (ROOT / "docs/assets" / name).read_text(encoding="utf-8")
