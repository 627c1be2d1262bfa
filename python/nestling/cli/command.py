"""Commands whose arguments and options are the fields of one dataclass."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

__all__ = ["command"]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Makes a function that takes a dataclass of options into one that Typer can read.

    Typer reads the arguments and options of a command from a flat signature. The result has one
    keyword parameter for each field, with the field's type, `typer.Argument` or `typer.Option`, and
    default; it builds the dataclass from them and calls `function`.

    Args:
        function: One of its parameters is annotated with a dataclass. Others, such as the context,
            are passed on as they are.

    Example:
        >>> import dataclasses, inspect
        >>> @dataclasses.dataclass(frozen=True, kw_only=True)
        ... class Options:
        ...     source: str
        ...     count: int = 10
        >>> @command
        ... def show(options: Options) -> None:
        ...     print(options.source, options.count)
        >>> inspect.signature(show)
        <Signature (*, source: str, count: int = 10) -> None>
        >>> show(source="corpus.jsonl")
        corpus.jsonl 10
    """
    hints = get_type_hints(function, include_extras=True)
    (name,) = [key for key, hint in hints.items() if dataclasses.is_dataclass(hint)]
    options: Any = hints[name]
    fields = get_type_hints(options, include_extras=True)
    given = {key: hints[key] for key in hints if key not in (name, "return")}
    defaults = {
        field.name: inspect.Parameter.empty
        if field.default is dataclasses.MISSING
        else field.default
        for field in dataclasses.fields(options)
    }

    def run(**values: Any) -> None:
        chosen = {key: values.pop(key) for key in defaults if key in values}
        function(**values, **{name: options(**chosen)})

    def parameter(key: str, hint: Any, default: Any) -> inspect.Parameter:
        return inspect.Parameter(
            key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
        )

    parameters = [parameter(key, hint, inspect.Parameter.empty) for key, hint in given.items()]
    parameters += [parameter(key, fields[key], default) for key, default in defaults.items()]
    for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(run, attribute, getattr(function, attribute))
    run.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": None}
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        parameters, return_annotation=None
    )
    return run
