"""The model store: each built-in model is fetched and converted once into the user's cache folder.

A model is built in a hidden folder beside its target, flushed to disk, checked, and renamed: the
folder is complete or absent. Its manifest holds the SHA-256 of every file; a model that differs
from its manifest is built again. Processes that need the same model wait for one another.

A model with its adaptor folded in has a folder of its own, whose name includes the digest of the
adaptor, so that a new adaptor is never served by an old graph. It is built from the plain model
where that is present.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import platformdirs
from filelock import FileLock

from nestling._util.atomic import install
from nestling._util.checksum import sha256_of
from nestling._util.paths import absolute
from nestling.errors import StorageError
from nestling.models.adaptors import Adaptor, bundled_adaptor
from nestling.models.cards import QUERY_ENCODERS, ModelCard, Precision, card
from nestling.models.fetch import fetch
from nestling.models.query_encoders import bundled_rows
from nestling.models.source import CONVERSION_RECIPE, folder_name, read_source
from nestling.runtime.folder import ModelFolder, Teacher
from nestling.runtime.query_encoder_folder import write_query_encoder_settings
from nestling.runtime.token_rows import FILE as TOKEN_ROWS

__all__ = ["cache_folder", "ensure_converted", "ensure_model", "ensure_query_encoder"]

_RECIPE: Final = 2  # increase it when `convert` writes other bytes for the same source
_MANIFEST: Final = "manifest.json"


def cache_folder() -> Path:
    """Returns where models are kept: `NESTLING_CACHE`, else the system's folder for caches.

    A relative `NESTLING_CACHE` is a folder of the working folder at the first call, and stays that.

    Example:
        >>> cache_folder().is_absolute()
        True
    """
    if chosen := os.environ.get("NESTLING_CACHE"):
        return _absolute_once(Path(chosen).expanduser())
    return platformdirs.user_cache_path("nestling")


_absolute_once = cache(absolute)


def ensure_model(name: str, precision: Precision = "int8", *, nested: bool = True) -> Path:
    """Returns the folder of a built-in model; fetches and converts the model first where needed.

    Args:
        name: A built-in name.
        precision: "int8" or "float32".
        nested: Whether to fold in the adaptor of the model, if it has one.

    Raises:
        ModelNotFoundError: There is no built-in model of this name.
        DownloadError: The model could not be fetched.
        ChecksumError: A fetched file differs from the pinned one.
        ModelError: The converted model does not give the expected embeddings.
        StorageError: The cache folder cannot be written, or the disk is full.

    Example:
        >>> ensure_model("wordllama").name  # doctest: +MODEL
        'wordllama-int8-2'
    """
    model = card(name)
    root = cache_folder() / "models"
    plain = target = root / f"{name}-{precision}-{_RECIPE}"
    adaptor = bundled_adaptor(name) if nested else None
    if adaptor is not None:
        target = plain.with_name(f"{plain.name}-{adaptor.digest}")

    def build(scratch: Path, staged: Path) -> str:
        if adaptor is None:
            return _make(model, precision, scratch, staged)
        base = plain
        origin = _origin(plain)
        if origin is None:
            base = scratch / "plain"
            base.mkdir()
            origin = _make(model, precision, scratch, base)
        _adapt(model, adaptor, base, staged)
        return origin

    return _ensure(name, target, build)


def ensure_query_encoder(name: str, precision: Precision = "int8") -> Path:
    """Returns the folder of a query encoder that comes with nestling; writes it where needed.

    It has the tokenizer of its teacher and names the fingerprint that the teacher has here, so the
    teacher is made first.

    Args:
        name: One of `nestling.models.QUERY_ENCODERS`.
        precision: That of the teacher.

    Raises:
        DownloadError, ChecksumError, ModelError: The teacher cannot be made (see `ensure_model`).
        StorageError: The cache folder cannot be written, or the disk is full.

    Example:
        >>> ensure_query_encoder("minilm-fast").name[:16]  # doctest: +MODEL
        'minilm-fast-int8'
    """
    teacher = QUERY_ENCODERS[name].teacher
    base = ensure_model(teacher, precision)
    bundled = bundled_rows(name)
    # A teacher that is made in another way has another folder, and perhaps another fingerprint.
    key = hashlib.sha256(f"{base.name} {bundled.digest} {_origin(base)}".encode()).hexdigest()[:8]
    target = base.with_name(f"{name}-{precision}-{key}")

    def build(_: Path, staged: Path) -> str:
        folder = ModelFolder.read(base, precision=precision)
        bundled.save(staged / TOKEN_ROWS)
        write_query_encoder_settings(
            staged,
            name,
            folder,
            base,
            Teacher(teacher, folder.fingerprint()),
            bundled.refine_below,
        )
        return f"rows {bundled.digest}"

    return _ensure(name, target, build)


def ensure_converted(
    folder: Path, precision: Precision = "int8", *, source: str | None = None
) -> Path:
    """Returns the converted form of a model folder; converts it first where needed.

    It is converted again when a file of the folder changes, by its size or its time. A snapshot of
    a hub repository never does.

    Args:
        folder: A model folder with safetensors weights.
        precision: "int8" or "float32".
        source: The hub id and the commit of a snapshot, "owner/name@commit"; None for a folder.

    Raises:
        ModelError: The model cannot be converted; the message says why and what to do.
        StorageError: The cache folder cannot be written, or the disk is full.

    Example:
        >>> ensure_converted(Path("nowhere"))
        Traceback (most recent call last):
        nestling.errors.ModelError: nowhere has no model.safetensors
    """
    model = read_source(folder)
    name = folder_name(folder, source)
    key = hashlib.sha256((source or _state_of(folder, model.files())).encode()).hexdigest()[:16]
    target = cache_folder() / "converted" / f"{name}-{precision}-{CONVERSION_RECIPE}-{key}"

    def build(scratch: Path, staged: Path) -> str:
        # Imported here, as a model that was converted before needs neither onnx nor safetensors.
        from nestling.models.convert import Conversion, convert_folder

        convert_folder(folder, staged, Conversion((precision,), name=name))
        if source is not None:
            return source
        for older in target.parent.glob(f"{name}-{precision}-*"):
            if _read_manifest(older).get("source") == str(folder.resolve()):
                shutil.rmtree(older, ignore_errors=True)  # made from files that have changed since
        return str(folder.resolve())

    return _ensure(name, target, build)


def _state_of(folder: Path, files: Iterable[Path]) -> str:
    """Returns what changes with the place of a folder and with each of its files."""
    state: list[Any] = [str(folder.resolve())]
    for path in files:
        status = path.stat()
        state.append((str(path.relative_to(folder)), status.st_size, status.st_mtime_ns))
    return json.dumps(state)


def _ensure(name: str, target: Path, build: Callable[[Path, Path], str]) -> Path:
    """Returns `target`, which `build` fills first if it is not whole.

    Args:
        name: The model, for errors.
        target: A folder of the cache.
        build: Fills the second of two folders, the first is for its own use; returns where the
            model came from.
    """
    if _is_whole(target):
        return target
    root = target.parent
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{target.name}.lock"):  # released when the process dies
            if not _is_whole(target):  # another process may have built it in the meantime
                _build(target, build)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            error.errno,
            f"cannot keep the model {name!r} in {root}: {error.strerror or error} "
            "(NESTLING_CACHE chooses another folder)",
        ) from error
    return target


def _build(target: Path, build: Callable[[Path, Path], str]) -> None:
    prefix = f".{target.name}."
    for leftover in target.parent.glob(f"{prefix}*.partial"):  # of a build that was killed
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(
        prefix=prefix, suffix=".partial", dir=target.parent
    ) as scratch:
        staged = Path(scratch, "target")
        staged.mkdir()
        _write_manifest(staged, build(Path(scratch), staged))
        install(staged, target)  # over one that is not whole: else there is nothing to build


def _make(model: ModelCard, precision: Precision, scratch: Path, target: Path) -> str:
    """Fetches and converts a model into `target`, and returns where it came from."""
    # Imported here, as a model that was built before needs neither onnx nor safetensors.
    from nestling.models.check import check
    from nestling.models.convert import convert

    source = scratch / "source"
    source.mkdir()
    with _status(f"fetching {model.name} (once)"):
        origin = fetch(model, source)
    with _status(f"converting {model.name} to ONNX, {precision} (once)"):
        convert(model, source, target, precision)
        check(model, target, precision)
    return origin


def _adapt(model: ModelCard, adaptor: Adaptor, base: Path, target: Path) -> None:
    """Folds the adaptor into the model in `base`."""
    from nestling.models.check import reference_texts
    from nestling.models.fold import fold_folder

    with _status(f"folding the adaptor of {model.name} into its graph (once)"):
        fold_folder(
            base,
            target,
            adaptor.matrix,
            name=model.name,
            nesting=adaptor.nesting,
            texts=reference_texts(model.name),
        )


def _write_manifest(folder: Path, origin: str) -> None:
    """Lists every file with its hash."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    manifest = folder / _MANIFEST
    manifest.write_text(
        json.dumps({"source": origin, "sha256": hashes}, indent=2), encoding="utf-8"
    )


def _is_whole(folder: Path) -> bool:
    """Whether every file of the manifest is present and unchanged."""
    return _origin(folder) is not None


def _origin(folder: Path) -> str | None:
    """Returns where a complete model came from; None where a file is missing or corrupted."""
    try:
        manifest = _read_manifest(folder)
        hashes = manifest["sha256"]
        whole = all(sha256_of(folder / name) == sha256 for name, sha256 in hashes.items())
        return str(manifest["source"]) if whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Returns the manifest of a model; an empty one where there is none."""
    try:
        content = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


@contextlib.contextmanager
def _status(what: str) -> Iterator[None]:
    """Shows on stderr, where it is a terminal, what the caller waits for."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"nestling: {what}"):
        yield
