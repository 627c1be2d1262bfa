"""Fills in the arguments and options of each command, so that the site says what `--help` says.

A line `<!-- options: index -->` in a page becomes the usage of `nestling index`, and a table of its
arguments and options. They are read from the signatures that the command line itself is made of.
"""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

_MARKER: Final = re.compile(r"^<!-- options: ([a-z -]+?) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replaces the markers of a page."""
    if not _MARKER.search(markdown):
        return markdown
    from nestling.cli import app

    commands = dict(_commands(app))
    return _MARKER.sub(lambda match: _options(match[1], commands[match[1]]), markdown)


def _commands(app: typer.Typer, prefix: str = "") -> list[tuple[str, Callable[..., Any]]]:
    """Returns every command of an application, and of those within it, by its name."""
    found = []
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-")
        found.append((f"{prefix}{name}", command.callback))
    for group in app.registered_groups:
        assert group.typer_instance is not None
        root = group.typer_instance.registered_callback
        if root is not None and root.callback is not None:  # a group that is a command by itself
            found.append((f"{prefix}{group.name}", root.callback))
        found += _commands(group.typer_instance, f"{prefix}{group.name} ")
    return found


@dataclass(frozen=True, slots=True)
class _Parameter:
    """An argument or option of a command."""

    name: str
    info: ArgumentInfo | OptionInfo
    kind: Any
    default: Any
    repeated: bool = False

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty

    @property
    def metavar(self) -> str:
        """What stands for an argument."""
        return self.info.metavar or self.name.upper()

    @property
    def names(self) -> tuple[str, ...]:
        """The names that an option is given, the first of which Typer takes for a default."""
        given = (self.info.default, *(self.info.param_decls or ()))
        named = tuple(name for name in given if isinstance(name, str) and name.startswith("-"))
        return named or (f"--{self.name.replace('_', '-')}",)

    @property
    def flags(self) -> str:
        """How an option is written."""
        names = ", ".join(self.names).replace("/", ", ")
        return names if self.kind is bool else f"{names} {self.value}"

    @property
    def value(self) -> str:
        """What stands for an option's value."""
        if self.info.metavar:
            return self.info.metavar
        if get_origin(self.kind) is Literal:
            return "|".join(map(str, get_args(self.kind)))
        return {int: "N", float: "X", str: "TEXT"}.get(self.kind, "PATH")

    @property
    def shown_default(self) -> str:
        """What holds where the parameter is left out; nothing where that says nothing."""
        if isinstance(self.info.show_default, str):
            return self.info.show_default
        if self.required or self.default is None or self.default == "" or self.default is False:
            return ""
        if self.kind is bool:
            return self.names[0].split("/")[0]
        return str(self.default)

    def line(self) -> str:
        """Returns the line of the table."""
        name = self.metavar if isinstance(self.info, ArgumentInfo) else self.flags
        text = _escaped(" ".join((self.info.help or "").split()))
        if self.required:
            text += " **Required.**"
        elif self.shown_default:
            text += f" Default: {_escaped(self.shown_default)}."
        code = html.escape(name).replace("|", "&#124;")
        return f"| <code>{code}</code> | {text} |"


def _options(name: str, command: Callable[..., Any]) -> str:
    """Returns the usage and the table of one command."""
    hints = get_type_hints(command, include_extras=True)
    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if get_origin(hint) is Annotated:
            kind, info = get_args(hint)[:2]
            bare, repeated = _bare(kind)
            parameters.append(_Parameter(parameter.name, info, bare, parameter.default, repeated))
    arguments = [one for one in parameters if isinstance(one.info, ArgumentInfo)]
    options = [one for one in parameters if isinstance(one.info, OptionInfo)]
    words = [
        (one.metavar if one.required else f"[{one.metavar}]") + "..." * one.repeated
        for one in arguments
    ]
    usage = " ".join(["nestling", name, *words, "[OPTIONS]"])
    table = [
        "| Argument or option | Meaning |",
        "|---|---|",
        *(one.line() for one in (*arguments, *options)),
    ]
    return "\n".join(["```text", usage, "```", "", *table])


def _bare(kind: Any) -> tuple[Any, bool]:
    """Returns a type without None and without the list around it, and whether there was one."""
    if get_origin(kind) in (Union, type(int | None)):
        kind = next(one for one in get_args(kind) if one is not type(None))
    repeated = get_origin(kind) is list
    return get_args(kind)[0] if repeated else kind, repeated


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
