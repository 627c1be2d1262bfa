"""The benchmark of collections: what they add to a search of the index inside."""

from __future__ import annotations

from pathlib import Path

import pytest
from collection_helpers import WordsEncoder, opened

from nestling.bench.collection.overhead import BASELINE, overhead


def test_a_collection_is_compared_with_the_index_inside(tmp_path: Path) -> None:
    texts = [f"apple bread{i} violet{i % 3}" for i in range(200)]
    vectors = WordsEncoder().encode(texts)
    with opened(tmp_path / "c") as collection:
        collection.add(texts)
        found = overhead(collection, vectors[:20], vectors, k=5, rounds=2)
    assert list(found) == [BASELINE, "ids alone", "texts and metadata"]
    index = found[BASELINE]
    assert (index.over_index_us, index.share) == (0, 1)
    for kind in found.values():
        assert kind.p50_us - kind.over_index_us == pytest.approx(index.p50_us)
        assert kind.per_second / index.per_second == pytest.approx(kind.share)
    assert found["texts and metadata"].p50_us > index.p50_us > 0
