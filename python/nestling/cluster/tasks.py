"""Functions run as tasks on Ray, which schedules them, and again where they were killed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from nestling._util.progress import ProgressBar
from nestling.cluster.packages import connected_ray, value_of
from nestling.errors import StorageError

__all__ = ["TaskOptions", "run_tasks"]

# A task with such an error may succeed on another node, or a moment later. What is wrong with the
# source or the encoder would be wrong again.
_RETRIED: Final = [StorageError]
_LOST: Final = "a task was given up after its retries"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What Ray gives to each task.

    Attributes:
        threads: Cores.
        memory: Bytes; 0 for an unknown number.
        retries: How often a task is run again that was killed, or whose storage failed.
    """

    threads: int = 1
    memory: int = 0
    retries: int = 5

    def for_ray(self) -> dict[str, Any]:
        """Returns the options as `ray.remote` takes them."""
        return {
            "num_cpus": self.threads,
            "max_retries": self.retries,
            "retry_exceptions": _RETRIED,
            "scheduling_strategy": "SPREAD",
            **({"memory": self.memory} if self.memory else {}),
        }


def run_tasks(
    function: Callable[..., Any],
    shared: Any,
    arguments: Sequence[tuple[Any, ...]],
    options: TaskOptions,
    *,
    title: str,
    progress: bool | None = None,
    returns: int = 1,
) -> list[Any]:
    """Calls a function once for each tuple of arguments, and returns what each call returned.

    Args:
        function: The function; its first parameter gets `shared`.
        shared: What all calls share; sent to each node once.
        arguments: The other arguments of each call; references of Ray are replaced by their values.
        options: What Ray gives to each task.
        title: What a progress bar calls the work.
        progress: Whether to show a bar on stderr. Default: on a terminal, after two seconds.
        returns: How many values the function returns. Of several, those after the first stay in the
            object store of Ray, and references to them are returned.

    Raises:
        NestlingError: As the function raised it; the other tasks are cancelled.
        ClusterError: A task was killed again and again.
    """
    if not arguments:
        return []
    ray = connected_ray()
    remote = ray.remote(**options.for_ray(), num_returns=returns)(function)
    common = ray.put(shared)
    calls = [remote.remote(common, *each) for each in arguments]
    firsts = [call[0] if returns > 1 else call for call in calls]
    waiting = list(firsts)
    try:
        with ProgressBar(title, total=len(firsts), show=progress) as bar:
            while waiting:
                done, waiting = ray.wait(waiting, num_returns=1)
                for each in done:
                    value_of(each, lost=_LOST)
                bar.advance(len(done))
        values = [value_of(first, lost=_LOST) for first in firsts]
    except BaseException:
        for each in waiting:
            ray.cancel(each, force=True)
        raise
    if returns == 1:
        return values
    return [(value, *call[1:]) for value, call in zip(values, calls, strict=True)]
