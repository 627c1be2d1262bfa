"""The config.json of a transformer: its hyperparameters, and what of them is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from nestling.errors import ModelError
from nestling.models.convert.graph import ACTIVATIONS
from nestling.models.source import refused

__all__ = ["Config"]

_Kind = TypeVar("_Kind", int, float, bool, str)


class Config:
    """Reads settings of known types; a setting that a graph would not honour is an error.

    Example:
        >>> config = Config({"model_type": "bert", "hidden_act": "mish"})
        >>> config.integer("num_hidden_layers", default=12)
        12
        >>> config.activation("hidden_act", default="gelu")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        nestling.errors.ModelError: config.json: hidden_act is 'mish'; a bert is converted ...
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.model_type = str(values.get("model_type"))

    def get(self, *names: str) -> Any:
        """Returns the first of these settings that is present and not null, or None."""
        for name in names:
            if (value := self.values.get(name)) is not None:
                return value
        return None

    def integer(self, *names: str, default: int | None = None) -> int:
        """Returns a whole number, by the first of its names that is present."""
        return self._typed(int, names, default)

    def number(self, *names: str, default: float | None = None) -> float:
        """Returns a number, by the first of its names that is present."""
        return self._typed(float, names, default)

    def flag(self, *names: str, default: bool = False) -> bool:
        """Returns a boolean, by the first of its names that is present."""
        return self._typed(bool, names, default)

    def text(self, *names: str, default: str | None = None) -> str:
        """Returns a string, by the first of its names that is present."""
        return self._typed(str, names, default)

    def activation(self, *names: str, default: str) -> str:
        """Returns the name of an activation that graphs have."""
        found = self.text(*names, default=default)
        if found not in ACTIVATIONS:
            self.refuse(next(n for n in names if self.get(n) is not None), ACTIVATIONS)
        return found

    def expect(self, name: str, *allowed: Any) -> None:
        """Refuses a setting that is present and neither null nor one of `allowed`."""
        if (found := self.values.get(name)) is not None and found not in allowed:
            self.refuse(name, allowed)

    def refuse(self, name: str, allowed: tuple[Any, ...] = ()) -> None:
        """Raises the error for the value of a setting."""
        only = f" only with {', '.join(map(repr, allowed))}" if allowed else " only without it"
        raise refused(
            f"config.json: {name} is {self.get(name)!r}; a {self.model_type} is converted{only}"
        )

    def _typed(self, kind: type[_Kind], names: tuple[str, ...], default: _Kind | None) -> _Kind:
        value = self.get(*names)
        if value is None:
            if default is None:
                raise ModelError(f"config.json lacks {names[0]!r}")
            return default
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ModelError(f"config.json: {names[0]} should be {kind.__name__}, not {value!r}")
        return value
