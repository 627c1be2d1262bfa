"""Collections: what they tell of themselves, and what keeps them usable."""

from __future__ import annotations

from pathlib import Path

import pytest
from hashing import HashingEncoder

from nestling import Collection

TEXTS = ["whales sing in the sea", "bees dance in the hive", "القاهرة عاصمة مصر"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Collection(tmp_path / "c", HashingEncoder(), fields=["year"]) as collection:
        collection.add(TEXTS, ids=["w", "b", "c"], metadata=[{"year": 2020}, None, None])
    return tmp_path / "c"


def test_an_add_counts_the_passages_that_were_truncated(tmp_path: Path) -> None:
    with Collection(tmp_path / "c", HashingEncoder(), passages=None) as collection:
        done = collection.add(["word " * 2000, "word", "other " * 3000])
        assert (done.passages, done.truncated) == (3, 2)
        assert collection.add(["word " * 2000]).truncated == 0
