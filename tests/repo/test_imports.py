"""Who may import whom, and what `import nestling` may cost."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "python" / "nestling"

# The layers, bottom first. A file imports from its own layer and from those below it, wherever the
# import stands in the file: one inside a function, or for a type, counts like one at the top.
LAYERS = (
    "_core",
    "errors",
    "_util",
    "inputs",
    "index",
    "tuning",
    "runtime",
    "models",
    "encoder",
    "corpus",
    "collection",
    "evaluation",
    "training",
    "integrations",
    "client",
    "server",
    "cluster",
    "cli",
    "bench",
)
# `Index.tune`, `Collection.tune` and `Collection.train_query_encoder` are façades: they import what
# does it inside the method.
FACADES = {("index/index.py", "tuning"), ("collection/collection.py", "training")}
ROOT_FILES = {"__init__", "__main__"}
HEAVY = ("onnx", "onnxruntime", "tokenizers", "safetensors", "torch", "typer", "rich", "pyarrow")
HEAVY += ("matplotlib", "mteb", "scipy", "transformers", "sentence_transformers", "datasets")
HEAVY += ("langchain_core", "llama_index", "haystack", "ray", "fsspec")


def imports(source: str, path: Path) -> set[str]:
    """Returns the layers that a source imports: a of `nestling.a.b`, "__init__" for the root."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        parts = {name.split(".")[1] for name in names if name.startswith("nestling.")}
        found |= {part if part in LAYERS else "__init__" for part in parts}
    return found


def climbs(path: Path, source: str | None = None) -> list[str]:
    """Returns the imports of a file that reach above its layer, or to the root of the package."""
    place = path.relative_to(PACKAGE)
    below = LAYERS[: LAYERS.index(place.with_suffix("").parts[0]) + 1]
    text = path.read_text(encoding="utf-8") if source is None else source
    return [
        f"{place} imports nestling.{part}"
        for part in sorted(imports(text, path))
        if part not in below and (place.as_posix(), part) not in FACADES
    ]


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_no_file_imports_from_a_layer_above_its_own(path: Path) -> None:
    if path.relative_to(PACKAGE).stem in ROOT_FILES and path.parent == PACKAGE:
        pytest.skip("the root re-exports what is below it")
    assert not climbs(path)


def test_every_module_has_its_layer() -> None:
    found = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in PACKAGE.rglob("*.py")}
    assert found - ROOT_FILES == set(LAYERS) - {"_core"}


@pytest.mark.parametrize(
    "source",
    [
        "from nestling.collection import Collection",
        "import nestling.cli.app",
        "from nestling import encoder",
        "from nestling import Collection",
        "def f():\n    from nestling.tuning import tune",
        "if TYPE_CHECKING:\n    from nestling.models.cards import Precision",
    ],
)
def test_an_import_that_climbs_is_found(source: str) -> None:
    assert climbs(PACKAGE / "index" / "funnel.py", source)


def run(script: str) -> str:
    # Under `pytest --cov`, without the measuring of coverage that a child would begin with.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env
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
    """The modules of the index and a few of the standard library; bench_import.py times it."""
    script = """
import numpy, sys
before = set(sys.modules)
import nestling
print(*sorted(set(sys.modules) - before))
"""
    added = run(script).split()
    own = {name for name in added if name.partition(".")[0] == "nestling"}
    layers = {name.split(".")[1] for name in own if "." in name}
    assert layers == {"_core", "_util", "errors", "inputs", "index"}
    assert len(own) < 25
    others = set(added) - own
    assert {name.partition(".")[0] for name in others} <= sys.stdlib_module_names | {"numpy"}
    # Private modules differ from one Python to the next.
    assert len({name for name in others if not name.startswith("_")}) < 40
