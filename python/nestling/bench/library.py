"""A library that a benchmark compares with: its adapter, and whether it is installed."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata

__all__ = ["Library"]


@dataclass(frozen=True, slots=True)
class Library:
    """A library.

    Attributes:
        name: Its name in the report.
        adapter: The module with its `configurations`, which imports it only to open an engine.
        package: The package that Python imports.
        distribution: The distribution that pip installs.

    Example:
        >>> Library("none", "no.adapter", "no_such_package", "none").version is None
        True
    """

    name: str
    adapter: str
    package: str
    distribution: str

    @property
    def version(self) -> str | None:
        """The installed version; None where the library is not installed."""
        if importlib.util.find_spec(self.package) is None:
            return None
        try:
            return metadata.version(self.distribution)
        except metadata.PackageNotFoundError:
            return "unknown"
