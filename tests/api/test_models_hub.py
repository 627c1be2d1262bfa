"""Models from the hub: asked where it can be reached, else its cache alone, without waiting."""

from __future__ import annotations

import errno
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_hub import use_hub

from nestling.encoder import Encoder
from nestling.errors import DownloadError, StorageError
from nestling.models.fetch import hub_snapshot


class Downloads:
    """Records whether each download was of the cache alone; the cache is empty."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.local: list[bool] = []

    def __call__(self, *_: str, local_files_only: bool, **__: Any) -> str:
        self.local.append(local_files_only)
        if local_files_only:
            raise FileNotFoundError("cannot find an appropriate cached snapshot")
        return str(self.folder)


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    return Downloads(tmp_path)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    """An address on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_hub_id_loads_through_the_hub(
    make_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(name="snapshot")
    use_hub(monkeypatch, snapshot_download=lambda *_, **__: str(folder))
    assert Encoder("someone/something").name == "snapshot"


def test_a_hub_id_without_huggingface_hub_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DownloadError, match=r"pip install 'nestling\[hub\]', or give a folder"):
        Encoder("someone/something")


def test_what_the_hub_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(*_: Any, **__: Any) -> str:
        raise OSError("404: no such repository\nmore")

    use_hub(monkeypatch, snapshot_download=snapshot_download)
    with pytest.raises(DownloadError, match="no such repository\nCheck the id and the network"):
        Encoder("someone/something")


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(*_: Any, **__: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    use_hub(monkeypatch, snapshot_download=snapshot_download)
    with pytest.raises(StorageError, match="disk is full while fetching someone/something"):
        Encoder("someone/something")


def test_a_hub_that_answers_is_asked(
    downloads: Downloads, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub(monkeypatch, endpoint=server, snapshot_download=downloads)
    assert hub_snapshot("someone/something") == downloads.folder
    assert downloads.local == [False]


def test_of_a_hub_out_of_reach_only_the_cache_is_asked(
    downloads: Downloads, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub(monkeypatch, endpoint=closed, snapshot_download=downloads)
    with pytest.raises(DownloadError, match=r"cannot be reached.*\n.*give its folder"):
        hub_snapshot("someone/something")
    assert downloads.local == [True]


def test_what_the_cache_holds_needs_no_hub(
    tmp_path: Path, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub(monkeypatch, endpoint=closed, snapshot_download=lambda *_, **__: str(tmp_path))
    assert hub_snapshot("someone/something") == tmp_path


def test_a_network_that_swallows_everything_is_not_waited_for(
    downloads: Downloads, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, answered = threading.Event(), threading.Event()

    def swallow(*_: Any, **__: Any) -> Any:
        ended.wait(60)
        answered.set()
        raise OSError("timed out")

    monkeypatch.setattr(socket, "getaddrinfo", swallow)
    use_hub(monkeypatch, endpoint=server, snapshot_download=downloads)
    with pytest.raises(DownloadError, match="cannot be reached"):
        hub_snapshot("someone/something")
    assert not answered.is_set()
    ended.set()


def test_a_name_that_is_unknown_is_out_of_reach(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    use_hub(monkeypatch, endpoint="https://hub.example", snapshot_download=downloads)
    with pytest.raises(DownloadError, match=r"https://hub\.example: it cannot be reached"):
        hub_snapshot("someone/something")


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_behind_a_proxy_the_library_is_trusted_to_reach_the_hub(
    downloads: Downloads, closed: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "http://proxy.example:3128")
    use_hub(monkeypatch, endpoint=closed, snapshot_download=downloads)
    assert hub_snapshot("someone/something") == downloads.folder


def test_offline_the_hub_is_left_alone(
    downloads: Downloads, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connected(*_: Any, **__: Any) -> Any:
        pytest.fail("connected")

    monkeypatch.setattr(socket, "create_connection", connected)
    use_hub(monkeypatch, endpoint=server, offline=True, snapshot_download=downloads)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set"):
        hub_snapshot("someone/something")
    assert downloads.local == [True]
