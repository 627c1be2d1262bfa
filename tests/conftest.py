"""Profiles of hypothesis, for all tests.

- "default": a developer's run. New examples each time; those that failed are kept in `.hypothesis`
  and run first the next time.
- "ci": the same examples each time, and a failure prints the line that reproduces it.
- "search": many examples, to look for faults:
  `HYPOTHESIS_PROFILE=search pytest tests/api/test_filters.py`.

HYPOTHESIS_PROFILE names one; without it, "ci" where the environment variable CI is true, otherwise
"default".

Temporary folders are in memory where the system has room for them there, unless TMPDIR names
another place: thousands of flushes to a disk would take most of the time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

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

_MEMORY = Path("/dev/shm")  # Linux
_ROOM = 4 << 30  # bytes; containers often have 64 MB there
if (
    "TMPDIR" not in os.environ
    and os.access(_MEMORY, os.W_OK)
    and shutil.disk_usage(_MEMORY).free > _ROOM
):
    tempfile.tempdir = os.environ["TMPDIR"] = str(_MEMORY)  # the latter for processes of tests
