"""The model store: each built-in model is fetched and converted once into the user's cache folder.

A model is built in a hidden folder beside its place, flushed to disk, checked, and renamed: it is
there whole, or not at all. Its manifest has the sha256 of every file; a model that no longer agrees
with its manifest is built anew. Processes that want the same model at once wait for one another.

A model with its adaptor folded in has a place of its own, named by the adaptor too, so that another
adaptor never meets an old graph. It is made from the plain one where that is there.
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

from nestling._util.checksum import sha256_of
from nestling.errors import StorageError
from nestling.models.adaptors import Adaptor, shipped
from nestling.models.cards import ModelCard, Precision, card
from nestling.models.fetch import fetch

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


def stored(name: str, precision: Precision = "int8", *, nested: bool = True) -> Path:
    """Returns the folder of a built-in model, fetching and converting it if it is not there whole.

    Args:
        name: A built-in name.
        precision: "int8" or "float32".
        nested: Whether to fold in the adaptor that comes with it, if one does.

    Raises:
        ModelNotFoundError: No built-in model has this name.
        DownloadError: The model could not be fetched.
        ChecksumError: What was fetched is not what is pinned.
        ModelError: The converted model does not give the embeddings that it should.
        StorageError: The cache folder cannot be written, or the disk is full.
    """
    model = card(name)
    root = cache_folder() / "models"
    plain = place = root / f"{name}-{precision}-{_RECIPE}"
    adaptor = shipped(name) if nested else None
    if adaptor is not None:
        place = plain.with_name(f"{plain.name}-{adaptor.digest}")
    if _is_whole(place):
        return place
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / f".{place.name}.lock"):
            if not _is_whole(place):  # another process may have built it meanwhile
                _build(model, precision, place, plain, adaptor)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            error.errno,
            f"cannot keep the model {name!r} in {root}: {error.strerror or error} "
            "(NESTLING_CACHE chooses another folder)",
        ) from error
    return place


def _build(
    model: ModelCard, precision: Precision, place: Path, plain: Path, adaptor: Adaptor | None
) -> None:
    prefix = f".{place.name}."
    for leftover in place.parent.glob(f"{prefix}*.partial"):  # of a build that was killed
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix=prefix, suffix=".partial", dir=place.parent) as scratch:
        target = Path(scratch, "target")
        target.mkdir()
        if adaptor is None:
            origin = _make(model, precision, Path(scratch), target)
        else:
            base = plain
            known = _origin(plain)
            if known is None:
                base = Path(scratch, "plain")
                base.mkdir()
            origin = known or _make(model, precision, Path(scratch), base)
            _adapt(model, adaptor, base, target)
        _write_manifest(target, origin)
        if place.exists():
            shutil.rmtree(place)
        target.rename(place)
        _flush(place.parent)


def _make(model: ModelCard, precision: Precision, scratch: Path, target: Path) -> str:
    """Fetches and converts a model into `target`, and returns where it came from."""
    # Imported here: a model that is there already needs neither onnx nor safetensors.
    from nestling.models.check import check
    from nestling.models.convert import convert

    source = scratch / "source"
    source.mkdir()
    with _told(f"fetching {model.name} (once)"):
        origin = fetch(model, source)
    with _told(f"converting {model.name} to ONNX, {precision} (once)"):
        convert(model, source, target, precision)
        check(model, target, precision)
    return origin


def _adapt(model: ModelCard, adaptor: Adaptor, base: Path, target: Path) -> None:
    """Folds the adaptor into the model in `base`."""
    from nestling.models.check import reference_texts
    from nestling.models.fold import fold_folder

    with _told(f"folding the adaptor of {model.name} into its graph (once)"):
        fold_folder(
            base,
            target,
            adaptor.matrix,
            name=model.name,
            nesting=adaptor.nesting,
            texts=reference_texts(model.name),
        )


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
    return _origin(folder) is not None


def _origin(folder: Path) -> str | None:
    """Returns where a whole model came from; None where a file is missing or altered."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        hashes = manifest["sha256"]
        whole = all(sha256_of(folder / name) == sha256 for name, sha256 in hashes.items())
        return str(manifest["source"]) if whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


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
