"""Who may include whom in the C++ core: the layers are one list, and data flows one way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CPP = Path(__file__).parents[2] / "cpp"

# The layers, bottom first. A file includes from its own layer and from those below it.
LAYERS = (
    *("base", "simd", "store", "search", "lexical", "embedding", "io"),
    *("index", "index_parts", "bindings"),
)
SOURCES = sorted(path for path in CPP.rglob("*") if path.suffix in {".cpp", ".hpp"})
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)

# What the files of simd/ that are compiled for one ISA may include beside our own: anything else
# could leave weak symbols that the linker takes for every CPU (test_symbols.py).
ISA_HEADERS = {"arm_neon.h", "cstddef", "cstdint", "immintrin.h"}


def layer_of(name: str) -> int:
    """Returns the place of a file, as it is included, in the list of layers."""
    folder, slash, _ = name.partition("/")
    return LAYERS.index(folder if slash else folder.split(".")[0])


def includes(source: str) -> tuple[list[str], list[str]]:
    """Returns the headers of others and our own, by name."""
    found = INCLUDE.findall(source)
    return [n for kind, n in found if kind == "<"], [n for kind, n in found if kind == '"']


def climbs(name: str, source: str) -> list[str]:
    """Returns the includes of a file that reach above its layer."""
    return [
        f"{name} includes {included}"
        for included in includes(source)[1]
        if layer_of(included) > layer_of(name)
    ]


def name_of(path: Path) -> str:
    return path.relative_to(CPP).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_file_includes_from_a_layer_above_its_own(path: Path) -> None:
    assert not climbs(name_of(path), path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_our_own_files_are_included_by_their_path_from_the_root(path: Path) -> None:
    """So that the layer of each shows, and no compiler flag decides which file is meant."""
    for included in includes(path.read_text(encoding="utf-8"))[1]:
        assert "/" in included or included in ("index.hpp", "index_parts.hpp")
        assert (CPP / included).is_file()


def test_every_folder_is_a_layer() -> None:
    files = {"index", "index_parts"}
    assert {path.name for path in CPP.iterdir() if path.is_dir()} == set(LAYERS) - files
    assert {path.stem for path in CPP.iterdir() if path.is_file()} == files


def test_files_of_one_isa_include_little() -> None:
    files = [p for p in (CPP / "simd").iterdir() if p.stem not in {"cpu"}]
    assert len(files) >= 10
    for path in files:
        others, own = includes(path.read_text(encoding="utf-8"))
        assert set(others) <= ISA_HEADERS, path
        assert all(n == "simd/kernels.hpp" or n.endswith(".inl.hpp") for n in own), path


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("store/layout.cpp", '#include "search/filter.hpp"'),
        ("base/pool.hpp", '  #  include   "simd/cpu.hpp"'),
        ("io/file.cpp", '#include "index.hpp"'),
        ("index.hpp", '#include "bindings/numpy.hpp"'),
    ],
)
def test_an_include_that_climbs_is_found(name: str, source: str) -> None:
    assert climbs(name, source)
