"""Collections of every released version of the format can be opened and changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nestling.collection import Collection, check

GOLDEN = Path(__file__).parents[1] / "golden" / "collections"
FOLDERS = sorted(path for path in GOLDEN.iterdir() if path.is_dir())


@pytest.fixture(params=FOLDERS, ids=lambda path: path.name)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(request.param, tmp_path / request.param.name))


def test_there_are_golden_collections() -> None:
    assert [path.name for path in FOLDERS] == ["v1"]


def test_it_answers_as_it_did(folder: Path) -> None:
    expected = json.loads((GOLDEN / f"{folder.name}.json").read_text())
    report = check(folder)
    assert report.ok, report
    with Collection(folder, read_only=True) as collection:
        assert len(collection) == 5
        assert "gone" not in collection
        hits = collection.search(expected["query"], k=5)
        assert [hit.id for hit in hits] == expected["ids"]
        assert [hit.score for hit in hits] == expected["scores"]
        assert [hit.id for hit in collection.search("القاهره", mode="lexical")] == ["قاهرة"]
        assert [hit.id for hit in collection.search("waiting", mode="lexical")] == ["pending"]
        (hit,) = collection.search("water", mode="lexical", where={"tags": {"$contains": "a"}})
        assert (hit.id, hit.passage, hit.text) == ("long", 1, "Then comes water.")
        assert collection.count({"year": {"$gte": 2022}}) == 1


def test_its_documents_can_be_removed(folder: Path) -> None:
    with Collection(folder) as collection:
        ids = [document.id for document in collection]
        collection.delete(ids[::2])
        assert collection.check().ok
        collection.delete(ids[1::2])
        assert collection.check().ok
        assert len(collection) == len(collection.search("water", mode="lexical")) == 0
