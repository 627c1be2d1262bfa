"""Profiles of hypothesis, for all tests.

- "default": a developer's run. New examples each time; those that failed are kept in `.hypothesis`
  and run first the next time.
- "ci": the same examples each time, and a failure prints the line that reproduces it.
- "search": many examples, to look for faults:
  `HYPOTHESIS_PROFILE=search pytest tests/api/test_filters.py`.

HYPOTHESIS_PROFILE names one; without it, "ci" where the environment variable CI is true, otherwise
"default".
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "default", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "ci", settings.get_profile("default"), derandomize=True, database=None, print_blob=True
)
settings.register_profile("search", settings.get_profile("default"), max_examples=5_000)

_on_ci = os.environ.get("CI", "").lower() in ("true", "1")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if _on_ci else "default"))
