"""What a fine-tuning did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["FineTuneReport"]


@dataclass(frozen=True, slots=True)
class FineTuneReport:
    """What a fine-tuning did, and what it brought.

    Attributes:
        model: What was trained.
        out: The folder that has it now.
        data: Name of the pairs.
        pairs: Pairs to train on; a step sees a batch of them.
        negatives: Hard negatives of each.
        held_out: Pairs measured with.
        settings: See `nestling.training.finetune.settings.Settings`.
        steps: Batches learnt from.
        planned: Batches that were to be learnt from; more than `steps` where time ran out.
        seconds: Of training, of all processes together.
        resumed: The step that this process went on from; None where it began.
        metric: "ndcg@10", or "spearman" for scored pairs.
        before: Its value on the held-out pairs by prefix length; empty where none were held out.
        after: The same after the training.
        agreement: Largest difference between torch and the float32 graph, least cosine of int8.
        log: Entries with step, loss, loss of each prefix, learning rate.
    """

    model: str
    out: str
    data: str
    pairs: int
    negatives: int
    held_out: int
    settings: Mapping[str, Any]
    steps: int
    planned: int
    seconds: float
    resumed: int | None
    metric: str
    before: Mapping[int, float]
    after: Mapping[int, float]
    agreement: Mapping[str, float]
    log: tuple[Mapping[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        ended = "" if self.steps == self.planned else f" of {self.planned:,}: the time was over"
        lines = [
            f"{self.out}: {self.model} fine-tuned on {self.data}, {self.pairs:,} pairs",
            f"{self.steps:,} steps{ended}, {self.settings['batch_size']} pairs each, "
            f"{self.seconds / 60:.1f} min; int8 within a cosine of {self.agreement['int8']:.3f}",
        ]
        if self.after:
            title = f"{self.metric}, {self.held_out:,} held-out pairs"
            lines += ["", title, f"{'dims':>8}{'before':>10}{'after':>10}{'':>3}change"]
            lines += [
                f"{dims:>8}{self.before[dims]:>10.4f}{value:>10.4f}"
                f"{value - self.before[dims]:>+9.4f}"
                for dims, value in self.after.items()
            ]
        return "\n".join(lines)
