"""Evaluation: the quality of a model's prefixes, their codes, and funnels on judged queries.

Example:
    >>> from nestling.evaluation import evaluate, read_dataset
    >>> table = evaluate(nestling.Encoder("minilm"), read_dataset("cranfield"))  # doctest: +SKIP
    >>> table.rows[0].metrics["ndcg@10"]  # doctest: +SKIP
    0.51
"""

from nestling.evaluation.datasets import Dataset, read_dataset
from nestling.evaluation.evaluate import Embeddings, evaluate, evaluate_runs
from nestling.evaluation.metrics import measure
from nestling.evaluation.runs import Run, read_run, write_run
from nestling.evaluation.settings import EvaluationSettings
from nestling.evaluation.significance import compare
from nestling.evaluation.similarity import evaluate_pairs, read_pairs
from nestling.evaluation.table import Table

__all__ = [
    "Dataset",
    "Embeddings",
    "EvaluationSettings",
    "Run",
    "Table",
    "compare",
    "evaluate",
    "evaluate_pairs",
    "evaluate_runs",
    "measure",
    "read_dataset",
    "read_pairs",
    "read_run",
    "write_run",
]
