"""What the commands show: messages, tables, JSON, and texts that are safe for a terminal."""

from __future__ import annotations

import io
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

__all__ = [
    "console",
    "notify",
    "plain",
    "print_json",
    "print_records",
    "print_table",
    "snippet",
    "squeezed",
    "table",
    "table_text",
]

_BLANKS: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_PIPE_WIDTH: Final = 10_000  # of tables that no terminal has to show: no cell is ever cut


def console(*, stderr: bool = False) -> Console:
    """Returns a console on the current streams that highlights nothing by itself.

    Example:
        >>> console().print("3 documents")
        3 documents
    """
    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def notify(message: str) -> None:
    """Prints a message for the user on stderr."""
    console(stderr=True).print(message, markup=False, style="dim")


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str] | None],
    *,
    title: str | None = None,
    align: str | None = None,
) -> Table:
    """Returns a table, by default with names on the left and numbers aligned on the right.

    Args:
        columns: The header; no header line is printed when every name is empty.
        rows: A string for each column; None draws a line between two rows.
        title: A line above the table.
        align: "l" or "r" for each column. Default: the first on the left, the others on the right.

    Example:
        >>> print(table_text(table(["dims", "recall"], [["64", "0.91"], ["256", "1.00"]])))
        dims   recall
        ─────────────
        64       0.91
        256      1.00
    """
    grid = Table(
        title=None if title is None else Text(title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        show_header=any(columns),
    )
    sides = align or "l" + "r" * (len(columns) - 1)
    for name, side in zip(columns, sides, strict=True):
        right = side == "r"
        grid.add_column(Text(name), justify="right" if right else "left", no_wrap=right)
    for row in rows:
        if row is None:
            grid.add_section()
        else:
            grid.add_row(*map(Text, row))
    return grid


def print_table(grid: Table, out: Console) -> None:
    """Prints a table: fitted to a terminal, but never wrapped or cut in a pipe or a file.

    Example:
        >>> print_table(table(["dims", "recall"], [["64", "0.91"]]), console())
        dims   recall
        ─────────────
        64       0.91
    """
    if out.is_terminal:
        if grid.title is not None:
            out.print(grid.title)
        out.print(_untitled(grid))
    else:
        out.print(table_text(grid, ascii_only=out.options.ascii_only), markup=False)


def print_records(
    columns: Sequence[str], rows: Sequence[Sequence[str]], out: Console, *, align: str
) -> None:
    """Prints a table where a terminal has the room; else each row in lines, under its first cell.

    Args:
        columns: As for `table`.
        rows: As for `table`.
        out: Where to.
        align: As for `table`.

    Example:
        >>> print_records(["model", "dims"], [["minilm", "384"]], console(), align="lr")
        model    dims
        ─────────────
        minilm    384
    """
    grid = table(columns, rows, align=align)
    if not out.is_terminal or max(map(len, table_text(grid).splitlines())) <= out.width:
        print_table(grid, out)
        return
    for name, *cells in rows:
        facts = zip(columns[1:], cells, strict=True)
        line = "; ".join(f"{column} {cell}".strip() for column, cell in facts if cell)
        out.print(Text(name, style="bold"))
        out.print(Padding(Text(line), (0, 0, 0, 2)), soft_wrap=False)


def table_text(grid: Table, *, ascii_only: bool = False) -> str:
    """Returns a table as plain text, without colours or trailing spaces.

    Args:
        grid: The table.
        ascii_only: Whether lines are drawn in ASCII.
    """
    out = Console(file=io.StringIO(), width=_PIPE_WIDTH, color_system=None, _environ={})
    options = replace(out.options, encoding="ascii" if ascii_only else "utf-8")
    lines = out.render_lines(_untitled(grid), options, pad=False)
    texts = ("".join(segment.text for segment in line).rstrip() for line in lines)
    return "\n".join([*([] if grid.title is None else [str(grid.title)]), *texts]).strip("\n")


def _untitled(grid: Table) -> Table:
    """Returns a table without its title, which rich would wrap to the width of the columns."""
    body = copy(grid)
    body.title = None
    return body


def print_json(value: Any) -> None:
    """Prints one JSON document on one line of stdout, in the characters its encoding has.

    Example:
        >>> print_json({"rows": 3})
        {"rows": 3}
    """
    unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    # A lone surrogate cannot be encoded: stdout replaces it by its JSON escape.
    print(json.dumps(value, ensure_ascii=not unicode), flush=True)


def plain(text: str) -> str:
    r"""Returns `text` on one line, without the control characters that would move a terminal.

    Example:
        >>> plain(" two\n lines ")
        'two lines'
    """
    return squeezed(text).strip()


def squeezed(text: str) -> str:
    r"""Returns `text` like `plain`, but keeps a space at an end that had white space.

    Example:
        >>> squeezed(" two\n lines ")
        ' two lines '
    """
    return _BLANKS.sub(" ", text)


def snippet(text: str, width: int) -> str:
    """Returns the start of `text` on one line of at most `width` characters, cut between words.

    Letters keep their order: the terminal lays out right-to-left text.

    Example:
        >>> snippet("short prefixes find, longer ones re-rank", 24)
        'short prefixes find, …'
    """
    line = plain(text)
    short = textwrap.shorten(line, width, placeholder=" …")
    # Text without spaces cannot be cut between words.
    return short if len(short) * 2 > min(width, len(line)) else f"{line[: width - 2]} …"
