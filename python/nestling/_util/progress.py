"""A progress bar that appears only when the work takes long."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["ProgressBar"]

_PATIENCE: Final = 2.0  # seconds of work before a bar appears by default


class ProgressBar:
    """A bar on stderr, as a context manager.

    Args:
        title: The work, in a few words.
        total: Total number of steps; None if unknown.
        show: Whether to show the bar. None: if the work takes more than two seconds and stderr is a
            terminal.

    Example:
        >>> with ProgressBar("encoding", total=2, show=False) as bar:
        ...     bar.advance()
    """

    def __init__(self, title: str, *, total: int | None, show: bool | None = None) -> None:
        self._title = title
        self._total = total
        self._done = 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        shown = sys.stderr is not None and sys.stderr.isatty() if show is None else show
        patience = 0.0 if show else _PATIENCE
        self._due = time.monotonic() + patience if shown else float("inf")

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, steps: int = 1) -> None:
        """Reports that `steps` more are done.

        Example:
            >>> with ProgressBar("encoding", total=5, show=False) as bar:
            ...     bar.advance(5)
        """
        self._done += steps
        if self._bar is None and time.monotonic() >= self._due:
            self._start()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done)

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=console.is_terminal,  # otherwise only the finished bar is written
        )
        self._task = self._bar.add_task(self._title, total=self._total)
        self._bar.start()
