"""The engines that are compared, and which of them are installed."""

from __future__ import annotations

import importlib
import sqlite3
from collections.abc import Sequence

from nestling.bench.lexical.engine import Configuration
from nestling.bench.library import Library

__all__ = ["ENGINES", "EngineLibrary"]


class EngineLibrary(Library):
    """A library that searches for words."""

    __slots__ = ()

    def configurations(self) -> Sequence[Configuration]:
        """Returns its adapter's configurations, without importing the library."""
        found: Sequence[Configuration] = importlib.import_module(self.adapter).configurations()
        return found


class _Sqlite(EngineLibrary):
    """The library that Python's own module uses; no distribution says its version."""

    __slots__ = ()

    @property
    def version(self) -> str | None:
        """The version of SQLite itself."""
        return sqlite3.sqlite_version


ENGINES = (
    EngineLibrary("nestling", f"{__package__}.nestling", "nestling", "nestling"),
    _Sqlite("fts5", f"{__package__}.fts5", "sqlite3", "sqlite3"),
    EngineLibrary("tantivy", f"{__package__}.tantivy", "tantivy", "tantivy"),
    EngineLibrary("bm25s", f"{__package__}.bm25s", "bm25s", "bm25s"),
)
