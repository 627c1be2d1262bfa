"""Fills in the options of each command, so that the site says what `--help` says.

A line `<!-- options: index -->` in a page becomes the usage of `nestling index`, and a table of its
arguments and options.
"""

from __future__ import annotations

import html
import re
from typing import Any, Final

_MARKER: Final = re.compile(r"^<!-- options: ([a-z ]+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replaces the markers of a page."""
    if not _MARKER.search(markdown):
        return markdown
    import typer

    from nestling.cli import app

    root = typer.main.get_command(app)
    return _MARKER.sub(lambda match: _options(root, match[1].split()), markdown)


def _options(command: Any, names: list[str]) -> str:
    """Returns the usage and the table of one command."""
    for name in names:
        command = command.commands[name]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
    usage = ["nestling", *names, *map(_usage, arguments), "[OPTIONS]"]
    lines = ["```text", " ".join(usage), "```", "", "| | |", "|---|---|"]
    lines += [_line(_metavar(parameter), parameter) for parameter in arguments]
    lines += [_line(_flags(parameter), parameter) for parameter in options]
    return "\n".join(lines)


def _line(name: str, parameter: Any) -> str:
    text = _escaped(" ".join((parameter.help or "").split()))
    default = _default(parameter)
    if parameter.required:
        text += " **Required.**"
    elif default:
        text += f" Default: {_escaped(default)}."
    return f"| <code>{html.escape(name)}</code> | {text} |"


def _usage(argument: Any) -> str:
    name = _metavar(argument)
    return name if argument.required else f"[{name}]"


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper()).strip("[]")


def _flags(option: Any) -> str:
    flags = ", ".join([*option.opts, *option.secondary_opts])
    return flags if option.is_flag else f"{flags} {_value(option)}"


def _value(option: Any) -> str:
    if option.metavar:
        return str(option.metavar)
    choices = getattr(option.type, "choices", None)
    if choices:
        return "|".join(map(str, choices))
    return {"integer": "N", "integer range": "N", "float": "X", "float range": "X"}.get(
        option.type.name, "FILE" if option.type.name in ("path", "file") else "TEXT"
    )


def _default(option: Any) -> str:
    if isinstance(option.show_default, str):
        return option.show_default
    if option.default is None or callable(option.default):
        return ""
    if option.is_flag:
        return option.opts[0] if option.default and option.secondary_opts else ""
    if isinstance(option.default, (list, tuple)):
        return ", ".join(map(str, option.default))
    return str(option.default)


def _escaped(text: str) -> str:
    """Returns text with the characters that Markdown or a table would take for its own."""
    parts = re.split(r"(`[^`]*`|'\{.*?\}')", text)
    for position, part in enumerate(parts):
        if position % 2:
            code = html.escape(part.strip("`")).replace("|", "&#124;")
            parts[position] = f"<code>{code}</code>"
        else:
            parts[position] = re.sub(r"([|*_<>\[\]])", r"\\\1", part)
    return "".join(parts)
