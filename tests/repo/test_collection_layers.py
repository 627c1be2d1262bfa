"""Data flows one way through a collection, and so do the imports of its modules."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "python" / "nestling" / "collection"
PREFIX = "nestling.collection."

# Bottom first: documents are prepared, stored, searched, maintained; the last two drive the rest.
PARTS = ("ingest", "storage", "query", "upkeep", "ingestor", "collection")
MODULES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "__init__.py"
}


def imports(source: str) -> set[str]:
    """Returns the modules of the collection that a source imports, lazy and typing ones too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)}
    return found & MODULES.keys()


def test_every_module_has_its_part() -> None:
    assert {name.partition(".")[0] for name in MODULES} == set(PARTS)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_from_its_own_part_and_those_below(name: str) -> None:
    below = PARTS[: PARTS.index(name.partition(".")[0]) + 1]
    found = imports(MODULES[name].read_text(encoding="utf-8"))
    assert {other for other in found if other.partition(".")[0] not in below} == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        name: imports(path.read_text(encoding="utf-8")) - {name} for name, path in MODULES.items()
    }
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


def test_an_import_is_found_wherever_it_stands() -> None:
    source = (
        "if TYPE_CHECKING:\n    from nestling.collection.storage import documents\n"
        "def f():\n    import nestling.collection.upkeep.check\n"
    )
    assert imports(source) == {"storage.documents", "upkeep.check"}


def test_one_module_has_the_statements_about_the_state() -> None:
    statement = re.compile(r"\b(FROM|UPDATE|INTO|TABLE)\s+state\b")
    holders = {
        name for name, path in MODULES.items() if statement.search(path.read_text(encoding="utf-8"))
    }
    assert holders == {"storage.state"}
