"""Damaged files and foreign folders: a NestlingError, and no loss."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from collection_helpers import (
    DIM,
    LEFT,
    WordsEncoder,
    assert_searches_agree,
    assert_whole,
    contents,
    execute,
    flip,
    opened,
    orphans,
    segments,
)

from nestling import (
    Collection,
    EncoderMismatchError,
    FormatError,
    Index,
    NestlingError,
    VectorError,
)
from nestling.collection import check, repair
from nestling.collection.storage.database import DATABASE_FILE
from nestling.collection.upkeep import compaction


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_another(path: Path) -> None:
    """An intact index with as many rows, but different ones."""
    index = Index.load(path)
    other = index.empty()
    other.add(index.reconstruct(index.ids)[::-1].copy(), ids=index.ids)
    other.save(path)


@pytest.mark.parametrize(
    "harm",
    [
        Path.unlink,
        truncate,
        empty,
        of_another,
        lambda path: flip(path, 3),
        lambda path: flip(path, path.stat().st_size - 1),
        lambda path: flip(path, path.stat().st_size // 2),
    ],
    ids=["missing", "truncated", "empty", "another", "head", "tail", "middle"],
)
def test_a_damaged_segment_is_rebuilt(folder: Path, harm: Callable[[Path], None]) -> None:
    harmed = segments(folder)[1]
    harm(harmed)
    with pytest.raises(FormatError, match=f"{harmed.name}.*repair"):
        opened(folder)
    report = check(folder)
    assert [problem for problem in report.problems if harmed.name in problem]
    assert repair(folder, encoder=WordsEncoder()) == [harmed.name]
    assert repair(folder, encoder=WordsEncoder()) == []
    with opened(folder) as collection:
        assert contents(collection) == LEFT
        assert_whole(collection)
        assert_searches_agree(collection)
        collection.add(["river"], ids=["new"])
        collection.compact()
        assert_searches_agree(collection)
    assert orphans(folder) == ()


def test_missing_segments_are_rebuilt(folder: Path) -> None:
    for path in segments(folder):
        path.unlink()
    assert len(repair(folder, encoder=WordsEncoder())) == 3
    with opened(folder) as collection:
        assert contents(collection) == LEFT
        assert_whole(collection)
        assert_searches_agree(collection)


def test_a_rebuilt_segment_can_be_merged_with_tuned_ones(folder: Path) -> None:
    """These are rotated and centred, so the rebuilt segment must be too."""
    with opened(folder) as collection:
        view = collection._store.view()
        first = view.segments[0]
        rebuilt = compaction.merge(view.segments)
        assert rebuilt is not None
        rebuilt.rebuild(rotate=True, centre=True)
        assert first.segment is not None
        with collection._store.lock.changing():
            assert collection._store.replace(view, view.segments, lambda: rebuilt)
        collection._finish_ingest = lambda rows: None  # type: ignore[method-assign]
        collection.add([f"river {i}" for i in range(12)], ids=[f"e{i}" for i in range(12)])
        assert len(collection._store.view().segments) == 2
    segments(folder)[-1].unlink()
    assert len(repair(folder, encoder=WordsEncoder())) == 1
    with opened(folder) as collection:
        assert len(collection) == len(LEFT) + 12
        collection.compact()
        assert_whole(collection)
        hits = collection.search("river 3", 1)
        assert hits[0].id == "e3"


def test_a_repair_needs_the_right_encoder(folder: Path, tmp_path: Path) -> None:
    segments(folder)[0].unlink()
    other = WordsEncoder()
    other.fingerprint = "another"
    with pytest.raises(EncoderMismatchError, match="fingerprint"):
        repair(folder, encoder=other)
    with Collection(tmp_path / "bare", dim=2) as bare:
        bare.add(["a"], vectors=[[1, 0]])
        bare.compact()
    segments(tmp_path / "bare")[0].unlink()
    with pytest.raises(VectorError, match="no encoder"):
        repair(tmp_path / "bare")


def test_a_folder_without_its_database_is_not_a_collection(folder: Path) -> None:
    (folder / DATABASE_FILE).unlink()
    with pytest.raises(FormatError, match="not a collection"):
        Collection(folder, create=False)
    kept = segments(folder)
    with pytest.raises(NestlingError):
        opened(folder)
    assert segments(folder) == kept, "segments without a database were deleted"
    assert not check(folder).ok


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(FormatError, match=r"not empty \(it has letter.txt"):
        opened(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(NestlingError):
        opened(tmp_path / "file")


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no database at all, but long enough" * 99),
        lambda path: sqlite3.connect(path).executescript(
            "CREATE TABLE t(x); PRAGMA user_version=1"
        ),
    ],
    ids=["empty", "noise", "another"],
)
def test_a_foreign_database_is_refused(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    made = make(tmp_path / DATABASE_FILE)
    if isinstance(made, sqlite3.Cursor):
        made.connection.close()
    with pytest.raises(FormatError):
        opened(tmp_path)
    assert not check(tmp_path).ok


def test_a_later_format_is_refused(folder: Path) -> None:
    execute(folder, "PRAGMA user_version = 99")
    with pytest.raises(FormatError, match="99"):
        opened(folder)


def test_other_dimensions_are_another_encoder(folder: Path) -> None:
    with pytest.raises(EncoderMismatchError, match=f"{DIM} dimensions"):
        opened(folder, WordsEncoder(dim=DIM * 2))
