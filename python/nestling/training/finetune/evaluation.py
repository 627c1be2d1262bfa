"""The quality of each prefix of an encoder on the held-out pairs."""

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

# Documents among which the held-out positives are searched: more would take longer to encode.
_DOCUMENTS: Final = 1_000


def metric_of(kind: Kind) -> str:
    """Returns the name of the measure for a kind of pairs.

    Example:
        >>> metric_of("ranking")
        'ndcg@10'
    """
    return "ndcg@10" if kind == "ranking" else "spearman"


class HeldOut:
    """Pairs to evaluate an encoder with.

    Questions search for their positives among all held-out positives and negatives, and positives
    of the training, up to 1,000 documents in all; scored pairs are ordered by their cosines.

    Args:
        held_out: The pairs.
        train: The source of further documents.
    """

    def __init__(self, held_out: TrainingData, train: TrainingData) -> None:
        self._held_out = held_out
        self._dataset = _dataset(held_out, train) if held_out.examples else None

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self._held_out)

    def measure(self, encoder: TextEncoder, *, threads: int | None = None) -> dict[int, float]:
        """Returns the value of each of an encoder's nesting lengths, longest first."""
        if self._dataset is None:
            pairs_table = evaluate_pairs(encoder, self._held_out.pairs, name=self._held_out.name)
            return {row.dims: row.spearman for row in pairs_table.rows}
        metric = metric_of("ranking")
        settings = EvaluationSettings(
            bits=(32,), funnels=(), metrics=(metric,), depth=10, rounds=0, threads=threads
        )
        table = evaluate(encoder, self._dataset, settings)
        return {row.dims: row.metrics[metric] for row in table.rows if row.dims is not None}


def _dataset(held_out: TrainingData, train: TrainingData) -> Dataset:
    """Makes a dataset of the held-out examples; equal texts are one document, or one question."""
    texts = [text for e in held_out.examples for text in (e.positive, *e.negatives)]
    others = dict.fromkeys(example.positive for example in train.examples)
    document_ids = {text: str(position) for position, text in enumerate(dict.fromkeys(texts))}
    for text in others:
        if len(document_ids) >= _DOCUMENTS:
            break
        document_ids.setdefault(text, str(len(document_ids)))
    queries = {e.query: None for e in held_out.examples}
    query_ids = {text: str(position) for position, text in enumerate(queries)}
    judgements = ((query_ids[e.query], document_ids[e.positive], 1) for e in held_out.examples)
    return Dataset.of(
        held_out.name,
        {name: text for text, name in document_ids.items()},
        {name: text for text, name in query_ids.items()},
        judgements,
        ignore_identical_ids=False,  # they are numbers of both
    )
