"""What the commands show: messages, progress, and JSON."""

from __future__ import annotations

import json
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console

__all__ = ["Advance", "console", "plain", "print_json", "progress", "snippet", "tell"]

Advance = Callable[[int, int], None]
"""Takes how many are done, and how many there are."""

QUICK_SECONDS: Final = 2.0
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def console(*, stderr: bool = False) -> Console:
    """Returns a console on the current streams that colours nothing by itself."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def tell(message: str) -> None:
    """Tells the user something, on stderr."""
    console(stderr=True).print(message, markup=False, style="dim")


def print_json(value: Any) -> None:
    """Prints one JSON document on a line of stdout, in the characters that its encoding has."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    # Half a surrogate pair cannot be encoded: stdout writes its JSON escape in its place.
    print(json.dumps(value, ensure_ascii=not unicode), flush=True)


@contextmanager
def progress(what: str, *, unit: str = "texts") -> Iterator[Advance]:
    """Yields a callback that shows a bar on stderr, once the work has taken two seconds.

    Where stderr is not a terminal nothing is shown.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    screen = console(stderr=True)
    started = time.monotonic()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}, {task.fields[rate]:,.0f}/s,"),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
    task = bar.add_task(what, total=None, unit=unit, rate=0.0)
    running = False

    def advance(done: int, total: int) -> None:
        nonlocal running
        elapsed = time.monotonic() - started
        if not running and elapsed > QUICK_SECONDS:
            bar.start()
            running = True
        bar.update(task, completed=done, total=total, rate=done / max(elapsed, 1e-9))

    try:
        yield advance
    finally:
        bar.stop()


def plain(text: str) -> str:
    """Returns `text` on one line, without the control characters that would move a terminal."""
    return " ".join(_CONTROLS.sub(" ", text).split())


def snippet(text: str, width: int) -> str:
    """Returns the start of `text` on one line of at most `width` characters, cut between words.

    Letters and their order are left as they are: right-to-left text is laid out by the terminal.
    """
    line = plain(text)
    short = textwrap.shorten(line, width, placeholder=" …")
    # Text without spaces has no place to cut between words.
    return short if len(short) * 2 > min(width, len(line)) else f"{line[: width - 2]} …"
