"""The benchmark of collections: what they add to a search of the index inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from collection_helpers import WordsEncoder, opened

from fake_clock import FakeClock
from nestling import Collection, Index
from nestling.bench.collection.overhead import BASELINE, overhead


def test_a_collection_is_compared_with_the_index_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr("nestling._util.timing.time", clock)

    def slow(call: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def slowed(*arguments: Any, **options: Any) -> Any:
            clock.advance(seconds)
            return call(*arguments, **options)

        return slowed

    monkeypatch.setattr(Index, "search", slow(Index.search, 3e-6))
    monkeypatch.setattr(Collection, "search", slow(Collection.search, 4e-6))
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
    assert index.p50_us == pytest.approx(3)
    for kind in ("ids alone", "texts and metadata"):
        assert found[kind].p50_us == pytest.approx(4)
