"""The descent to rows of tokens whose sum, at unit length, is the teacher's embedding of a text.

What is learnt is how an embedding differs from the mean of all: a teacher whose embeddings all
point one way, as those of many models do, would otherwise leave little to tell them apart by. The
loss is 1 minus the cosine of these differences, averaged over prefixes (Vujanic and Rueckstiess
2025, "LEAF: Knowledge Distillation of Text Embedding Models with Teacher-Aligned Representations";
Kusupati et al. 2022, "Matryoshka Representation Learning"). Rows begin as the teacher's embeddings
of single tokens, weighted by their rarity (Arora et al. 2017, "A Simple but Tough-to-Beat Baseline
for Sentence Embeddings"): a token that no text has keeps that. Rows of runs of letters and of pairs
begin as zero, and some are left out of each step (Srivastava et al. 2014, "Dropout"): they add what
the tokens do not say. It needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nestling.runtime.modules import normalise
from nestling.training.query_encoder.settings import QueryEncoderSettings

__all__ = ["Bags", "RowFitter"]

_RARE: Final = 1e-3  # share of all tokens at which the first weight is a half
_WEIGHT_RATE: Final = 10.0  # times the rate of the rows: a logarithm moves further
_DECAYS: Final = (0.9, 0.99)
_TINY: Final = np.float32(1e-8)
_TOGETHER: Final = 4096  # texts that are encoded together

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Bags:
    """Texts as the rows of their tokens; a text has at least one.

    Attributes:
        tokens: (all tokens,) int64, the rows of the tokens of each text, one text after the other.
        starts: (texts + 1,) int64, where each text begins, and the end.
    """

    tokens: Ids
    starts: Ids

    @classmethod
    def of(cls, rows: Sequence[Ids]) -> Bags:
        """Makes bags of the token rows of each text."""
        lengths = [len(row) for row in rows]
        return cls(np.concatenate(rows), np.concatenate([[0], np.cumsum(lengths)]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, texts: Ids) -> Bags:
        """Returns some of the texts."""
        lengths = self.starts[texts + 1] - self.starts[texts]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        within = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
        return Bags(self.tokens[np.repeat(self.starts[texts], lengths) + within], starts)

    def without(self, dropped: NDArray[np.bool_]) -> Bags:
        """Returns all texts without some of their (all tokens,) rows; not the first of any."""
        kept = np.concatenate([[0], np.cumsum(~dropped)])
        return Bags(self.tokens[~dropped], kept[self.starts])


class _Adam:
    """Adam for some rows of an array at a time (Kingma and Ba 2015, "Adam")."""

    def __init__(self, values: Floats) -> None:
        self._values = values
        self._mean = np.zeros_like(values)
        self._square = np.zeros_like(values)

    def step(self, gradient: Floats, rate: float, number: int, rows: Ids | slice) -> None:
        """Moves `rows` against their gradient; `number` counts the steps of the descent, from 1."""
        first, second = _DECAYS
        mean = first * self._mean[rows] + (1 - first) * gradient
        square = second * self._square[rows] + (1 - second) * np.square(gradient)
        self._mean[rows], self._square[rows] = mean, square
        scale = np.float32(rate * np.sqrt(1 - second**number) / (1 - first**number))
        self._values[rows] -= scale * mean / (np.sqrt(square) + _TINY)


@dataclass(slots=True)
class RowFitter:
    """Token rows in training.

    Args:
        start: (rows, dim) float32: row 0 is zero and stays so, then the teacher's embeddings of
            single tokens at unit length, then zeros for runs of letters and for pairs.
        counts: (rows,) how often each row is in the texts that are trained on.
        settings: The settings, resolved for the encoder.
        offset: (dim,) what is added to a sum at unit length: the mean of the teacher's embeddings.
            None for nothing.
        extra: How many of the rows, the last ones, are not those of tokens.
    """

    start: Floats
    counts: Ids
    settings: QueryEncoderSettings
    offset: Floats | None = None
    extra: int = 0
    _rows: Floats = field(init=False)
    _log_weights: Floats = field(init=False)
    _adams: dict[str, _Adam] = field(init=False)
    _step: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        shares = self.counts / max(int(self.counts.sum()), 1)
        self._rows = self.start.copy()
        self._log_weights = np.log(_RARE / (_RARE + shares)).astype(np.float32)
        trained = {"rows": self._rows, "weights": self._log_weights}
        self._adams = {name: _Adam(values) for name, values in trained.items()}

    @property
    def rows(self) -> Floats:
        """The rows with their weights, (rows, dim)."""
        weighted: Floats = self._rows * np.exp(self._log_weights)[:, np.newaxis]
        return weighted

    def steps(self, texts: int) -> int:
        """Returns how many steps the descent has for so many texts."""
        return -(-texts // self.settings.batch_size) * self.settings.epochs

    def epoch(self, bags: Bags, targets: Floats, rng: np.random.Generator) -> float:
        """Uses every text once; returns the mean loss.

        Args:
            bags: The texts.
            targets: (n, dim) the teacher's embeddings without the offset, of any length.
            rng: Draws the order, and the rows that are left out.
        """
        bags = self._drop_extra(bags, rng)
        order = rng.permutation(len(bags))
        size, total = self.settings.batch_size, 0.0
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            rate = self.settings.lr * max(1 - self._step / self.steps(len(bags)), 0.0)
            total += self._descend(bags.take(chosen), targets[chosen], rate) * len(chosen)
        return total / len(bags)

    def encode(self, bags: Bags) -> Floats:
        """Returns (texts, dim) float32 at unit length."""
        rows = self.rows
        parts = []
        for start in range(0, len(bags), _TOGETHER):
            some = bags.take(np.arange(start, min(start + _TOGETHER, len(bags))))
            sums = np.add.reduceat(rows[some.tokens], some.starts[:-1], axis=0)
            units = normalise(sums)
            parts.append(units if self.offset is None else normalise(units + self.offset))
        return np.concatenate(parts)

    def _drop_extra(self, bags: Bags, rng: np.random.Generator) -> Bags:
        if not (self.extra and self.settings.dropout):
            return bags
        dropped = bags.tokens >= len(self.start) - self.extra
        dropped &= rng.random(len(dropped), np.float32) < self.settings.dropout
        return bags.without(dropped)

    def _descend(self, bags: Bags, targets: Floats, rate: float) -> float:
        """Takes one step; returns the loss before it."""
        self._step += 1
        tokens, inside = np.unique(bags.tokens, return_inverse=True)
        inside = inside.reshape(-1)
        weights = np.exp(self._log_weights[tokens])[:, np.newaxis]
        plain = self._rows[tokens]
        sums = np.add.reduceat((plain * weights)[inside], bags.starts[:-1], axis=0)
        loss, upstream = _cosine_loss(sums, targets, self.settings.dims)
        # The gradient of a token is the sum over the texts that it is in.
        order = np.argsort(inside, kind="stable")
        texts = np.repeat(np.arange(len(bags)), np.diff(bags.starts))[order]
        firsts = np.searchsorted(inside[order], np.arange(len(tokens)))
        gradient = np.add.reduceat(upstream[texts], firsts, axis=0)
        gradient[tokens == 0] = 0
        gradient *= weights
        slopes = np.einsum("ij,ij->i", gradient, plain)
        self._adams["rows"].step(gradient, rate, self._step, tokens)
        self._adams["weights"].step(slopes, rate * _WEIGHT_RATE, self._step, tokens)
        return loss


def _cosine_loss(values: Floats, targets: Floats, dims: Sequence[int]) -> tuple[float, Floats]:
    """Returns 1 minus the mean cosine over texts and prefixes, and its gradient by `values`."""
    gradient = np.zeros_like(values)
    total = 0.0
    share = np.float32(1 / (len(values) * len(dims)))
    for dim in dims:
        norms = np.maximum(np.linalg.norm(values[:, :dim], axis=1, keepdims=True), _TINY)
        units, right = values[:, :dim] / norms, normalise(targets[:, :dim])
        cosines = np.einsum("ij,ij->i", units, right)[:, np.newaxis]
        gradient[:, :dim] -= share * (right - cosines * units) / norms
        total += float((1 - cosines).mean()) / len(dims)
    return total, gradient
