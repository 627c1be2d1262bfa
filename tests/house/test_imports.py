"""Who may import whom, and what `import nestling` may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "python" / "nestling"

# What both halves stand on, the halves, and what sees both. No module of a half imports one of the
# other, or one above.
SHARED = {"_core", "atomic", "errors", "progress", "threads"}
SEARCH = SHARED | {"arguments", "cells", "funnel", "hits", "index", "metadata", "transform"}
SEARCH |= {"exact", "rebuilding", "tuning"}
TEXT = SHARED | {"batches", "encoder", "graphs", "models", "pooling", "tokens"}
READERS = {"corpus", "errors", "fields", "stdlib_docs"}
ABOVE = {"bench", "cli", "collection", "evaluation", "integrations", "training"}
ABOVE |= {"__init__", "__main__"}
HEAVY = ("onnx", "onnxruntime", "tokenizers", "safetensors", "torch", "typer", "rich", "pyarrow")
HEAVY += ("matplotlib", "mteb", "scipy", "transformers", "sentence_transformers", "datasets")
HEAVY += ("langchain_core", "llama_index", "haystack")


def imports(path: Path) -> set[str]:
    """Returns the parts of nestling that a file imports, wherever in it: `nestling.a.b` gives a."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("nestling.")}
    return found


def modules() -> dict[str, list[Path]]:
    """The files of every module and subpackage that stands directly in the package."""
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        found.setdefault(path.relative_to(PACKAGE).with_suffix("").parts[0], []).append(path)
    return found


@pytest.mark.parametrize("half", [SEARCH, TEXT, READERS], ids=["search", "text", "readers"])
def test_no_module_reaches_across_or_up(half: set[str]) -> None:
    for module in half & modules().keys():
        for path in modules()[module]:
            beyond = imports(path) - half
            assert not beyond, f"{path.name} imports {', '.join(sorted(beyond))}"


def test_every_module_has_its_place() -> None:
    assert modules().keys() | {"_core"} == SEARCH | TEXT | READERS | ABOVE


def run(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize("name", ["nestling", "nestling.evaluation", "nestling.training"])
def test_importing_nestling_imports_nothing_heavy(name: str) -> None:
    script = f"import sys, {name}; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    assert run(script) == "[]"


def test_the_search_half_works_without_the_text_half() -> None:
    """Blocked modules raise ImportError; an index must not notice."""
    script = f"""
import sys
for name in {HEAVY!r}: sys.modules[name] = None
import numpy as np, nestling
index = nestling.Index(8)
index.add(np.eye(8))
print(index.search(np.eye(8), k=1).ids.ravel().tolist())
"""
    assert run(script) == "[0, 1, 2, 3, 4, 5, 6, 7]"


def test_importing_nestling_adds_little_to_importing_numpy() -> None:
    """At most 50 ms: the best of several, as other work may be on the machine."""
    script = (
        "import numpy, time; t = time.perf_counter(); import nestling; "
        "print(time.perf_counter() - t)"
    )
    assert min(float(run(script)) for _ in range(7)) < 0.05
