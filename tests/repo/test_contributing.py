"""The map of the code in CONTRIBUTING.md is that of the tree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

DESIGN = [path.relative_to(ROOT) for path in (ROOT / "docs" / "design").glob("*.md")]
BASES = ("", "python/nestling", "cpp", "tests", "docs")  # what such a name may be relative to


def mapped() -> dict[str, list[str]]:
    """Returns the names that the map gives, by the folder that they are listed under."""
    block = re.search(r"^## Map of the code$.*?^```\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert block is not None
    found: dict[str, list[str]] = {}
    folder = ""
    for line in block[1].splitlines():
        if top := re.match(r"(\S+/)(?:\s|$)", line):
            folder = top[1]
            found[folder] = []
        elif inner := re.match(r"  (\S+?)/?\s", line):
            found[folder].append(inner[1])
    return found


def test_every_folder_of_the_map_exists() -> None:
    for folder, names in mapped().items():
        if folder == ".ci/" and not (ROOT / ".git").exists():
            continue  # a source distribution does without
        assert (ROOT / folder).is_dir(), folder
        for name in names:
            assert list((ROOT / folder).glob(f"{name}*")), f"{folder}{name}"


@pytest.mark.parametrize("folder", ["cpp/", "python/nestling/", "tests/"])
def test_the_map_names_every_folder(folder: str) -> None:
    folders = {
        path.name
        for path in (ROOT / folder).iterdir()
        if path.is_dir() and path.name != "__pycache__" and any(path.iterdir())
    }
    assert folders <= set(mapped()[folder])


def test_the_map_lists_the_layers_in_their_order() -> None:
    from test_imports import LAYERS

    assert mapped()["python/nestling/"] == [name for name in LAYERS if name != "_core"]


def test_the_map_lists_the_layers_of_the_core_in_their_order() -> None:
    from test_cpp_layers import LAYERS

    assert mapped()["cpp/"] == list(LAYERS)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", *sorted(map(str, DESIGN))])
def test_the_files_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in re.findall(r"`((?:\w+/)+\w+(?:\.\w+)*\.(?:py|hpp|cpp|json|md))`", text):
        if "NAME" not in name:
            assert any((ROOT / base / name).exists() for base in BASES), name


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", TEXT))))
def test_the_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
