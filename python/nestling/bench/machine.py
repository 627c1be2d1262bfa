"""The machine on which a benchmark runs, and the cores that it uses."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nestling import _core

__all__ = ["Machine", "pinned"]

_CACHES: Final = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS: Final = {"K": 2**10, "M": 2**20, "G": 2**30}
# Where the system does not report them: a small common size for L2, a large one for the last level.
_L2_BYTES: Final = 512 * 2**10
_LAST_LEVEL_BYTES: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine, as far as results depend on it.

    Attributes:
        cpu: The processor's own name.
        system: Operating system and architecture.
        isa: Instruction set of the kernels in use.
        cores: Cores that the process may use.
        threads: Threads of searches and adds.
        pinned: The cores to which they are pinned; empty where the system does not support it.
        l2_bytes: Size of the second-level cache of a core.
        last_level_bytes: Size of the largest cache.
        load: The system's load average over the last minute, before the benchmark; None where the
            system has none. Far above 0 means that other processes were running.
    """

    cpu: str
    system: str
    isa: str
    cores: int
    threads: int
    pinned: tuple[int, ...]
    l2_bytes: int
    last_level_bytes: int
    load: float | None

    @property
    def use(self) -> str:
        """The cores in use, in words."""
        where = f"pinned to {', '.join(map(str, self.pinned))}" if self.pinned else "not pinned"
        load = "" if self.load is None else f", load {self.load:.1f} before the start"
        return f"{self.threads} of {self.cores} cores, {where}{load}"

    @classmethod
    def here(cls, *, threads: int) -> Machine:
        """Describes this machine, and chooses the cores for `threads` threads.

        They are the last ones allowed, because the first tends to serve interrupts.

        Example:
            >>> Machine.here(threads=1).threads
            1
        """
        affinity = getattr(os, "sched_getaffinity", None)
        allowed = sorted(affinity(0)) if affinity else []
        caches = _cache_sizes()
        return cls(
            cpu=_cpu_name(),
            system=f"{platform.system()} {platform.machine()}",
            isa=_core.isa(),
            cores=len(allowed) or os.cpu_count() or 1,
            threads=threads,
            pinned=tuple(allowed[-threads:]),
            l2_bytes=caches.get(2, _L2_BYTES),
            last_level_bytes=max(caches.values(), default=_LAST_LEVEL_BYTES),
            load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        )


@contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """Pins the calling thread, and those that it starts, to cores; none of them changes nothing."""
    if not cores or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cache_sizes() -> dict[int, int]:
    """Returns bytes by level of the first core's data caches, where Linux reports them."""
    sizes = {}
    for cache in _CACHES.glob("index*"):
        try:
            kind = (cache / "type").read_text().strip()
            level = int((cache / "level").read_text())
            size = (cache / "size").read_text().strip()
        except (OSError, ValueError):
            continue
        if kind != "Instruction" and size[-1:] in _UNITS:
            sizes[level] = int(size[:-1]) * _UNITS[size[-1]]
    return sizes
