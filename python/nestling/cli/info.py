"""`nestling info`: describes a collection, an index file, a model, or this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from nestling.cli.options import Json

__all__ = ["info"]

_UNITS: Final = {
    "memory": " bytes",
    "disk": " bytes",
    "split": " characters",
    "max_length": " tokens",
}


def info(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="FOLDER|MODEL",
            help="A collection, a .nest file, or a model; without it, this machine.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Describe a collection, a .nest file, a model, or this machine.

    Example: nestling info articles
    """
    from nestling._util.console import console, print_json, print_table, table
    from nestling.cli.paths import is_index

    if subject is None:
        facts = _machine()
    elif is_index(Path(subject)):
        path = Path(subject)
        facts = _collection(path) if path.is_dir() else _rows(path)
    else:
        facts = _model(subject)
    if as_json:
        print_json(facts)
    else:
        rows = [(name, _value_text(value, _UNITS.get(name, ""))) for name, value in facts.items()]
        print_table(table(("", ""), rows, align="ll"), console())


def _machine() -> dict[str, Any]:
    import os
    import platform
    from importlib.metadata import version

    from nestling import _core
    from nestling._util.threads import thread_count
    from nestling.models import BUILT_IN, QUERY_ENCODERS, cache_folder

    return {
        "nestling": version("nestling"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": thread_count(None),
        "isa": _core.isa(),
        "isas": _core.available_isas(),
        "cache": str(cache_folder()),
        "models": list(BUILT_IN),
        "query encoders": list(QUERY_ENCODERS),
    }


def _collection(path: Path) -> dict[str, Any]:
    from nestling.cli.paths import open_collection

    with open_collection(path, read_only=True) as collection:
        found = collection.info()
    encoder, split = found.encoder, found.split
    return {
        "collection": str(path),
        "documents": found.documents,
        "passages": found.passages,
        "dim": found.dim,
        "metric": found.metric,
        "funnel": str(found.funnel),
        "model": None if encoder is None else encoder.name,
        "precision": None if encoder is None else encoder.precision,
        "fingerprint": None if encoder is None else encoder.fingerprint,
        "split": None if split is None else {"size": split.size, "overlap": split.overlap},
        "title_weight": found.title_weight,
        "fields": list(found.fields),
        "segments": found.segments,
        "pending": found.pending,
        "removed": found.removed,
        "memory": found.memory,
        "disk": found.disk,
    }


def _rows(path: Path) -> dict[str, Any]:
    from nestling.cli.paths import open_rows

    rows = open_rows(path)
    return {
        "index": str(path),
        "rows": len(rows),
        "dim": rows.dim,
        "metric": rows.metric,
        "funnel": str(rows.funnel),
        "memory": rows.memory,
    }


def _model(name: str) -> dict[str, Any]:
    from nestling.cli.encoders import open_encoder
    from nestling.errors import ModelNotFoundError
    from nestling.models import BUILT_IN, QUERY_ENCODERS

    if name in QUERY_ENCODERS:
        queries = QUERY_ENCODERS[name]
        return {
            "model": queries.name,
            "description": queries.description,
            "imitates": queries.teacher,
            "languages": queries.languages,
            "licence": queries.licence,
            "measured": list(queries.figures),
        }
    if name in BUILT_IN:  # from its card, so that describing a model does not download it
        card = BUILT_IN[name]
        return {
            "model": card.name,
            "description": card.description,
            "languages": card.languages,
            "dim": card.dim,
            "nesting": list(card.nesting or card.adaptor),
            "max_length": card.max_length,
            "licence": card.licence,
            "source": card.source,
        }
    try:
        encoder = open_encoder(name)
    except ModelNotFoundError as error:
        if Path(name).exists():
            raise
        raise ModelNotFoundError(f"{name}: no such path; {error}") from error
    return {
        "model": encoder.name,
        "dim": encoder.dim,
        "nesting": list(encoder.nesting),
        "max_length": encoder.max_length,
        "precision": encoder.precision,
        "fingerprint": encoder.fingerprint,
    }


def _value_text(value: Any, unit: str = "") -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value_text(item, unit)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}{unit}"
    return "none" if value is None else str(value)
