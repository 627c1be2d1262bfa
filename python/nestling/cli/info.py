"""`nestling info`: what this machine, an index, or a model is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestling.cli.options import Json

if TYPE_CHECKING:
    from nestling.cli.folder import IndexFolder

__all__ = ["info"]


def info(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="[INDEX|MODEL]",
            help="An index folder, a .nest file, or a model; nothing tells of the machine.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell what an index, a model, or this machine is."""
    from nestling.cli.folder import is_index, open_index
    from nestling.cli.screen import print_json

    if subject is None:
        facts = _machine()
    elif is_index(Path(subject)):
        facts = _index(subject, open_index(Path(subject)))
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
    from nestling.models import BUILT_IN, cache_folder
    from nestling.threads import thread_count

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


def _index(name: str, opened: IndexFolder) -> dict[str, Any]:
    index, corpus = opened.index, opened.corpus
    return {
        "index": name,
        "rows": len(index),
        "dim": index.dim,
        "metric": index.metric,
        "funnel": str(index.funnel),
        "memory": index.memory,
        "model": corpus.encoder,
        "precision": corpus.precision,
        "fingerprint": corpus.fingerprint,
        "texts": opened.texts is not None,
        "truncated": corpus.truncated,
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
            "nesting": list(card.nesting),
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

    from nestling.cli.screen import console

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
