"""The built-in models find what people judged relevant, as well as their figures say."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nestling.encoder import Encoder, TruncationWarning

pytestmark = pytest.mark.slow

SHARED = Path(os.environ.get("NESTLING_SHARED") or Path(__file__).parents[3] / "shared")
QUERIES = 2_000


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ndcg(scores: np.ndarray, relevant: list[set[int]], k: int = 10) -> float:
    """nDCG@k with binary relevance, mean over the queries."""
    discounts = 1 / np.log2(np.arange(2, k + 2))
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    values = []
    for row, wanted in zip(best, relevant, strict=True):
        gain = sum(discounts[place] for place, doc in enumerate(row) if doc in wanted)
        values.append(gain / discounts[: min(k, len(wanted))].sum())
    return float(np.mean(values))


@pytest.mark.parametrize(
    ("model", "name", "expected"),
    [
        ("wordllama", "cranfield", 0.419),
        ("wordllama", "squad-dev", 0.698),
        ("minilm", "cranfield", 0.507),
        ("minilm", "squad-dev", 0.768),
        ("e5", "arcd", 0.791),
    ],
)
def test_ndcg_at_10_of_exact_search_is_as_measured(model: str, name: str, expected: float) -> None:
    folder = SHARED / "data" / name
    if not folder.is_dir():
        pytest.skip("shared data absent")
    corpus = read(folder / "corpus.jsonl")
    places = {doc["_id"]: i for i, doc in enumerate(corpus)}
    relevant: dict[str, set[int]] = {}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, doc, score = line.split("\t")
        if int(score) > 0 and doc in places:
            relevant.setdefault(query, set()).add(places[doc])
    queries = [q for q in read(folder / "queries.jsonl") if q["_id"] in relevant][:QUERIES]
    encoder = Encoder(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        documents = encoder.encode([f"{doc['title']} {doc['text']}" for doc in corpus])
    questions = encoder.encode_queries([query["text"] for query in queries])
    got = ndcg(questions @ documents.T, [relevant[query["_id"]] for query in queries])
    assert got == pytest.approx(expected, abs=0.01)
