"""Files of every version of the format that was ever released load, and answer as they did then."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from nestling import Funnel, Index
from nestling.index.cells import Cells

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(GOLDEN.glob("v*/*.nest"))


def name(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def test_there_are_golden_files() -> None:
    assert {path.parent.name for path in FILES} == {"v1", "v2"}
    assert len(FILES) >= 20


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
    assert index.rotated == expected.get("rotated", False)
    assert index.centred == expected.get("centred", False)
    cells = expected.get("cells")
    assert index.cells == (Cells(**cells) if cells else None)
    if "row ids" in expected:
        assert index.ids.tolist() == expected["row ids"]
    queries = np.array(expected["queries"], dtype=np.float32)
    for probes in {0, cells["count"] if cells else 0}:
        hits = index.search(queries, k=12, probes=probes)
        np.testing.assert_array_equal(hits.ids, expected["ids"])
        np.testing.assert_array_equal(hits.scores, np.array(expected["scores"], dtype=np.float32))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_the_present_version_writes_what_it_read(path: Path, tmp_path: Path) -> None:
    """In the oldest version of the format that can hold it."""
    Index.load(path).save(tmp_path / "again.nest")
    written = (tmp_path / "again.nest").read_bytes()
    assert written == path.read_bytes()
    assert f"v{struct.unpack_from('<I', written, 8)[0]}" == path.parent.name


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_golden_file_can_be_lived_with(path: Path) -> None:
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


def test_what_version_1_can_hold_is_written_as_version_1(tmp_path: Path) -> None:
    """Even where it once held more: what was removed, learned or partitioned, and is no more."""
    path = tmp_path / "a.nest"

    def version(index: Index) -> int:
        index.save(path)
        return int(struct.unpack_from("<I", path.read_bytes(), 8)[0])

    index = Index(16, funnel="8@8:30 > 16@16")
    index.add(np.eye(16), ids=np.arange(16) + 100)
    assert version(index) == 1
    index.remove([104])
    assert version(index) == 2
    index.compact()
    assert version(index) == 1
    index.add(np.ones(16), ids=[105], replace=True)
    assert version(index) == 2
    index.rebuild()
    assert version(index) == 1
    for more in ({"rotate": True}, {"centre": True}, {"cells": 3}):
        index.rebuild(**more)  # type: ignore[arg-type]
        assert version(index) == 2
        index.rebuild(rotate=False, centre=False, cells=0)
        assert version(index) == 1
    index.rebuild(funnel="8@8:30~2 > 16@16")
    assert version(index) == 2
