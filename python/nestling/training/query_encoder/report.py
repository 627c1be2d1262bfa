"""The report of a query encoder's training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nestling._util.value import Value

__all__ = ["QueryEncoderReport"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class QueryEncoderReport(Value):
    """What the training of a query encoder did, and how near it comes to its teacher.

    Pieces of texts that were not trained on stand for questions; the text that one was cut from is
    its only right answer. Real questions have words that the texts lack, so they may lose more.

    Attributes:
        model: The teacher's name.
        fingerprint: The teacher's fingerprint.
        out: The folder of the result.
        texts: Texts that were cut into pieces.
        pieces: Pieces trained on.
        queries: Queries of the caller trained on.
        held_out: Pieces measured on.
        settings: The values of `QueryEncoderSettings`.
        rows: Tokens that have a row.
        grams: Runs of letters inside words that have one.
        pairs: Pairs of neighbouring tokens that have one.
        size: Bytes of the rows.
        seconds: Seconds of this call.
        cosines: Mean cosine to the teacher by prefix length, on the held-out pieces.
        metric: "ndcg@10".
        teacher: Its value of the teacher on the held-out pieces.
        fast: Its value of the query encoder.
        refine_below: The margin below which `refine="auto"` asks the teacher.
        refined: Share of the held-out pieces that are below it.

    Example:
        >>> report = QueryEncoderReport(
        ...     model="minilm", fingerprint="0123456789abcdef", out="fast", texts=1_000,
        ...     pieces=47_000, queries=0, held_out=2_000, settings={}, rows=30_000, grams=25_000,
        ...     pairs=20_000, size=30_000_000, seconds=75.0, cosines={48: 0.9, 384: 0.87},
        ...     metric="ndcg@10", teacher=0.8, fast=0.76, refine_below=0.1, refined=0.3,
        ... )
        >>> print(report)
        fast: queries for minilm, from 47,000 pieces of 1,000 texts
        rows of 30,000 tokens, 25,000 runs of letters and 20,000 pairs, 30.0 MB; 1.2 min
        on 2,000 pieces of other texts: cosine to minilm 0.900 (48), 0.870 (384)
        ndcg@10 of finding their text: 0.760, minilm 0.800 (95.0 %); 30 % would be refined
    """

    model: str
    fingerprint: str
    out: str
    texts: int
    pieces: int
    queries: int
    held_out: int
    settings: Mapping[str, Any]
    rows: int
    grams: int
    pairs: int
    size: int
    seconds: float
    cosines: Mapping[int, float]
    metric: str
    teacher: float
    fast: float
    refine_below: float
    refined: float

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as JSON values.

        Example:
            >>> report.as_dict()["fast"]  # doctest: +SKIP
            0.76
        """
        return asdict(self)

    def __str__(self) -> str:
        queries = f" and {self.queries:,} queries" if self.queries else ""
        cosines = ", ".join(f"{value:.3f} ({dims})" for dims, value in self.cosines.items())
        share = f" ({100 * self.fast / self.teacher:.1f} %)" if self.teacher else ""
        return (
            f"{self.out}: queries for {self.model}, from {self.pieces:,} pieces of "
            f"{self.texts:,} texts{queries}\n"
            f"rows of {self.rows:,} tokens, {self.grams:,} runs of letters and {self.pairs:,} "
            f"pairs, {self.size / 1e6:.1f} MB; {self.seconds / 60:.1f} min\n"
            f"on {self.held_out:,} pieces of other texts: cosine to {self.model} {cosines}\n"
            f"{self.metric} of finding their text: {self.fast:.3f}, {self.model} "
            f"{self.teacher:.3f}{share}; {100 * self.refined:.0f} % would be refined"
        )
