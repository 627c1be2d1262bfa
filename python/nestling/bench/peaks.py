"""The limits of the cores in use: bytes read and multiply-adds per second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from nestling import _core
from nestling._util.timing import Rounds, Spread, Task, Values
from nestling.bench.machine import Machine
from nestling.index.funnel import COARSE_BITS

__all__ = ["CODED_BITS", "Peaks", "peak_tasks"]

CODED_BITS: Final = tuple(bits for bits in COARSE_BITS if bits < 16)
_MEMORY, _L2 = "read memory", "read L2"
_ENOUGH: Final = 0.004  # least seconds of a call
_CALLS: Final = 5
_LEAST_BUFFER: Final = 2**28


@dataclass(frozen=True, slots=True)
class Peaks:
    """Measured limits of the cores in use together. The limit is the best round, `high`.

    Attributes:
        memory: Bytes read per second from a buffer of eight times the largest cache.
        l2: Bytes read per second from a buffer of half the second-level cache.
        multiply_adds: By the bits of the codes, multiply-adds per second of the scan's own inner
            loop on rows that stay in registers. The codes are unpacked once: the limit of a batch,
            as a single query unpacks every tile for itself.
    """

    memory: Spread
    l2: Spread
    multiply_adds: dict[int, Spread]

    @classmethod
    def of(cls, results: Mapping[str, Rounds]) -> Peaks:
        """Summarises the results of `peak_tasks`."""
        return cls(
            memory=Spread.of(results[_MEMORY]),
            l2=Spread.of(results[_L2]),
            multiply_adds={bits: Spread.of(results[_multiply_adds(bits)]) for bits in CODED_BITS},
        )


def peak_tasks(machine: Machine) -> dict[str, Task]:
    """Returns the measurements of all peaks, for `interleave`."""
    memory = max(8 * machine.last_level_bytes, _LEAST_BUFFER) // machine.threads

    def read(size: int, rounds: int) -> float:
        return _core.read_bandwidth(bytes=size, rounds=rounds)

    def multiply_add(bits: int, rounds: int) -> float:
        return _core.multiply_add_peak(bits=bits, rounds=rounds)

    probes: dict[str, Callable[[int], float]] = {
        _MEMORY: partial(read, memory),
        _L2: partial(read, machine.l2_bytes // 2),
    }
    probes |= {_multiply_adds(bits): partial(multiply_add, bits) for bits in CODED_BITS}
    return {name: partial(_together, probe, machine.threads) for name, probe in probes.items()}


def _multiply_adds(bits: int) -> str:
    return f"multiply-adds {bits}"


def _together(probe: Callable[[int], float], threads: int) -> Values:
    """Runs the probe on several threads at once, and adds up their rates: (1,)."""
    if threads == 1:
        return np.array([_best(probe)])
    with ThreadPoolExecutor(threads) as pool:
        return np.array([sum(pool.map(_best, [probe] * threads))])


def _best(probe: Callable[[int], float]) -> float:
    """Returns the best rate of a few short calls, so that an interrupted call does not count."""
    rounds = 1
    while True:
        start = time.perf_counter()
        rate = probe(rounds)
        if time.perf_counter() - start >= _ENOUGH:
            return max(rate, *(probe(rounds) for _ in range(_CALLS - 1)))
        rounds *= 4
