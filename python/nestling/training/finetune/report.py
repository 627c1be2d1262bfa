"""The report of a fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nestling._util.value import Value

__all__ = ["FineTuneReport"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FineTuneReport(Value):
    """What a fine-tuning did, and how the prefixes improved.

    Attributes:
        model: The model that was trained.
        out: The folder of the result.
        data: Name of the pairs.
        pairs: Pairs to train on; a step uses a batch of them.
        negatives: Hard negatives of each.
        held_out: Pairs used for evaluation.
        settings: The values of `FineTuneSettings`.
        steps: Batches trained on.
        planned: Batches planned; more than `steps` where time ran out.
        seconds: Seconds of training, of all processes together.
        resumed: The step from which this process resumed; None where it started.
        metric: "ndcg@10", or "spearman" for scored pairs.
        before: Its value on the held-out pairs by prefix length; empty where none were held out.
        after: The same after the training.
        agreement: Largest difference between torch and the float32 graph, least cosine of int8.
        log: Entries with step, loss, loss of each prefix, learning rate.

    Example:
        >>> report = FineTuneReport(
        ...     model="minilm", out="mine", data="pairs.jsonl", pairs=900,
        ...     negatives=0, held_out=100, settings={"batch_size": 64}, steps=14, planned=14,
        ...     seconds=90.0, resumed=None, metric="ndcg@10", before={384: 0.81, 64: 0.66},
        ...     after={384: 0.84, 64: 0.79}, agreement={"float32": 1e-6, "int8": 0.98}, log=(),
        ... )
        >>> print(report)
        mine: minilm fine-tuned on pairs.jsonl, 900 pairs
        14 steps of 64 pairs, 1.5 min; cosine of the int8 graph at least 0.980
        <BLANKLINE>
        ndcg@10 on 100 held-out pairs
        dims   before    after    change
        ────────────────────────────────
        384    0.8100   0.8400   +0.0300
        64     0.6600   0.7900   +0.1300
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
        """Returns everything as JSON values.

        Example:
            >>> report.as_dict()["after"]  # doctest: +SKIP
            {384: 0.84, 64: 0.79}
        """
        return asdict(self)

    def __str__(self) -> str:
        from nestling._util.console import table, table_text

        planned = "" if self.steps == self.planned else f" (of {self.planned:,}: time ran out)"
        lines = [
            f"{self.out}: {self.model} fine-tuned on {self.data}, {self.pairs:,} pairs",
            f"{self.steps:,} steps{planned} of {self.settings['batch_size']} pairs, "
            f"{self.seconds / 60:.1f} min; cosine of the int8 graph at least "
            f"{self.agreement['int8']:.3f}",
        ]
        if self.after:
            rows = [
                [
                    str(dims),
                    f"{self.before[dims]:.4f}",
                    f"{value:.4f}",
                    f"{value - self.before[dims]:+.4f}",
                ]
                for dims, value in self.after.items()
            ]
            title = f"{self.metric} on {self.held_out:,} held-out pairs"
            lines += ["", title, table_text(table(("dims", "before", "after", "change"), rows))]
        return "\n".join(lines)
