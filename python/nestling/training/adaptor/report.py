"""The report of an adaptor's training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nestling._util.value import Value

__all__ = ["AdaptorReport"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AdaptorReport(Value):
    """What the training of an adaptor did, and how the prefixes improved.

    Attributes:
        model: The encoder's name.
        fingerprint: Fingerprint of the encoder that was adapted.
        out: The folder of the result.
        texts: Texts trained on.
        pairs: Questions with answers trained on.
        settings: The values of `AdaptorSettings`.
        start: "principal axes", or "the encoder itself" where its prefixes were already better.
        steps: Steps taken.
        seconds: Seconds of the descent, of all processes together.
        resumed: The step from which this process resumed; None where it started.
        before: The loss on held-out anchors by prefix length, at the start.
        after: The loss of the result.
        difference: The largest difference in a component between the folded graph's embeddings and
            the rotated ones.
        log: The evaluations: step, loss, loss of each prefix.

    Example:
        >>> report = AdaptorReport(
        ...     model="minilm", fingerprint="0123456789abcdef", out="mine", texts=10_000, pairs=0,
        ...     settings={}, start="principal axes", steps=300, seconds=60.0, resumed=None,
        ...     before={16: 2.31, 384: 0.0}, after={16: 1.92, 384: 0.0}, difference=1e-6, log=(),
        ... )
        >>> print(report)
        mine: minilm adapted to 10,000 texts
        300 steps from principal axes, 1.0 min; the folded graph agrees to 1e-06
        <BLANKLINE>
        loss on held-out anchors
        dims   before    after
        ──────────────────────
        16     2.3100   1.9200
        384    0.0000   0.0000
    """

    model: str
    fingerprint: str
    out: str
    texts: int
    pairs: int
    settings: Mapping[str, Any]
    start: str
    steps: int
    seconds: float
    resumed: int | None
    before: Mapping[int, float]
    after: Mapping[int, float]
    difference: float
    log: tuple[Mapping[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as JSON values.

        Example:
            >>> report.as_dict()["after"]  # doctest: +SKIP
            {16: 1.92, 384: 0.0}
        """
        return asdict(self)

    def __str__(self) -> str:
        from nestling._util.console import table, table_text

        pairs = f" and {self.pairs:,} pairs" if self.pairs else ""
        rows = [
            [str(dims), f"{self.before[dims]:.4f}", f"{loss:.4f}"]
            for dims, loss in self.after.items()
        ]
        lines = [
            f"{self.out}: {self.model} adapted to {self.texts:,} texts{pairs}",
            f"{self.steps:,} steps from {self.start}, {self.seconds / 60:.1f} min; the folded "
            f"graph agrees to {self.difference:.1g}",
            "",
            "loss on held-out anchors",
            table_text(table(("dims", "before", "after"), rows)),
        ]
        return "\n".join(lines)
