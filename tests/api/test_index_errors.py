"""What the core throws on purpose arrives as nestling's own exceptions, all of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nestling.errors
from nestling import (
    FormatError,
    FunnelError,
    IdError,
    Index,
    NestlingError,
    SettingError,
    StorageError,
    VectorError,
    _core,
)
from nestling.index.arguments import cell_spec, stage_specs
from nestling.index.cells import Cells
from nestling.index.funnel import Funnel

CPP = Path(__file__).parents[2] / "cpp"
THROWN = re.findall(r"^struct (\w+) :", (CPP / "base" / "error.hpp").read_text(), re.MULTILINE)


def test_every_exception_of_the_core_has_its_class() -> None:
    bound = re.findall(r"catch \(const (\w+)&", (CPP / "bindings" / "bind_errors.cpp").read_text())
    assert sorted(bound) == sorted(THROWN)
    assert len(THROWN) >= 6
    for name in THROWN:
        assert issubclass(getattr(nestling.errors, name), NestlingError)


def test_the_core_throws_nothing_else_on_purpose() -> None:
    thrown = {
        name
        for path in CPP.rglob("*.[ch]pp")
        for line in path.read_text(encoding="utf-8").splitlines()
        for name in re.findall(r"\bthrow ([\w:]+)", line.partition("//")[0])
    }
    # pybind11 makes a MemoryError of the first, and passes on what Python raised.
    others = {"std::bad_alloc", "pybind11::error_already_set", "py::error_already_set"}
    assert thrown - others == set(THROWN)


def core(funnel: str = "4@4:5 > 8@16", *, cosine: bool = True, dim: int = 8) -> _core.Index:
    return _core.Index(dim=dim, cosine=cosine, stages=stage_specs(Funnel.parse(funnel)))


ROWS = np.eye(8, dtype=np.float32)
NO_IDS = np.empty(0, np.int64)
NOTHING = np.empty(0, np.float32)


def search(funnel: str) -> None:
    core().search(
        ROWS,
        k=1,
        stages=stage_specs(Funnel.parse(funnel)),
        threads=1,
        probing=(0, False, 0.0, 0.0),
        clip=True,
        mask=None,
        only=None,
    )


def rebuild(rotation: np.ndarray, cells: int) -> None:
    core().rebuilt(
        stages=stage_specs(Funnel.parse("4@4:5 > 8@16")),
        rotation=rotation,
        centre=NOTHING,
        cells=cell_spec(Cells(cells, dims=4, links=0) if cells else None),
        threads=1,
    )


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: core().add(ROWS * np.nan, NO_IDS, replace=False, threads=1), VectorError),
        (lambda: core().add(ROWS, -np.arange(8), replace=False, threads=1), IdError),
        (lambda: core().remove(np.array([3])), IdError),
        (lambda: core().reconstruct(np.array([3])), IdError),
        (lambda: _core.Index.merged([], shifts=[], threads=1), IdError),
        (lambda: _core.Index.merged([core()], shifts=[], threads=1), IdError),
        (lambda: _core.Index.merged([core(), core("8@16")], shifts=[0, 0], threads=1), FunnelError),
        (lambda: core(dim=9), FunnelError),
        (lambda: core(dim=2**20), FunnelError),
        (lambda: core("4@4:5~2 > 8@16", cosine=False), FunnelError),
        (lambda: search("8@32"), FunnelError),
        (lambda: rebuild(np.ones(7, np.float32), 0), VectorError),
        (lambda: rebuild(NOTHING, 3), FunnelError),
        (lambda: _core.File(b"/nowhere/at/all", verify=True), StorageError),
        (lambda: _core.File(os.fsencode(__file__), verify=True), FormatError),
        (lambda: core().save(b"/nowhere/at/all", metadata=lambda _: "{}"), StorageError),
    ],
)
def test_an_error_of_the_core_is_nestlings_own(
    call: Callable[[], object], error: type[NestlingError]
) -> None:
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error


def test_what_a_callback_raises_comes_back_as_it_is(tmp_path: Path) -> None:
    def metadata(_: _core.FileMetadata) -> str:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        core().save(os.fsencode(tmp_path / "a.nest"), metadata=metadata)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["Index(1).add([[1.0]])", "_core.isa()"])
def test_an_unknown_isa_is_refused_with_the_known_ones(call: str) -> None:
    script = (
        "from nestling import Index, NestlingError, SettingError, _core\n"
        f"try: {call}\n"
        "except SettingError as error:\n"
        "    assert isinstance(error, (NestlingError, ValueError))\n"
        "    print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"NESTLING_ISA": "mmx"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == (
        "NESTLING_ISA=mmx is not available on this CPU; set it to one of: "
        + ", ".join(_core.available_isas())
    )


def test_a_setting_error_is_a_value_error() -> None:
    assert issubclass(SettingError, ValueError)


# ---- the limit of rows


def test_the_limit_of_rows_is_whole_chunks_that_32_bits_number() -> None:
    assert _core.MAX_ROWS == 2**32 - 2**18


def test_more_rows_than_the_limit_are_refused(tmp_path: Path) -> None:
    """The rows are the holes of a sparse file, of which nothing is read."""
    path = tmp_path / "zeros"
    with path.open("wb") as stream:
        stream.truncate(4 * (_core.MAX_ROWS + 1))
    rows = np.memmap(path, np.float32, mode="r").reshape(-1, 1)
    index = Index(1, funnel="1@32")
    with pytest.raises(VectorError, match=f"cannot hold more than {_core.MAX_ROWS} rows"):
        index.add(rows)
    assert len(index) == 0
    index.add([[1.0]])
    with pytest.raises(VectorError, match=f"cannot hold more than {_core.MAX_ROWS} rows"):
        index.add(rows[1:])
    assert len(index) == 1


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_file_cannot_claim_more_rows_than_the_limit(tmp_path: Path, beyond: int) -> None:
    index = Index(1, funnel="1@32")
    index.add([[1.0]])
    index.save(tmp_path / "a.nest")
    file = _core.File(os.fsencode(tmp_path / "a.nest"), verify=True)
    metadata = _core.FileMetadata(
        rows=_core.MAX_ROWS + beyond, cell_rows=0, cells=cell_spec(None), centroid_blocks=()
    )
    problem = f"more than the {_core.MAX_ROWS} that an index can hold" if beyond else "section"
    with pytest.raises(FormatError, match=problem):
        _core.Index.open(
            file,
            dim=1,
            cosine=True,
            stages=stage_specs(Funnel.parse("1@32")),
            metadata=metadata,
        )


@pytest.mark.parametrize("k", [_core.MAX_ROWS + 1, 2**70])
def test_more_hits_than_the_limit_of_rows_are_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"k must be 1 to {_core.MAX_ROWS:,}, not {k}"):
        Index(1).search([1.0], k=k)


def test_a_stage_may_keep_any_number_of_rows() -> None:
    index = Index(8, funnel=f"4@4:{2**70} > 8@16")
    index.add(ROWS)
    assert index.search(ROWS[3], k=1).ids.tolist() == [3]
