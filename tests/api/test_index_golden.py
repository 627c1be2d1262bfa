"""Files of every released version of the format load, and answer as they did when written."""

from __future__ import annotations

import hashlib
import json
import runpy
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nestling import Funnel, Index, _core
from nestling.index.cells import Cells

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(GOLDEN.glob("v*/*.nest"))


@pytest.fixture(scope="module")
def maker() -> dict[str, Any]:
    return runpy.run_path(str(GOLDEN / "make.py"))


def name(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def test_there_is_a_golden_file_for_every_case(maker: dict[str, Any]) -> None:
    assert {path.parent.name for path in FILES} == {f"v{_core.FORMAT_VERSION}"}
    assert {path.stem for path in FILES} == set(maker["CASES"])
    assert {path.stem for path in GOLDEN.glob("v1/*.json")} == set(maker["CASES"])
    assert len(FILES) >= 20


def test_golden_files_are_never_rewritten(
    maker: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for case in maker["CASES"]:
        (tmp_path / f"{case}.{'nest' if len(case) % 2 else 'json'}").write_text("released")
    before = sorted(tmp_path.iterdir())
    maker["main"](tmp_path)
    assert capsys.readouterr().out.count("stays as it is") == len(maker["CASES"])
    assert sorted(tmp_path.iterdir()) == before
    assert {path.read_text() for path in before} == {"released"}


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_golden_file_answers_as_it_did(path: Path, verify: bool) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())
    assert hashlib.sha256(path.read_bytes()).hexdigest() == expected["sha256"], "it was rewritten"
    index = Index.load(path, verify=verify)
    assert index.dim == expected["dim"]
    assert index.metric == expected["metric"]
    assert index.funnel == Funnel.parse(expected["funnel"])
    assert len(index) == expected["rows"]
    assert index.rotated == expected["rotated"]
    assert index.centred == expected["centred"]
    cells = expected["cells"]
    assert index.cells == (Cells(**cells) if cells else None)
    assert index.ids.tolist() == expected["row ids"]
    queries = np.array(expected["queries"], dtype=np.float32)
    for probes in {0, cells["count"] if cells else 0}:
        hits = index.search(queries, k=12, probes=probes)
        np.testing.assert_array_equal(hits.ids, expected["ids"])
        np.testing.assert_array_equal(hits.scores, np.array(expected["scores"], dtype=np.float32))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_saving_a_golden_file_again_changes_nothing(path: Path, tmp_path: Path) -> None:
    Index.load(path).save(tmp_path / "again.nest")
    written = (tmp_path / "again.nest").read_bytes()
    assert written == path.read_bytes()
    assert f"v{struct.unpack_from('<I', written, 8)[0]}" == path.parent.name


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_golden_file_can_be_changed(path: Path) -> None:
    """Adds, a removal, a compaction and a rebuild: whatever the file holds, rows stay findable."""
    index = Index.load(path)
    kept = index.ids
    row = np.linspace(-1, 1, index.dim, dtype=np.float32)
    (added,) = index.add(row).tolist()
    assert added in index.search(row, k=len(index), probes=0).ids
    index.remove(kept[:3])
    index.compact()
    assert index.ids.tolist() == [*kept[3:].tolist(), added]
    index.rebuild(rotate=False, cells=0)
    assert index.ids.tolist() == [*kept[3:].tolist(), added]
    assert added in index.search(row, k=len(index)).ids
