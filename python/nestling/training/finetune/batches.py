"""Which examples, or scored pairs, share a batch.

A question's negatives are the other answers of its batch. So the texts of a batch differ: an answer
that appeared twice would count as wrong once. And several examples of a group (an article, a
product, a topic) share a batch: their answers are the negatives that a prefix has to distinguish,
and cost nothing more to encode (topic-aware sampling: Hofstätter et al. 2021, "Efficiently Teaching
an Effective Dense Retriever with Balanced Topic Aware Sampling").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import count, islice
from typing import Final

import numpy as np

from nestling.errors import CorpusError
from nestling.training.pairs import TrainingData

__all__ = ["BatchPlan"]

_PATIENCE: Final = 20  # epochs without a batch, each in another order, before giving up


class BatchPlan:
    """The positions of the examples of every batch, determined by the arguments alone.

    An epoch is a pass over all examples in a new order; those that do not fill its last batch are
    left out of it. Of examples that share a text, at most one is in a batch.

    Args:
        data: All examples or pairs.
        batch_size: Examples of a batch.
        group_size: Examples of a group that share a batch, where there are so many.
        seed: Seed of the orders.
        batches: Number of batches.

    Raises:
        CorpusError: On iteration: too many examples share a text to fill a batch.

    Example:
        >>> from nestling.training.pairs import Example
        >>> examples = (Example(f"q{i}", f"p{i}", group="ab"[i % 2]) for i in range(8))
        >>> data = TrainingData("eight", tuple(examples))
        >>> plan = BatchPlan(data, batch_size=4, group_size=2, seed=0, batches=2)
        >>> sorted(position for batch in plan for position in batch)
        [0, 1, 2, 3, 4, 5, 6, 7]
    """

    def __init__(
        self,
        data: TrainingData,
        *,
        batch_size: int,
        group_size: int,
        seed: int,
        batches: int,
    ) -> None:
        # Scored pairs are compared by their scores alone: a text may appear again.
        self._texts = [{e.query, e.positive} for e in data.examples] or [set() for _ in data.pairs]
        names = [example.group for example in data.examples] or [""] * len(data.pairs)
        groups: dict[str, list[int]] = {}
        for position, name in enumerate(names):
            # An example without a group is a group by itself.
            groups.setdefault(name or f"\0{position}", []).append(position)
        self._groups = list(groups.values())
        self._group_size, self._seed, self._batches = group_size, seed, batches
        # The trainer's data loader reads these two.
        self.batch_size = batch_size
        self.drop_last = True

    def __len__(self) -> int:
        """The number of batches."""
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        """Yields the positions of the examples of each batch, from the first batch on."""
        return islice(self._endless(), self._batches)

    def _endless(self) -> Iterator[list[int]]:
        empty = 0  # epochs in a row
        for number in count():
            empty += 1
            for batch in self._epoch(np.random.default_rng([self._seed, number])):
                yield batch
                empty = 0
            if empty == _PATIENCE:
                raise CorpusError(
                    f"no batch of {self.batch_size} can be made of {len(self._texts):,} examples "
                    "without repeating a text: choose a smaller batch size"
                )

    def _epoch(self, rng: np.random.Generator) -> Iterator[list[int]]:
        chunks = [chunk for group in self._groups for chunk in self._chunks(group, rng)]
        waiting = deque(chunks[position] for position in rng.permutation(len(chunks)))
        while True:
            batch: list[int] = []
            seen: set[str] = set()
            later = []
            while waiting and len(batch) < self.batch_size:
                rest = []
                for position in waiting.popleft():
                    if len(batch) < self.batch_size and not seen & self._texts[position]:
                        batch.append(position)
                        seen |= self._texts[position]
                    else:
                        rest.append(position)
                later += [rest] if rest else []
            if len(batch) < self.batch_size:
                return
            waiting.extendleft(reversed(later))
            yield batch

    def _chunks(self, group: list[int], rng: np.random.Generator) -> Iterator[list[int]]:
        """Cuts a group into parts that repeat no text, as long as there are others to choose."""
        left = [group[position] for position in rng.permutation(len(group))]
        while left:
            chunk: list[int] = []
            seen: set[str] = set()
            rest = []
            for position in left:
                if len(chunk) < self._group_size and not seen & self._texts[position]:
                    chunk.append(position)
                    seen |= self._texts[position]
                else:
                    rest.append(position)
            yield chunk
            left = rest
