"""The descent: a rotation after which each prefix ranks candidates as the whole embedding does.

For an anchor, the whole embedding gives a distribution over the candidates of the step, the softmax
of their similarities; so does every prefix, and the loss is the divergence of the two (listwise
distillation: Cao et al. 2007, "Learning to Rank: From Pairwise Approach to Listwise Approach"; for
prefixes of frozen embeddings: Yoon et al. 2024, "Matryoshka-Adaptor", which compares similarities
themselves). Where pairs tell which candidate is right, its negative log-likelihood is added
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
from nestling.training.adaptor.settings import AdaptorSettings
from nestling.training.adaptor.start import cayley
from nestling.training.packages import require_torch

__all__ = ["Fitter", "Look"]

Floats = NDArray[np.float32]

_WARM_UP: Final = 50  # steps until the rate is at its highest
_SHARPNESS: Final = 0.5  # the temperature, in standard deviations of similarities
_EXCLUDED: Final = -1e4


@dataclass(frozen=True, slots=True)
class Look:
    """What was held out, after a step.

    Attributes:
        step: The step.
        loss: Mean over the prefixes.
        by_dims: The loss of each prefix.
    """

    step: int
    loss: float
    by_dims: Mapping[int, float]


@dataclass(slots=True)
class Fitter:
    """A descent that can be stopped after any look and taken up again.

    Args:
        start: (dim, dim) float32, orthogonal.
        groups: What to learn from; a step draws from each.
        settings: The settings.

    Attributes:
        step: Steps done.
        looks: At what is held out, the first one before the first step.
        best: (dim, dim) float32, the rotation of the best look.
    """

    start: Floats
    groups: Sequence[Anchors]
    settings: AdaptorSettings
    step: int = field(default=0, init=False)
    looks: list[Look] = field(default_factory=list, init=False)
    best: Floats = field(init=False)
    _free: Any = field(init=False)
    _scales: Any = field(init=False)
    _optimiser: Any = field(init=False)
    _temperatures: list[float] = field(init=False)
    _held: list[tuple[int, Batch]] = field(init=False)

    def __post_init__(self) -> None:
        torch = require_torch()
        torch.set_num_threads(self.settings.threads)
        dim = len(self.start)
        self.best = self.start
        self._free = torch.zeros(dim, dim, requires_grad=True)
        # A prefix is as sharp as the whole at first, and then as sharp as serves it best.
        self._temperatures = [_SHARPNESS * _spread(group, self.start) for group in self.groups]
        own = [
            [math.log(_SHARPNESS * _spread(group, self.start[:k])) for k in self.settings.prefixes]
            for group in self.groups
        ]
        self._scales = torch.tensor(own, requires_grad=True)
        self._optimiser = torch.optim.Adam([self._free, self._scales], lr=self.settings.lr)
        self._held = [
            (place, batch)
            for place, group in enumerate(self.groups)
            for batch in group.held_out(self.settings.batch_size, self.settings.near)
        ]

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or further ones would gain nothing."""
        since = len(self.looks) - 1 - self._best_look()
        return self.step >= self.settings.steps or since >= self.settings.patience

    def advance(self, on_step: Callable[[], object] = lambda: None) -> Look:
        """Goes on to the next look, and returns it."""
        if not self.looks:
            self._keep(self.look())
        end = min(self.step + self.settings.every, self.settings.steps)
        while self.step < end:
            self._descend()
            on_step()
        return self._keep(self.look())

    def state(self) -> dict[str, Any]:
        """Returns all that `restore` needs, of plain values and tensors."""
        import torch

        return {
            "step": self.step,
            "looks": [(look.step, look.loss, dict(look.by_dims)) for look in self.looks],
            "best": torch.from_numpy(self.best),
            "free": self._free.detach(),
            "scales": self._scales.detach(),
            "optimiser": self._optimiser.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up the descent where another one with the same arguments was."""
        import torch

        self.step = state["step"]
        self.looks = [Look(*look) for look in state["looks"]]
        self.best = state["best"].numpy()
        with torch.no_grad():
            self._free.copy_(state["free"])
            self._scales.copy_(state["scales"])
        self._optimiser.load_state_dict(state["optimiser"])

    def _descend(self) -> None:
        settings = self.settings
        rate = min(1.0, (self.step + 1) / _WARM_UP)
        rate *= (1 + math.cos(math.pi * self.step / settings.steps)) / 2
        for group in self._optimiser.param_groups:
            group["lr"] = settings.lr * rate
        # A generator a step: what a step draws depends on no step before it.
        rng = np.random.default_rng((settings.seed, self.step))
        rotation = self._rotation()
        loss = 0.0
        for place, anchors in enumerate(self.groups):
            batch = anchors.draw(rng, settings.batch_size, settings.near)
            for losses in self._losses(place, batch, rotation):
                loss = loss + losses.mean() * anchors.weight
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[attr-defined]
        self._optimiser.step()
        self.step += 1

    def look(self) -> Look:
        """Returns the losses of what is held out."""
        import torch

        with torch.no_grad():
            rotation = self._rotation()
            means = torch.zeros(len(self.groups), len(self.settings.prefixes))
            for place, batch in self._held:
                losses = torch.stack([v.sum() for v in self._losses(place, batch, rotation)])
                group = self.groups[place]
                means[place] += losses * group.weight / len(group.held)
            by_dims = means.sum(dim=0).tolist()
        return Look(
            self.step,
            sum(by_dims) / len(by_dims),
            dict(zip(self.settings.prefixes, by_dims, strict=True)),
        )

    def _keep(self, look: Look) -> Look:
        import torch

        self.looks.append(look)
        if self._best_look() == len(self.looks) - 1:
            with torch.no_grad():
                self.best = np.ascontiguousarray(self._rotation().numpy())
        return look

    def _best_look(self) -> int:
        losses = [look.loss for look in self.looks]
        return losses.index(min(losses)) if losses else -1

    def _rotation(self) -> Any:
        import torch

        return cayley(self._free) @ torch.from_numpy(self.start)

    def _losses(self, place: int, batch: Batch, rotation: Any) -> list[Any]:
        """Returns the loss of each anchor, (a,), for every prefix."""
        import torch
        from torch.nn.functional import normalize

        anchors, candidates = map(torch.from_numpy, (batch.anchors, batch.candidates))
        itself, positive = map(torch.from_numpy, (batch.itself, batch.positive))
        row = torch.arange(len(anchors))
        excluded = torch.zeros(len(anchors), len(candidates))
        excluded[row[itself >= 0], itself[itself >= 0]] = _EXCLUDED
        whole = anchors @ candidates.T / self._temperatures[place] + excluded
        wanted = torch.softmax(whole, dim=1)
        entropy = torch.special.entr(wanted).sum(dim=1)
        turned, others = anchors @ rotation.T, candidates @ rotation.T
        losses = []
        for dims, scale in zip(self.settings.prefixes, self._scales[place], strict=True):
            cosines = normalize(turned[:, :dims], dim=1) @ normalize(others[:, :dims], dim=1).T
            likely = torch.log_softmax(cosines / scale.exp() + excluded, dim=1)
            loss = -(wanted * likely).sum(dim=1) - entropy
            told = positive >= 0
            loss = loss - torch.where(told, likely[row, positive.clamp(min=0)], 0.0)
            losses.append(loss)
        return losses


def _spread(group: Anchors, rotation: Floats) -> float:
    """Returns the standard deviation of similarities between anchors and candidates at random."""
    rows = [(v[:: max(1, len(v) // 500)] @ rotation.T) for v in (group.vectors, group.candidates)]
    first, second = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in rows)
    return max(float((first @ second.T).std()), 1e-3)
