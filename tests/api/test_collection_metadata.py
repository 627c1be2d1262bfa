"""The metadata that a collection accepts, and its metric."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nestling.collection import Collection, document_id
from nestling.errors import MetadataError


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Collection(tmp_path / "collection", dim=4, metric="ip") as collection:
        yield collection


@pytest.mark.parametrize(
    "metadata", [{"a": float("nan")}, {"a": datetime.date(2024, 1, 1)}, {1: "a"}, {"a": {"b"}}]
)
def test_metadata_that_is_not_json_raises(collection: Collection, metadata: Any) -> None:
    with pytest.raises(MetadataError, match=r"documents\[0\]: metadata"):
        collection.add(["x"], metadata=[metadata], vectors=[np.ones(4)])
    assert len(collection) == 0


def test_numpy_scalars_and_tuples_become_plain(collection: Collection) -> None:
    metadata = {"year": np.int64(2020), "tags": ("a", "b")}
    (id,) = collection.add(["x"], metadata=[metadata], vectors=[np.ones(4)]).ids or ()
    stored = collection.get(id)
    assert stored is not None
    assert stored.metadata == {"year": 2020, "tags": ["a", "b"]}
    assert id == document_id("x", metadata=metadata)
    assert collection.count({"year": 2020, "tags": {"$contains": "b"}}) == 1


def test_a_collection_knows_its_metric(collection: Collection) -> None:
    assert collection.metric == "ip"
