"""The descent to a rotation after which each prefix ranks candidates like the whole embedding.

For an anchor, the whole embedding gives a distribution over the candidates of the step, the softmax
of their similarities; so does every prefix, and the loss is the divergence of the two (listwise
distillation: Cao et al. 2007, "Learning to Rank: From Pairwise Approach to Listwise Approach"; for
prefixes of frozen embeddings: Yoon et al. 2024, "Matryoshka-Adaptor", which compares similarities
themselves). Where pairs say which candidate is right, its negative log-likelihood is added
(Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.training.adaptor.anchors import Anchors, Batch
from nestling.training.adaptor.settings import STEPS, AdaptorSettings
from nestling.training.adaptor.start import cayley
from nestling.training.packages import require_torch

__all__ = ["Evaluation", "Fitter"]

Floats = NDArray[np.float32]

_WARM_UP: Final = 50  # steps until the rate is at its highest
_SHARPNESS: Final = 0.5  # the temperature, in standard deviations of similarities
_EXCLUDED: Final = -1e4


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The loss on held-out anchors after a step.

    Attributes:
        step: The step.
        loss: Mean over the prefixes.
        by_dims: The loss of each prefix.

    Example:
        >>> Evaluation(step=100, loss=1.5, by_dims={16: 2.0, 64: 1.0}).by_dims[16]
        2.0
    """

    step: int
    loss: float
    by_dims: Mapping[int, float]


