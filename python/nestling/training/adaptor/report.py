"""What a training of an adaptor did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["AdaptorReport"]


@dataclass(frozen=True, slots=True)
class AdaptorReport:
    """What a training of an adaptor did.

    Attributes:
        model: The encoder's name.
        fingerprint: Of the encoder that was adapted.
        out: The folder that has the result.
        texts: Texts learnt from.
        pairs: Questions with answers learnt from.
        settings: See `nestling.training.adaptor.settings`.
        start: "principal axes", or "the encoder itself" where its prefixes were better already.
        steps: Steps done.
        seconds: Of the descent, of all processes together.
        resumed: The step that this process went on from; None where it began.
        before: The loss on what was held out by prefix length, at the start.
        after: The same of the result.
        difference: The largest difference in a component between the folded graph and the product.
        log: The looks at what was held out: step, loss, loss of each prefix.
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
        """Returns everything as plain values, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        pairs = f" and {self.pairs:,} pairs" if self.pairs else ""
        lines = [
            f"{self.out}: {self.model} adapted to {self.texts:,} texts{pairs}",
            f"{self.steps:,} steps from {self.start}, {self.seconds / 60:.1f} min; the folded "
            f"graph agrees to {self.difference:.1g}",
            "",
            "loss on what was held out",
            f"{'dims':>8}{'before':>10}{'after':>10}",
        ]
        lines += [
            f"{dims:>8}{self.before[dims]:>10.4f}{loss:>10.4f}" for dims, loss in self.after.items()
        ]
        return "\n".join(lines)
