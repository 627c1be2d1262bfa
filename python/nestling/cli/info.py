"""`nestling info`: what this machine, a collection, or a model is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nestling.cli.options import Json

__all__ = ["info"]


def info(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="[FOLDER|MODEL]",
            help="A collection, a .nest file, or a model; nothing tells of the machine.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell what a collection, a model, or this machine is."""
    from nestling._util.console import print_json
    from nestling.cli.opening import is_index

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
        _show(facts)


def _machine() -> dict[str, Any]:
    import os
    import platform
    from importlib.metadata import version

    from nestling import _core
    from nestling._util.threads import thread_count
    from nestling.models import BUILT_IN, cache_folder

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
    }


def _collection(path: Path) -> dict[str, Any]:
    from nestling.cli.opening import open_collection

    with open_collection(path, read_only=True) as collection:
        facts = collection.info()
    encoder, split = facts.encoder, facts.split
    return {
        "collection": str(path),
        "documents": facts.documents,
        "passages": facts.passages,
        "dim": facts.dim,
        "metric": facts.metric,
        "funnel": str(facts.funnel),
        "model": None if encoder is None else encoder.name,
        "precision": None if encoder is None else encoder.precision,
        "fingerprint": None if encoder is None else encoder.fingerprint,
        "split": None if split is None else {"size": split.size, "overlap": split.overlap},
        "fields": list(facts.fields),
        "segments": facts.segments,
        "pending": facts.pending,
        "removed": facts.removed,
        "memory": facts.memory,
        "disk": facts.disk,
    }


def _rows(path: Path) -> dict[str, Any]:
    from nestling.cli.opening import open_rows

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
    from nestling.cli.building import open_encoder
    from nestling.models import BUILT_IN

    if name in BUILT_IN:  # told from its card: to ask what a model is must not fetch it
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
    encoder = open_encoder(name)
    return {
        "model": encoder.name,
        "dim": encoder.dim,
        "nesting": list(encoder.nesting),
        "max_length": encoder.max_length,
        "precision": encoder.precision,
        "fingerprint": encoder.fingerprint,
    }


def _show(facts: dict[str, Any]) -> None:
    from rich.text import Text

    from nestling._util.console import console

    screen = console()
    width = max(map(len, facts))
    for name, value in facts.items():
        screen.print(Text.assemble((f"{name:<{width}}  ", "dim"), _written(value)))


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_written(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return "none" if value is None else str(value)
