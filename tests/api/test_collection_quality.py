"""The quality of dense, lexical and hybrid search on judged data sets."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from nestling import TruncationWarning
from nestling.collection import Collection
from nestling.evaluation import Dataset, measure, read_dataset

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SHARED = Path(os.environ.get("NESTLING_SHARED") or Path(__file__).parents[3] / "shared")
QUERIES = 1_000


def ndcg(collection: Collection, dataset: Dataset, **how: object) -> float:
    places = {id: place for place, id in enumerate(dataset.document_ids)}
    ranking = np.full((len(dataset.queries), 10), -1, np.int64)
    for row, hits in zip(ranking, collection.search(list(dataset.queries), 10, **how), strict=True):
        row[: len(hits)] = [places[hit.id] for hit in hits]
    return float(measure(ranking, dataset.judgements, ["ndcg@10"])["ndcg@10"].mean())


@pytest.mark.parametrize(
    ("encoder", "name", "dense", "lexical", "hybrid"),
    [
        ("minilm", "cranfield", 0.503, 0.513, 0.560),
        ("minilm", "squad-dev", 0.797, 0.929, 0.939),
        ("e5", "arcd", 0.813, 0.836, 0.877),
    ],
)
def test_both_rankings_together_find_more_than_either(
    encoder: str, name: str, dense: float, lexical: float, hybrid: float, tmp_path: Path
) -> None:
    if not (SHARED / "data" / name).is_dir():
        pytest.skip("shared data absent")
    dataset = read_dataset(SHARED / "data" / name, limit=QUERIES, ignore_identical_ids=False)
    with warnings.catch_warnings(), Collection(tmp_path / name, encoder) as collection:
        warnings.simplefilter("ignore", TruncationWarning)
        collection.add(list(dataset.documents), list(dataset.document_ids))
        found = {
            mode: ndcg(collection, dataset, mode=mode) for mode in ("dense", "lexical", "hybrid")
        }
    assert found == pytest.approx({"dense": dense, "lexical": lexical, "hybrid": hybrid}, abs=0.015)
    assert found["hybrid"] > max(found["dense"], found["lexical"]) + 0.005
