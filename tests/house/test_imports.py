"""Who may import whom, and what `import nestling` may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "python" / "nestling"

# What each module may import of nestling; only corpus's users and the commands see both halves.
LAYERS: dict[str, set[str]] = {
    "errors": set(),
    "funnel": {"errors"},
    "hits": {"errors", "funnel"},
    "index": {"_core", "errors", "funnel", "hits"},
    "models": {"errors", "models"},
    "encoder": {"errors", "models"},
    "corpus": {"errors"},
    "bench": {"_core", "errors", "funnel", "hits", "index", "bench"},
}
HEAVY = ("onnx", "onnxruntime", "tokenizers", "safetensors", "torch", "typer", "rich", "pyarrow")


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


@pytest.mark.parametrize("layer", LAYERS)
def test_no_module_reaches_back_up(layer: str) -> None:
    folder = PACKAGE / layer
    files = list(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    assert files
    for path in files:
        beyond = imports(path) - LAYERS[layer]
        assert not beyond, f"{path.name} imports {', '.join(sorted(beyond))}"


def run(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_nestling_imports_nothing_heavy() -> None:
    script = f"import sys, nestling; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
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


def test_importing_nestling_is_quick() -> None:
    """At most 150 ms, numpy included: the best of several, as other work may be on the machine."""
    script = "import time; t = time.perf_counter(); import nestling; print(time.perf_counter() - t)"
    assert min(float(run(script)) for _ in range(7)) < 0.15
