"""How well each prefix of an encoder does on the pairs that were held out."""

from __future__ import annotations

from typing import Final

from nestling.evaluation.datasets import Dataset
from nestling.evaluation.evaluate import evaluate
from nestling.evaluation.settings import EvaluationSettings
from nestling.evaluation.similarity import evaluate_pairs
from nestling.runtime.text_encoder import TextEncoder
from nestling.training.losses import Kind
from nestling.training.pairs import TrainingData

__all__ = ["HeldOut", "metric_of"]

# Documents to find the held-out positives among: more would be harder, and take longer to encode.
_DOCUMENTS: Final = 1_000


def metric_of(kind: Kind) -> str:
    """Returns the name of the measure for a kind of pairs."""
    return "ndcg@10" if kind == "ranking" else "spearman"


class HeldOut:
    """Pairs to measure with.

    Questions seek their positives among all held-out positives and negatives, and positives of the
    training up to 1,000 documents in all; scored pairs are ordered by their cosines.

    Args:
        held: The pairs.
        train: Where further documents come from.
    """

    def __init__(self, held: TrainingData, train: TrainingData) -> None:
        self._held = held
        self._dataset = _dataset(held, train) if held.examples else None

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self._held)

    def measure(self, encoder: TextEncoder, *, threads: int | None = None) -> dict[int, float]:
        """Returns the value of each of an encoder's nesting lengths, longest first."""
        if self._dataset is None:
            table = evaluate_pairs(encoder, self._held.pairs, name=self._held.name)
            return {row.dims: row.spearman for row in table.rows}
        metric = metric_of("ranking")
        settings = EvaluationSettings(
            bits=(32,), funnels=(), metrics=(metric,), depth=10, rounds=0, threads=threads
        )
        found = evaluate(encoder, self._dataset, settings)
        return {row.dims: row.metrics[metric] for row in found.rows if row.dims is not None}


def _dataset(held: TrainingData, train: TrainingData) -> Dataset:
    """Makes a collection of the held-out examples; equal texts are one document, one question."""
    texts = [text for e in held.examples for text in (e.positive, *e.negatives)]
    others = dict.fromkeys(example.positive for example in train.examples)
    documents = {text: str(place) for place, text in enumerate(dict.fromkeys(texts))}
    for text in others:
        if len(documents) >= _DOCUMENTS:
            break
        documents.setdefault(text, str(len(documents)))
    queries = {e.query: None for e in held.examples}
    asked = {text: str(place) for place, text in enumerate(queries)}
    judgements = ((asked[e.query], documents[e.positive], 1) for e in held.examples)
    return Dataset.of(
        held.name,
        {name: text for text, name in documents.items()},
        {name: text for text, name in asked.items()},
        judgements,
    )
