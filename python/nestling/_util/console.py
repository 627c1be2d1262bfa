"""What the commands show: messages, JSON, and texts that are safe for a terminal."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from typing import Any, Final

from rich.console import Console

__all__ = ["TOO_LONG", "console", "plain", "print_json", "snippet", "squeezed", "tell"]

TOO_LONG: Final = "The question is longer than the encoder reads; only its start was asked."
_BLANKS: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


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


def plain(text: str) -> str:
    """Returns `text` on one line, without the control characters that would move a terminal."""
    return squeezed(text).strip()


def squeezed(text: str) -> str:
    """Returns `text` as `plain` does, but with a space at an end that had white space there."""
    return _BLANKS.sub(" ", text)


def snippet(text: str, width: int) -> str:
    """Returns the start of `text` on one line of at most `width` characters, cut between words.

    Letters and their order are left as they are: right-to-left text is laid out by the terminal.
    """
    line = plain(text)
    short = textwrap.shorten(line, width, placeholder=" …")
    # Text without spaces has no place to cut between words.
    return short if len(short) * 2 > min(width, len(line)) else f"{line[: width - 2]} …"
