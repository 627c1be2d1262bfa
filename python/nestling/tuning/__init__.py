"""The fastest funnel that finds enough, measured on this machine with the user's own rows.

`Index.tune` calls it: queries with their exact rows (`queries`) choose among first stages on a
sample (`screen`), all rows are stored for the best of them, keeps and margins are read off one
search (`curve`), confirmed by queries that did not choose (`trial_index`, `confidence`), and timed
in turn (`speed`).
"""

from nestling.tuning.report import Trial, TuneReport
from nestling.tuning.target import Prefer, TuningTarget
from nestling.tuning.tuner import tune

__all__ = ["Prefer", "Trial", "TuneReport", "TuningTarget", "tune"]
