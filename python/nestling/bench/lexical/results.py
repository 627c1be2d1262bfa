"""What the benchmark found, as values that become JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nestling._util.timing import Spread
from nestling.bench.lexical.engine import Selected
from nestling.bench.machine import Machine
from nestling.bench.peers.measure import Timing

__all__ = ["Case", "CaseResult", "LexicalReport", "Outcome", "Size", "agreement"]


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of search.

    Attributes:
        questions: "short" or "long".
        k: Documents per question.
        percent: Percent of the documents that pass its filter; None for no filter.
    """

    questions: str
    k: int
    percent: int | None

    @property
    def where(self) -> Selected | None:
        """Its filter. It is the same in every search: engines that cache one may do so.

        Raises:
            KeyError: There is no filter of that many percent.
        """
        if self.percent is None:
            return None
        return {1: Selected("hundredth", 0), 50: Selected("half", 0)}[self.percent]

    @property
    def name(self) -> str:
        """The case in words.

        Example:
            >>> Case("short", 10, 1).name
            'short, top 10, filter of 1 %'
        """
        filtered = "" if self.percent is None else f", filter of {self.percent} %"
        return f"{self.questions}, top {self.k:,}{filtered}"


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One engine's speed in one case; times in seconds.

    Attributes:
        case: The case.
        p50: Median latency of questions one by one.
        p99: 99th percentile of all rounds together.
        latency_questions: Questions that were searched one by one in a round.
        questions_per_second: Rate of many questions in one call, or one after another where the
            library has no such call.
        batch: How many these were in a round.
        agreement: Share of the first engine's documents that it found too, over the questions that
            both answered; None for the first engine itself.
    """

    case: Case
    p50: Spread
    p99: float
    latency_questions: int
    questions_per_second: Spread
    batch: int
    agreement: float | None

    @classmethod
    def of(cls, case: Case, rounds: Sequence[Timing], agreement: float | None) -> CaseResult:
        """Summarises at least one round."""
        first = rounds[0]
        return cls(
            case=case,
            p50=Spread.of([timing.latencies for timing in rounds]),
            p99=float(np.percentile(np.concatenate([t.latencies for t in rounds]), 99)),
            latency_questions=len(first.latencies),
            questions_per_second=Spread.of(
                [np.array([timing.queries_per_second]) for timing in rounds]
            ),
            batch=first.batch,
            agreement=agreement,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """One configuration of one engine.

    Attributes:
        engine: The library's name.
        version: Its version.
        configuration: The configuration's name.
        build_seconds: Seconds from the texts in memory to an index that answers; None if the build
            failed.
        bytes_per_document: Bytes of its index of words per document; None if the build failed.
        core_share: Share of its rounds' time in which it had a core; None without rounds.
        cases: Its results.
        error: The error that ended it early; None if there was none.
    """

    engine: str
    version: str
    configuration: str
    build_seconds: float | None
    bytes_per_document: float | None
    core_share: float | None
    cases: tuple[CaseResult, ...]
    error: str | None


@dataclass(frozen=True, slots=True)
class Size:
    """All engines, at one number of documents."""

    documents: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class LexicalReport:
    """All results of one run.

    Attributes:
        machine: Where it ran.
        rounds: Measured rounds of each case.
        origin: Where the documents come from, in words.
        words_per_document: Words of a document, on average.
        questions: How many questions there are of each kind.
        words_per_question: Words of a question that all engines search for, on average, by kind.
        absent: Engines that are not installed, and the distributions to install.
        sizes: The results at each number of documents, the smallest first.
    """

    machine: Machine
    rounds: int
    origin: str
    words_per_document: float
    questions: dict[str, int]
    words_per_question: dict[str, float]
    absent: dict[str, str]
    sizes: tuple[Size, ...]

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as JSON values."""
        return asdict(self)


def agreement(found: Sequence[Sequence[int]], expected: Sequence[Sequence[int]]) -> float | None:
    """Returns the share of the expected documents that were found, over the questions of both.

    Example:
        >>> agreement([[1, 2], [3]], [[2, 5]])
        0.5
    """
    pairs = [(set(a), set(b)) for a, b in zip(found, expected, strict=False)]
    total = sum(len(wanted) for _, wanted in pairs)
    return sum(len(got & wanted) for got, wanted in pairs) / total if total else None
