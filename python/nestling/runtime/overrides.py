"""What a caller, or a recipe, says of a model in place of its folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from nestling.errors import ArgumentError, ArgumentTypeError
from nestling.runtime.folder import ModelFolder

__all__ = ["Overrides"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Settings of a model that stand in for those of its folder; None leaves the folder's.

    Attributes:
        query_prompt: Text put before a query; "" for none.
        document_prompt: Text put before a document; "" for none.
        layer_norm: Whether an embedding is layer-normalised before a prefix is taken.
        nesting: Prefix lengths that the model was trained for, in ascending order; () for none.
        revision: The branch, tag or commit of a hub repository.

    Raises:
        ArgumentTypeError: A value has a type that cannot be used.
        ArgumentError: A nesting dim is less than 1.

    Example:
        >>> Overrides(query_prompt="query: ", nesting=[256, 64]).given()
        {'query_prompt': 'query: ', 'nesting': [64, 256]}
    """

    query_prompt: str | None = None
    document_prompt: str | None = None
    layer_norm: bool | None = None
    nesting: tuple[int, ...] | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        for name in ("query_prompt", "document_prompt", "revision"):
            value = getattr(self, name)
            if not (value is None or isinstance(value, str)):
                raise ArgumentTypeError(f"{name} must be a string, not {type(value).__name__}")
        if not (self.layer_norm is None or isinstance(self.layer_norm, bool)):
            raise ArgumentTypeError(
                f"layer_norm must be True or False, not {type(self.layer_norm).__name__}"
            )
        if self.nesting is not None:
            object.__setattr__(self, "nesting", _dims(self.nesting))

    def given(self) -> dict[str, Any]:
        """Returns the settings that are not None, as JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value is not None
        }

    def over(self, other: Overrides) -> Overrides:
        """Returns these settings, and those of `other` where they are None.

        Example:
            >>> Overrides(layer_norm=False).over(Overrides(layer_norm=True, nesting=(8,))).given()
            {'layer_norm': False, 'nesting': [8]}
        """
        return Overrides(**(other.given() | self.given()))

    def apply(self, folder: ModelFolder) -> ModelFolder:
        """Returns a folder with these settings, those for its text and its prefixes."""
        names = ("query_prompt", "document_prompt", "layer_norm", "nesting")
        given = {name: getattr(self, name) for name in names}
        return replace(folder, **{name: v for name, v in given.items() if v is not None})


def _dims(nesting: Iterable[int]) -> tuple[int, ...]:
    if isinstance(nesting, (str, bytes)) or not isinstance(nesting, Iterable):
        raise ArgumentTypeError("nesting must be a list of whole numbers")
    dims = list(nesting)
    if not all(isinstance(dim, int) and not isinstance(dim, bool) for dim in dims):
        raise ArgumentTypeError("nesting must be a list of whole numbers")
    if any(dim < 1 for dim in dims):
        raise ArgumentError(f"a nesting dim must be at least 1, not {min(dims)}")
    return tuple(sorted(set(dims)))
