"""Files of every version of the format that was ever released load, and answer as they did then."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from nestling import Funnel, Index

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(GOLDEN.glob("v*/*.nest"))


def test_there_are_golden_files() -> None:
    assert {path.parent.name for path in FILES} == {"v1"}
    assert len(FILES) >= 7


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_golden_file_answers_as_it_did(path: Path) -> None:
    expected = json.loads(path.with_suffix(".json").read_text())
    assert hashlib.sha256(path.read_bytes()).hexdigest() == expected["sha256"], "it was rewritten"
    index = Index.load(path)
    assert index.dim == expected["dim"]
    assert index.metric == expected["metric"]
    assert index.funnel == Funnel.parse(expected["funnel"])
    assert len(index) == expected["rows"]
    hits = index.search(np.array(expected["queries"], dtype=np.float32), k=12)
    np.testing.assert_array_equal(hits.ids, expected["ids"])
    np.testing.assert_array_equal(hits.scores, np.array(expected["scores"], dtype=np.float32))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("v1/*.nest")), ids=lambda path: path.stem)
def test_the_present_version_writes_what_it_read(path: Path, tmp_path: Path) -> None:
    Index.load(path).save(tmp_path / "again.nest")
    assert (tmp_path / "again.nest").read_bytes() == path.read_bytes()
