"""The built-in models, and the funnel, find what people judged relevant as well as they should."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nestling import Encoder, Index, TruncationWarning

# The time to encode a set counts for the first test that asks for it.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SHARED = Path(os.environ.get("NESTLING_SHARED") or Path(__file__).parents[3] / "shared")
QUERIES = 2_000


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ndcg(ranking: np.ndarray, relevant: list[set[int]]) -> float:
    """nDCG at the width of the ranking, with binary relevance, mean over the queries."""
    k = ranking.shape[1]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    values = []
    for row, wanted in zip(ranking, relevant, strict=True):
        gain = sum(discounts[place] for place, doc in enumerate(row) if doc in wanted)
        values.append(gain / discounts[: min(k, len(wanted))].sum())
    return float(np.mean(values))


@dataclass(frozen=True)
class Encoded:
    documents: np.ndarray
    questions: np.ndarray
    relevant: list[set[int]]
    expected: float

    def exact(self) -> float:
        scores = self.questions @ self.documents.T
        return ndcg(np.argsort(-scores, axis=1, kind="stable")[:, :10], self.relevant)


@pytest.fixture(
    scope="module",
    params=[
        ("wordllama", "cranfield", 0.419),
        ("wordllama", "squad-dev", 0.698),
        ("minilm", "cranfield", 0.507),
        ("minilm", "squad-dev", 0.768),
        ("e5", "arcd", 0.791),
    ],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def encoded(request: pytest.FixtureRequest) -> Encoded:
    model, name, expected = request.param
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
    return Encoded(documents, questions, [relevant[query["_id"]] for query in queries], expected)


def test_ndcg_at_10_of_exact_search_is_as_measured(encoded: Encoded) -> None:
    assert encoded.exact() == pytest.approx(encoded.expected, abs=0.01)


def test_ndcg_at_10_of_the_default_funnel_is_that_of_exact_search(encoded: Encoded) -> None:
    index = Index(encoded.documents.shape[1])
    index.add(encoded.documents)
    hits = index.search(encoded.questions, k=10)
    assert ndcg(hits.ids, encoded.relevant) == pytest.approx(encoded.exact(), abs=0.005)
