"""File systems that fail, and sources of documents, for tests of clusters."""

from __future__ import annotations

import errno
import json
import os
import random
import secrets
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from nestling.cluster.build import driver

DIM = 8
_STAGED = ".staged-"  # files that do not exist yet for those who list


class WrappedFileSystem(AbstractFileSystem):
    """The local file system as an object store: no `link`, no rename; a file appears whole."""

    protocol = "wrapped"
    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._local = LocalFileSystem(auto_mkdir=True)

    def before(self, call: str, path: str) -> None:
        """Called before each operation; may raise an error."""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return LocalFileSystem._strip_protocol(path.removeprefix(f"{cls.protocol}://"))

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        self.before("ls", path)
        found = [
            entry
            for entry in self._local.ls(path, detail=True)
            if not Path(entry["name"]).name.startswith(_STAGED)
        ]
        return found if detail else [entry["name"] for entry in found]

    def info(self, path: str, **options: Any) -> Any:
        self.before("info", path)
        return self._local.info(path)

    def checksum(self, path: str) -> int:
        self.before("info", path)
        return int(self._local.checksum(path))

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **options: Any
    ) -> bytes:
        self.before("read", path)
        data: bytes = self._local.cat_file(path, start, end)
        return data

    def get_file(self, rpath: str, lpath: str, **options: Any) -> None:
        self.before("get", rpath)
        self._local.get_file(rpath, lpath)

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        self.before("put", rpath)
        self._place(Path(lpath).read_bytes(), rpath, os.replace)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        self.before("write", path)
        self._place(value, path, os.link if mode == "create" else os.replace)

    def rm_file(self, path: str) -> None:
        self.before("remove", path)
        self._local.rm_file(path)

    def _place(self, data: bytes, path: str, place: Callable[[Path, Path], None]) -> None:
        folder = Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        staged = folder / f"{_STAGED}{secrets.token_hex(8)}"
        staged.write_bytes(data)
        try:
            place(staged, Path(path))
        finally:
            staged.unlink(missing_ok=True)


class FlakyFileSystem(WrappedFileSystem):
    """Fails one time in ten, with the errors of a network."""

    protocol = "flaky"
    random = random.Random(7)
    calls = 0
    failures = 0

    def before(self, call: str, path: str) -> None:
        kind = type(self)
        kind.calls += 1
        if kind.random.random() < 0.1:
            kind.failures += 1
            error = kind.random.choice([ConnectionResetError, TimeoutError, OSError])
            raise error("the storage failed")


class FullFileSystem(WrappedFileSystem):
    """Has no room for the files of shards."""

    protocol = "full"

    def before(self, call: str, path: str) -> None:
        if call in ("put", "write") and "/shards/" in path and "builds" not in path:
            raise OSError(errno.ENOSPC, "No space left on device", path)


class KillingFileSystem(WrappedFileSystem):
    """Kills the process at an operation, once: where the file `once` with its words exists.

    Args:
        once: A file with an operation and a part of the path; removed when the process is killed.
    """

    protocol = "killing"

    def __init__(self, once: str, **options: Any) -> None:
        super().__init__(once=once, **options)
        self.once = Path(once)

    def before(self, call: str, path: str) -> None:
        try:
            operation, part = self.once.read_text().split()
        except FileNotFoundError:
            return
        if operation == call and part in path and "NESTLING_TEST_DRIVER" not in os.environ:
            self.once.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


def register() -> None:
    """Makes the file systems known to fsspec; Ray calls it in each worker."""
    for kind in (WrappedFileSystem, FlakyFileSystem, FullFileSystem, KillingFileSystem):
        fsspec.register_implementation(kind.protocol, kind, clobber=True)


def documents(count: int, *, start: int = 0, seed: int = 0) -> list[dict[str, Any]]:
    """Returns records with ids, texts, metadata and vectors."""
    vectors = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return [
        {
            "id": f"d{number}",
            "text": f"bread {'river ' * (number % 3)}number{number}",
            "metadata": {"year": 2000 + number % 5},
            "vectors": [vector.tolist()],
        }
        for number, vector in enumerate(vectors, start)
    ]


def write_jsonl(path: Path, records: Sequence[Any]) -> Path:
    """Writes records, one a line; strings as they are."""
    lines = [line if isinstance(line, str) else json.dumps(line) for line in records]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def inline(monkeypatch: Any, *modules: Any) -> None:
    """Has tasks run one after the other in this process, in place of Ray."""

    def run(
        function: Callable[..., Any], shared: Any, arguments: Sequence[Any], *_: Any, **__: Any
    ) -> list[Any]:
        return [function(shared, *each) for each in arguments]

    for module in (driver, *modules):
        monkeypatch.setattr(module, "run_tasks", run)
