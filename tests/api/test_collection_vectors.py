"""Queries as texts, with embeddings that the caller has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nestling.collection import Collection
from nestling.errors import ArgumentError, VectorError


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Collection(tmp_path / "collection", dim=4) as collection:
        collection.add(
            ["red apples", "green pears", "a red car"], list("abc"), vectors=np.eye(4)[:3]
        )
        yield collection


def test_hybrid_needs_no_encoder_if_the_embedding_is_given(collection: Collection) -> None:
    pears = np.eye(4)[1]
    by_words = collection.search("apples", k=3, mode="hybrid", vectors=pears, weight=0)
    by_meaning = collection.search("apples", k=3, mode="hybrid", vectors=pears, weight=1)
    assert by_words[0].id == "a"
    assert by_meaning[0].id == "b"
    several = collection.search(["apples", "car"], k=1, mode="hybrid", vectors=np.eye(4)[[0, 2]])
    assert [hits[0].id for hits in several] == ["a", "c"]
    assert collection.search("apples", k=1, vectors=pears)[0].id == "b"
    assert collection.search("apples", k=1, mode="lexical", vectors=pears)[0].id == "a"


def test_vectors_that_do_not_fit_the_texts_are_refused(collection: Collection) -> None:
    with pytest.raises(VectorError, match="2 vectors for 1 texts"):
        collection.search("apples", vectors=np.eye(4)[:2])
    with pytest.raises(VectorError):
        collection.search("apples", vectors=np.ones(3))
    with pytest.raises(ArgumentError, match="vectors are the embeddings of texts"):
        collection.search(np.ones(4), vectors=np.ones(4))
    with pytest.raises(VectorError, match="no encoder"):
        collection.search("apples", mode="hybrid")
