"""Cases run in child processes, so that a crash of one is seen, and costs one."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "api")]

_BATCH = 8  # seeds between two looks at the clock


def main(case: Callable[[int], str | None], description: str) -> None:
    """Runs `case(seed)` for seed after seed; it returns what is wrong, None where nothing is."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--once", action="store_true", help="this seed alone, in this process")
    asked = parser.parse_args()
    if asked.once:
        print(case(asked.seed) or "nothing is wrong")
        return
    seed, faults, end = asked.seed, 0, time.monotonic() + asked.seconds
    pool = ProcessPoolExecutor(1)
    while time.monotonic() < end:
        batch = [(one, pool.submit(case, one)) for one in range(seed, seed + _BATCH)]
        for one, future in batch:
            try:
                fault = future.result(120)
            except BrokenProcessPool:
                fault = "the process died; run the seeds about this one with --once"
                pool = ProcessPoolExecutor(1)
            except TimeoutError:
                fault = "took more than two minutes"
            if fault:
                faults += 1
                print(f"seed {one}: {fault}", flush=True)
        seed += _BATCH
    pool.shutdown()
    print(f"{seed - asked.seed:,} cases, {faults} faults")
    sys.exit(faults > 0)
