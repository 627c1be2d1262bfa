"""The share of the dense ranking in a fusion, fitted to judged questions.

A fusion of two rankings has one parameter, so that every value of a grid is tried. What a fitted
value is worth is told by questions that it was not fitted to: five times it is fitted to four
fifths of them, and measured on the rest (Stone 1974, "Cross-Validatory Choice and Assessment of
Statistical Predictions").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.value import Value
from nestling.errors import ArgumentError

__all__ = ["DEFAULT_WEIGHT", "FEWEST_QUESTIONS", "GRID", "RANKS", "WeightFit", "fit", "gains"]

DEFAULT_WEIGHT: Final = 0.5
GRID: Final = tuple(step / 20 for step in range(21))
"""Weights that are tried."""
RANKS: Final = 10  # of a ranking that count
FEWEST_QUESTIONS: Final = 20
_FOLDS: Final = 5


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class WeightFit(Value):
    """The weight that was fitted to judged questions.

    Attributes:
        weight: Share of the dense ranking, 0 to 1: the best for all questions, or 0.5 if fitting
            did not help on questions left out of it.
        ndcg: nDCG@10 of questions by weights that were fitted without them.
        default_ndcg: nDCG@10 of the same questions by a weight of 0.5.
        questions: Questions that have a relevant document.

    Example:
        >>> from nestling.collection import WeightFit
        >>> WeightFit(0.65, 0.571, 0.56, 225).weight
        0.65
    """

    weight: float
    ndcg: float
    default_ndcg: float
    questions: int


def gains(
    rankings: Sequence[Sequence[int]], grades: Sequence[Mapping[int, float]]
) -> NDArray[np.float64]:
    """Returns the nDCG@10 of rankings, as trec_eval has it.

    Args:
        rankings: The documents that were found for each question, best first.
        grades: The grades, above 0, of each question's relevant documents; without one, it is 0.

    Example:
        >>> gains([[7, 3], [5]], [{3: 1, 8: 1}, {5: 2}]).round(3)
        array([0.387, 1.   ])
    """
    found = np.zeros(len(rankings))
    for number, (documents, graded) in enumerate(zip(rankings, grades, strict=True)):
        if graded:
            ideal = sorted(graded.values(), reverse=True)[:RANKS]
            gained = [graded.get(document, 0) for document in documents[:RANKS]]
            found[number] = _DISCOUNTS[: len(gained)] @ gained / (_DISCOUNTS[: len(ideal)] @ ideal)
    return found


_DISCOUNTS: Final = 1 / np.log2(np.arange(2, RANKS + 2))


def fit(values: NDArray[np.float64]) -> WeightFit:
    """Returns the best weight, given what each question gains by each weight of the grid.

    Args:
        values: (questions, `len(GRID)`) nDCG of each question by each weight.

    Raises:
        ArgumentError: There are fewer than 20 questions.

    Example:
        >>> fit(np.tile(1 - abs(np.array(GRID) - 0.7), (40, 1))).weight
        0.7
    """
    count = len(values)
    if count < FEWEST_QUESTIONS:
        raise ArgumentError(
            f"{count} questions with a relevant document are too few to fit a weight: give "
            f"{FEWEST_QUESTIONS} or more, better some hundreds"
        )
    folds = np.random.default_rng(0).permutation(count) % _FOLDS
    held_out = np.empty(count)
    for fold in range(_FOLDS):
        left_out = folds == fold
        held_out[left_out] = values[left_out, _best(values[~left_out])]
    default = float(values[:, GRID.index(DEFAULT_WEIGHT)].mean())
    ndcg = float(held_out.mean())
    weight = GRID[_best(values)] if ndcg > default else DEFAULT_WEIGHT
    return WeightFit(weight, ndcg, default, count)


def _best(values: NDArray[np.float64]) -> int:
    """Returns the place of the best weight in the grid; of equal ones, the nearest to 0.5."""
    means = values.mean(0)
    return min(range(len(GRID)), key=lambda at: (-means[at], abs(GRID[at] - DEFAULT_WEIGHT)))
