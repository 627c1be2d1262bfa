"""Hubs for tests: functions in place of huggingface_hub, and a server that its real client asks."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from nestling.models import hub as hub_module

__all__ = ["HubServer", "Repository", "files_of", "serve_hub", "use_hub"]


def use_hub(
    monkeypatch: pytest.MonkeyPatch,
    *,
    endpoint: str | None = None,
    offline: bool = False,
    **functions: Callable[..., str],
) -> None:
    """Installs a hub of these functions; without an `endpoint` to connect to, it is reachable."""
    if endpoint is None:
        monkeypatch.setattr(hub_module, "_accepts_connections", lambda _: True)
    constants = SimpleNamespace(ENDPOINT=endpoint, HF_HUB_OFFLINE=offline, HF_HUB_CACHE="")
    hub = SimpleNamespace(constants=constants, **functions)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)


@dataclass
class Repository:
    """A repository of the hub at one commit, and what the hub says of it."""

    files: Mapping[str, bytes]
    gated: bool = False
    private: bool = False
    branches: tuple[str, ...] = ("main",)
    config: Mapping[str, Any] = field(default_factory=dict)
    downloads: int = 0
    tags: tuple[str, ...] = ("sentence-transformers",)

    @cached_property
    def commit(self) -> str:
        files = [f"{path} {_etag(content)}" for path, content in sorted(self.files.items())]
        return _etag("\n".join(files).encode())

    def info(self, name: str) -> dict[str, Any]:
        return {
            "id": name,
            "modelId": name,
            "sha": self.commit,
            "private": self.private,
            "gated": "auto" if self.gated else False,
            "disabled": False,
            "downloads": self.downloads,
            "likes": 0,
            "tags": list(self.tags),
            "siblings": [{"rfilename": path} for path in sorted(self.files)],
            "config": dict(self.config),
        }


@dataclass
class HubServer:
    """Repositories by name, a log of the requests, and the token that opens closed ones."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    token: str = "hf_secret"
    broken: bool = False
    endpoint: str = ""

    def fetched(self) -> set[str]:
        """The paths of the files that were downloaded."""
        paths = [line.partition("/resolve/")[2] for line in self.requests if "GET /" in line]
        return {path.partition("/")[2] for path in paths if path}


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a folder, by their paths."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextmanager
def serve_hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[HubServer]:
    """Serves a hub on this machine, and points huggingface_hub to it and to an empty cache."""
    constants = pytest.importorskip("huggingface_hub.constants")
    hub = HubServer()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        downloads = importlib.import_module("huggingface_hub.file_download")
        for module in (constants, downloads):  # some versions keep a copy of their own
            if hasattr(module, "HUGGINGFACE_CO_URL_TEMPLATE"):
                monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """The few routes of the hub's API that its client uses for models."""

    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._respond()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass

    def _respond(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        url = urlsplit(self.path)
        parts = unquote(url.path).strip("/").split("/")
        if self.hub.broken:
            self._send(500, b"{}")
        elif parts[:2] == ["api", "models"] and len(parts) == 2:
            self._list(parse_qs(url.query))
        elif parts[:2] == ["api", "models"]:
            self._describe("/".join(parts[2:4]), parts[4:])
        elif "resolve" in parts:
            self._send_file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._send(404, b"{}")

    def _open(self, name: str, revision: str) -> Repository | None:
        repository = self.hub.repositories.get(name)
        known = self.headers.get("authorization") == f"Bearer {self.hub.token}"
        if repository is None or (repository.private and not known):
            self._refuse(404, "RepoNotFound")
        elif revision not in (*repository.branches, repository.commit):
            self._refuse(404, "RevisionNotFound")
        else:
            return repository
        return None

    def _list(self, query: Mapping[str, list[str]]) -> None:
        search = query.get("search", [""])[0].lower()
        tags = set(query.get("filter", []))
        found = [
            repository.info(name)
            for name, repository in self.hub.repositories.items()
            if search in name.lower() and tags <= set(repository.tags) and not repository.private
        ]
        found.sort(key=lambda info: -info["downloads"])
        self._send(200, json.dumps(found[: int(query.get("limit", ["100"])[0])]).encode())

    def _describe(self, name: str, rest: list[str]) -> None:
        repository = self._open(name, rest[1] if rest else "main")
        if repository is None:
            return
        if rest[:1] == ["tree"]:
            answer: Any = [
                {"type": "file", "path": path, "size": len(content), "oid": _etag(content)}
                for path, content in sorted(repository.files.items())
            ]
        else:
            answer = repository.info(name)
        self._send(200, json.dumps(answer).encode())

    def _send_file(self, name: str, revision: str, path: str) -> None:
        repository = self._open(name, revision)
        if repository is None:
            return
        known = self.headers.get("authorization") == f"Bearer {self.hub.token}"
        if repository.gated and not known:
            self._refuse(403, "GatedRepo")
        elif path not in repository.files:
            self._refuse(404, "EntryNotFound")
        else:
            content = repository.files[path]
            self._send(200, content, {"ETag": f'"{_etag(content)}"'}, repository.commit)

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def _send(
        self,
        status: int,
        content: bytes,
        headers: Mapping[str, str] | None = None,
        commit: str | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if commit is not None:
            self.send_header("X-Repo-Commit", commit)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


def _etag(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
