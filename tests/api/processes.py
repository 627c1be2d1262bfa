"""Processes that a test did not start itself."""

from __future__ import annotations

import os
from pathlib import Path


def running(pid: int) -> bool:
    """Whether the process exists and is not a zombie that its new parent has yet to reap."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
