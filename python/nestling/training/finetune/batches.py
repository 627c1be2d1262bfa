"""Which examples, or scored pairs, stand together in a batch.

A question's negatives are the other answers of its batch. So texts of a batch differ: an answer
that came twice would count as wrong once. And examples of a group (an article, a product, a topic)
come several together: their answers are the negatives that a prefix has to tell apart, and cost
nothing more to encode (topic-aware sampling: Hofstätter et al. 2021, "Efficiently Teaching an
Effective Dense Retriever with Balanced Topic Aware Sampling").
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

_PATIENCE: Final = 20  # epochs without a batch, each in another order, before it is given up


class BatchPlan:
    """The places of the examples of every batch: a function of the arguments alone.

    An epoch is a pass over all examples in a new order; what does not fill its last batch is left
    out of it. Of examples that share a text, at most one is in a batch.

    Args:
        data: What there is.
        batch_size: Examples of a batch.
        group_size: Examples of a group that stand together where there are so many.
        seed: Of the orders.
        batches: How many to give.

    Raises:
        CorpusError: On iteration: too many examples share a text to fill a batch.

    Example:
        >>> examples = (Example(f"q{i}", f"p{i}", group="ab"[i % 2]) for i in range(8))
        >>> data = TrainingData("eight", tuple(examples))
        >>> plan = BatchPlan(data, batch_size=4, group_size=2, seed=0, batches=2)
        >>> sorted(place for batch in plan for place in batch)
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
        # Scored pairs are compared by their scores alone: the same text may come again.
        self._texts = [{e.query, e.positive} for e in data.examples] or [set() for _ in data.pairs]
        names = [example.group for example in data.examples] or [""] * len(data.pairs)
        groups: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            # An example of no group is one by itself.
            groups.setdefault(name or f"\0{place}", []).append(place)
        self._groups = list(groups.values())
        self._group_size, self._seed, self._batches = group_size, seed, batches
        # Names that the trainer's data loader reads.
        self.batch_size = batch_size
        self.drop_last = True

    def __len__(self) -> int:
        """How many batches it gives."""
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        """Yields the places of the examples of each batch, from the first one on."""
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
                    "without a text coming twice: choose a smaller batch size"
                )

    def _epoch(self, rng: np.random.Generator) -> Iterator[list[int]]:
        chunks = [chunk for group in self._groups for chunk in self._chunks(group, rng)]
        waiting = deque(chunks[place] for place in rng.permutation(len(chunks)))
        while True:
            batch: list[int] = []
            seen: set[str] = set()
            later = []
            while waiting and len(batch) < self.batch_size:
                rest = []
                for place in waiting.popleft():
                    if len(batch) < self.batch_size and not seen & self._texts[place]:
                        batch.append(place)
                        seen |= self._texts[place]
                    else:
                        rest.append(place)
                later += [rest] if rest else []
            if len(batch) < self.batch_size:
                return
            waiting.extendleft(reversed(later))
            yield batch

    def _chunks(self, group: list[int], rng: np.random.Generator) -> Iterator[list[int]]:
        """Cuts a group into parts, in which texts come once where others are left to choose."""
        left = [group[place] for place in rng.permutation(len(group))]
        while left:
            chunk: list[int] = []
            seen: set[str] = set()
            rest = []
            for place in left:
                if len(chunk) < self._group_size and not seen & self._texts[place]:
                    chunk.append(place)
                    seen |= self._texts[place]
                else:
                    rest.append(place)
            yield chunk
            left = rest
