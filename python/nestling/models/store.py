"""The model store: each built-in model is fetched and converted once into the user's cache folder.

A model is built in a hidden folder beside its place, flushed to disk, checked, and renamed: it is
there whole, or not at all. Its manifest has the sha256 of every file; a model that no longer agrees
with its manifest is built anew. Processes that want the same model at once wait for one another.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nestling.errors import StorageError
from nestling.models.cards import ModelCard, Precision, card
from nestling.models.fetch import fetch, sha256_of

__all__ = ["cache_folder", "stored"]

_RECIPE: Final = 1  # to be raised when `convert` writes other bytes for the same source
_MANIFEST: Final = "manifest.json"


def cache_folder() -> Path:
    """Returns where models are kept: `NESTLING_CACHE`, else the system's place for caches."""
    if chosen := os.environ.get("NESTLING_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nestling"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nestling"


def stored(name: str, precision: Precision = "int8") -> Path:
    """Returns the folder of a built-in model, fetching and converting it if it is not there whole.

    Args:
        name: A built-in name.
        precision: "int8" or "float32".

    Raises:
        ModelNotFoundError: No built-in model has this name.
        DownloadError: The model could not be fetched.
        ChecksumError: What was fetched is not what is pinned.
        ModelError: The converted model does not give the embeddings that it should.
        StorageError: The cache folder cannot be written, or the disk is full.
    """
    model = card(name)
    root = cache_folder() / "models"
    place = root / f"{name}-{precision}-{_RECIPE}"
    if _is_whole(place):
        return place
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / f".{place.name}.lock"):
            if not _is_whole(place):  # another process may have built it meanwhile
                _build(model, precision, place)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            error.errno,
            f"cannot keep the model {name!r} in {root}: {error.strerror or error} "
            "(NESTLING_CACHE chooses another folder)",
        ) from error
    return place


def _build(model: ModelCard, precision: Precision, place: Path) -> None:
    # Imported here: a model that is there already needs neither onnx nor safetensors.
    from nestling.models.check import check
    from nestling.models.convert import convert

    prefix = f".{place.name}."
    for leftover in place.parent.glob(f"{prefix}*.partial"):  # of a build that was killed
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix=prefix, suffix=".partial", dir=place.parent) as scratch:
        source, target = Path(scratch, "source"), Path(scratch, "target")
        source.mkdir()
        target.mkdir()
        with _told(f"fetching {model.name} (once)"):
            origin = fetch(model, source)
        with _told(f"converting {model.name} to ONNX, {precision} (once)"):
            convert(model, source, target, precision)
            check(model, target, precision)
        _write_manifest(target, origin)
        if place.exists():
            shutil.rmtree(place)
        target.rename(place)
        _flush(place.parent)


def _write_manifest(folder: Path, origin: str) -> None:
    """Lists every file with its hash, after all of them have reached the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        _flush(path)
    hashes = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    manifest = folder / _MANIFEST
    manifest.write_text(
        json.dumps({"source": origin, "sha256": hashes}, indent=2), encoding="utf-8"
    )
    for path in (manifest, *(p for p in folder.rglob("*") if p.is_dir()), folder):
        _flush(path)


def _is_whole(folder: Path) -> bool:
    """Tells whether every file of the manifest is there, unaltered."""
    try:
        hashes = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["sha256"]
        return all(sha256_of(folder / name) == sha256 for name, sha256 in hashes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Says on stderr what is being waited for, when it is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"nestling: {what}"):
        yield


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock between processes and threads; a process that dies releases it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
