"""How long `import nestling` takes where numpy is imported already."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

SCRIPT = """
import numpy, time
start = time.perf_counter()
import nestling
print(time.perf_counter() - start)
"""


def test_import(benchmark: Any) -> None:
    """In a process of its own each round, whose start counts too; `import, ms` is without it."""
    seconds: list[float] = []

    def run() -> None:
        command = [sys.executable, "-c", SCRIPT]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds.append(float(shown))

    benchmark.group = "import"
    benchmark.pedantic(run, rounds=7, warmup_rounds=1)
    benchmark.extra_info["import, ms"] = round(min(seconds) * 1e3, 1)
