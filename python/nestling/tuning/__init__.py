"""Finds the fastest funnel that reaches a recall, measured on this machine with the user's rows.

`Index.tune` calls it. Queries with their exact hits (`queries`) choose among coarse stages on a
sample of the rows (`screen`). All rows are stored for the best of them; keeps and margins are read
off one search (`curve`), confirmed by queries that did not choose (`trial_index`, `confidence`),
and timed in turn (`speed`).
"""

from nestling.tuning.report import Trial, TuneReport
from nestling.tuning.target import Prefer, TuningTarget
from nestling.tuning.tuner import tune

__all__ = ["Prefer", "Trial", "TuneReport", "TuningTarget", "tune"]