@dataclass(slots=True)
class Fitter:
    """A descent that can be stopped after any evaluation, and resumed.

    Args:
        start: (dim, dim) float32, orthogonal.
        groups: The anchors; a step draws from each group.
        settings: The settings, resolved for the encoder.

    Attributes:
        step: Steps taken.
        evaluations: The evaluations, the first one before the first step.
        best: (dim, dim) float32, the rotation with the lowest held-out loss.
    """

    start: Floats
    groups: Sequence[Anchors]
    settings: AdaptorSettings
    step: int = field(default=0, init=False)
    evaluations: list[Evaluation] = field(default_factory=list, init=False)
    best: Floats = field(init=False)
    _free: Any = field(init=False)
    _scales: Any = field(init=False)
    _optimiser: Any = field(init=False)
    _temperatures: list[float] = field(init=False)
    _held_out: list[tuple[int, Batch]] = field(init=False)

    def __post_init__(self) -> None:
        torch = require_torch()
        torch.set_num_threads(self.settings.threads)
        dim = len(self.start)
        self.best = self.start
        self._free = torch.zeros(dim, dim, requires_grad=True)
        # A prefix starts as sharp as the whole embedding; its sharpness is then learnt.
        self._temperatures = [_SHARPNESS * _spread(group, self.start) for group in self.groups]
        sharpness = [
            [math.log(_SHARPNESS * _spread(group, self.start[:k])) for k in self.settings.prefixes]
            for group in self.groups
        ]
        self._scales = torch.tensor(sharpness, requires_grad=True)
        self._optimiser = torch.optim.Adam([self._free, self._scales], lr=self.settings.lr)
        self._held_out = [
            (position, batch)
            for position, group in enumerate(self.groups)
            for batch in group.held_out_batches(self.settings.batch_size, self.settings.neighbours)
        ]

    @property
    def _steps(self) -> int:
        return self.settings.steps or STEPS

    @property
    def finished(self) -> bool:
        """Whether all steps are taken, or the loss has stopped improving."""
        since = len(self.evaluations) - 1 - self._best()
        return self.step >= self._steps or since >= self.settings.patience

    def advance(self, on_step: Callable[[], object] = lambda: None) -> Evaluation:
        """Takes the steps until the next evaluation, and returns it."""
        if not self.evaluations:
            self._keep(self.evaluate())
        end = min(self.step + self.settings.evaluate_every, self._steps)
        while self.step < end:
            self._descend()
            on_step()
        return self._keep(self.evaluate())

    def state(self) -> dict[str, Any]:
        """Returns everything that `restore` needs, as plain values and tensors."""
        import torch

        return {
            "step": self.step,
            "evaluations": [(e.step, e.loss, dict(e.by_dims)) for e in self.evaluations],
            "best": torch.from_numpy(self.best),
            "free": self._free.detach(),
            "scales": self._scales.detach(),
            "optimiser": self._optimiser.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues the descent of another object with the same arguments."""
        import torch

        self.step = state["step"]
        self.evaluations = [Evaluation(*values) for values in state["evaluations"]]
        self.best = state["best"].numpy()
        with torch.no_grad():
            self._free.copy_(state["free"])
            self._scales.copy_(state["scales"])
        self._optimiser.load_state_dict(state["optimiser"])

    def _descend(self) -> None:
        settings = self.settings
        rate = min(1.0, (self.step + 1) / _WARM_UP)
        rate *= (1 + math.cos(math.pi * self.step / self._steps)) / 2
        for group in self._optimiser.param_groups:
            group["lr"] = settings.lr * rate
        # One generator per step: its draws do not depend on the steps before it.
        rng = np.random.default_rng((settings.seed, self.step))
        rotation = self._rotation()
        loss = 0.0
        for position, anchors in enumerate(self.groups):
            batch = anchors.draw(rng, settings.batch_size, settings.neighbours)
            for losses in self._losses(position, batch, rotation):
                loss = loss + losses.mean() * anchors.weight
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[attr-defined]
        self._optimiser.step()
        self.step += 1

    def evaluate(self) -> Evaluation:
        """Returns the losses on the held-out anchors."""
        import torch

        with torch.no_grad():
            rotation = self._rotation()
            means = torch.zeros(len(self.groups), len(self.settings.prefixes))
            for position, batch in self._held_out:
                losses = torch.stack([v.sum() for v in self._losses(position, batch, rotation)])
                group = self.groups[position]
                means[position] += losses * group.weight / len(group.held_out)
            by_dims = means.sum(dim=0).tolist()
        return Evaluation(
            self.step,
            sum(by_dims) / len(by_dims),
            dict(zip(self.settings.prefixes, by_dims, strict=True)),
        )

    def _keep(self, evaluation: Evaluation) -> Evaluation:
        import torch

        self.evaluations.append(evaluation)
        if self._best() == len(self.evaluations) - 1:
            with torch.no_grad():
                self.best = np.ascontiguousarray(self._rotation().numpy())
        return evaluation

    def _best(self) -> int:
        """Returns the position of the evaluation with the lowest loss; -1 before the first."""
        losses = [evaluation.loss for evaluation in self.evaluations]
        return losses.index(min(losses)) if losses else -1

    def _rotation(self) -> Any:
        import torch

        return cayley(self._free) @ torch.from_numpy(self.start)

    def _losses(self, group: int, batch: Batch, rotation: Any) -> list[Any]:
        """Returns the loss of each anchor, (a,), for every prefix."""
        import torch
        from torch.nn.functional import normalize

        anchors, candidates = map(torch.from_numpy, (batch.anchors, batch.candidates))
        self_ids, positive = map(torch.from_numpy, (batch.self_ids, batch.positive))
        row = torch.arange(len(anchors))
        excluded = torch.zeros(len(anchors), len(candidates))
        excluded[row[self_ids >= 0], self_ids[self_ids >= 0]] = _EXCLUDED
        whole = anchors @ candidates.T / self._temperatures[group] + excluded
        target = torch.softmax(whole, dim=1)
        entropy = torch.special.entr(target).sum(dim=1)
        rotated, others = anchors @ rotation.T, candidates @ rotation.T
        losses = []
        for dims, scale in zip(self.settings.prefixes, self._scales[group], strict=True):
            cosines = normalize(rotated[:, :dims], dim=1) @ normalize(others[:, :dims], dim=1).T
            likely = torch.log_softmax(cosines / scale.exp() + excluded, dim=1)
            loss = -(target * likely).sum(dim=1) - entropy
            labelled = positive >= 0
            loss = loss - torch.where(labelled, likely[row, positive.clamp(min=0)], 0.0)
            losses.append(loss)
        return losses


def _spread(group: Anchors, rotation: Floats) -> float:
    """Returns the standard deviation of the similarities of random anchors and candidates."""
    rows = [(v[:: max(1, len(v) // 500)] @ rotation.T) for v in (group.vectors, group.candidates)]
    first, second = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in rows)
    return max(float((first @ second.T).std()), 1e-3)
