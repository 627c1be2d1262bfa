"""A folder on a local disk or in object storage, by fsspec; failures that pass are tried again.

A file appears whole or not at all: object stores promise that, and on a local file system a file is
written beside its name, synced and renamed. `create` makes a file unless there is one of its name,
and of several callers exactly one succeeds: by `link` on a local file system, by a conditional
request (If-None-Match) on S3 and GCS.
"""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final, TypeVar

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from nestling import _core
from nestling._util.atomic import sync
from nestling._util.paths import absolute
from nestling._util.value import short_repr
from nestling.cluster.manifest import FileEntry
from nestling.cluster.packages import missing_cluster_package
from nestling.errors import ArgumentError, FormatError, NestlingError, PackageError, StorageError

__all__ = ["Storage", "checksum_of"]

_Result = TypeVar("_Result")

_ATTEMPTS: Final = 8
_SHORTEST_WAIT: Final = 0.05  # seconds
_LONGEST_WAIT: Final = 5.0
# What a second attempt would meet again.
_PERMANENT: Final = frozenset(
    (
        *(errno.ENOENT, errno.EEXIST, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT),
        *(errno.EROFS, errno.EFBIG, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
    )
)
_PERMANENT_KINDS: Final = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    NotADirectoryError,
    IsADirectoryError,
)
# The packages whose exceptions the file systems of fsspec let through as they are.
_CLIENTS: Final = frozenset(
    ("aiobotocore", "aiohttp", "botocore", "gcsfs", "google", "requests", "urllib3")
)
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)


class Storage:
    """A folder at any path of fsspec, such as "/data/corpus" or "s3://bucket/corpus".

    It can be pickled, and used by any number of threads.

    Args:
        path: The folder; it need not exist.
        options: Options of the file system, as fsspec takes them: credentials, endpoints.

    Raises:
        ArgumentError: There is no such file system, or it does not take the options.
        PackageError: The package of the file system is not installed.

    Example:
        >>> storage = Storage("folder")
        >>> storage.create("a/b", b"bread")
        >>> storage.read("a/b"), storage.list("a")
        (b'bread', ['a/b'])
    """

    def __init__(
        self, path: str | os.PathLike[str], options: Mapping[str, Any] | None = None
    ) -> None:
        self.path = os.fspath(path)
        self.options = dict(options or {})
        self._open()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._url, "options": self.options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Storage):
            return NotImplemented
        return (self._url, self.options) == (other._url, other.options)

    def __hash__(self) -> int:
        return hash(self._url)

    def __repr__(self) -> str:
        return f"Storage({short_repr(self.path)})"

    def _open(self) -> None:
        try:
            self._system, self._root = fsspec.core.url_to_fs(self.path, **self.options)
        except ImportError as error:
            raise PackageError(f"{self.path}: {error}") from error
        except (ValueError, TypeError) as error:
            raise ArgumentError(f"{self.path}: {error}") from error
        if self.is_local:
            self._root = str(absolute(self._root))
        self._root = self._root.rstrip("/")

    @cached_property
    def _url(self) -> str:
        """The path as other processes, in other folders, find it."""
        return self._root if self.is_local else self.path

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of the local file system."""
        return isinstance(self._system, LocalFileSystem)

    def local_path(self, name: str) -> Path | None:
        """Returns where a file is, if it is on the local file system."""
        return Path(self._root, name) if self.is_local else None

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """Returns the bytes of a file, or some of them.

        Raises:
            FileNotFoundError: There is none.
            StorageError: The storage failed again and again.
        """
        read = partial(self._system.cat_file, self._full(name), start=start, end=end)
        data: bytes = self._try("read", name, read)
        return data

    def write(self, name: str, data: bytes) -> None:
        """Writes a file, and replaces one of its name.

        Raises:
            StorageError: The storage failed again and again, or is full.
        """
        if self.is_local:
            write = partial(self._place, name, data, os.replace)
        else:
            write = partial(self._system.pipe_file, self._full(name), data)
        self._try("write", name, write)

    def create(self, name: str, data: bytes) -> None:
        """Writes a file unless there is one of its name: of several callers, one succeeds.

        Raises:
            FileExistsError: There is one with other contents.
            StorageError: The storage failed again and again, or is full.
        """
        if self.is_local:
            create = partial(self._place, name, data, os.link)
        else:
            create = partial(self._system.pipe_file, self._full(name), data, mode="create")
        try:
            self._try("write", name, create)
        except FileExistsError:
            # The reply to an attempt of our own may have been lost.
            if self.read(name) != data:
                raise

    def put(self, source: Path, name: str, *, move: bool = False) -> FileEntry:
        """Copies a local file into the folder, and replaces one of its name.

        Args:
            source: The file.
            name: The name that it gets.
            move: Whether the local file may be gone afterwards.

        Raises:
            StorageError: The storage failed again and again, or is full.
        """
        entry = FileEntry(name=name, bytes=source.stat().st_size, checksum=checksum_of(source))
        if self.is_local:
            put = partial(self._copy, source, name, move)
        else:
            put = partial(self._system.put_file, str(source), self._full(name))
        self._try("write", name, put)
        return entry

    def get(self, entry: FileEntry, target: Path, *, link: bool = False) -> None:
        """Copies a file to the local disk, and checks it.

        Args:
            entry: The file.
            target: The local file; its folder exists.
            link: Whether a link to the file will do, where it is on the same file system: the
                caller will not write to it.

        Raises:
            FormatError: It is missing, or corrupted; the message names it.
            StorageError: The storage failed again and again, or the disk is full; nothing is left.
        """
        try:
            source = self.local_path(entry.name) if link else None
            if source is None or not _linked(source, target):
                fetch = partial(self._system.get_file, self._full(entry.name), str(target))
                self._try("fetch", entry.name, fetch)
            self.compare(entry, target)
        except FileNotFoundError as error:
            target.unlink(missing_ok=True)
            raise FormatError(f"{self.describe(entry.name)}: the file is missing") from error
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def compare(self, entry: FileEntry, path: Path) -> None:
        """Raises an error unless a local file has the size and the checksum of an entry.

        Raises:
            FormatError: It does not; the message names the file of the entry.
        """
        size = path.stat().st_size
        if size != entry.bytes or checksum_of(path) != entry.checksum:
            raise FormatError(
                f"{self.describe(entry.name)}: corrupted: its checksum is not that of the "
                f"manifest ({size:,} bytes of {entry.bytes:,})"
            )

    def for_arrow(self) -> tuple[Any, str]:
        """Returns the file system as Arrow takes it, and the folder in it."""
        try:
            import pyarrow.fs
        except ImportError as error:
            raise missing_cluster_package(error) from error
        return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(self._system)), self._root

    def size(self, name: str) -> int:
        """Returns the bytes of a file.

        Raises:
            FileNotFoundError: There is none.
            StorageError: The storage failed again and again.
        """
        return int(self._try("read", name, partial(self._system.size, self._full(name))))

    def identity(self, name: str) -> str:
        """Returns what changes when the contents of a file do, without reading them.

        Raises:
            FileNotFoundError: There is none.
            StorageError: The storage failed again and again.
        """
        self._system.invalidate_cache()
        return f"{self._try('read', name, partial(self._system.checksum, self._full(name))):x}"

    def exists(self, name: str) -> bool:
        """Returns whether there is a file or a folder of this name."""
        self._system.invalidate_cache()
        try:
            self._try("read", name, partial(self._system.info, self._full(name)))
        except FileNotFoundError:
            return False
        return True

    def list(self, folder: str = "") -> list[str]:
        """Returns the names of all files below a folder, sorted; none if there is no folder.

        Raises:
            StorageError: The storage failed again and again.
        """
        root = self._full(folder) if folder else self._root
        # Otherwise fsspec leaves out what it cannot list.
        options = {"on_error": "raise"} if _lists_by_walking(self._system) else {}

        def found() -> list[str]:
            self._system.invalidate_cache()
            try:
                names: list[str] = self._system.find(root, **options)
            except FileNotFoundError:
                try:
                    self._system.info(root)
                except FileNotFoundError:
                    return []
                raise OSError("it changed while it was listed") from None
            return names

        prefix = len(self._root) + 1
        return sorted(name[prefix:] for name in self._try("list", folder, found))

    def remove(self, name: str) -> None:
        """Removes a file, if there is one."""
        with suppress(FileNotFoundError):
            self._try("remove", name, partial(self._system.rm_file, self._full(name)))
        path = self.local_path(name)
        with suppress(OSError):  # object stores have no empty folders either
            while path is not None and (path := path.parent) != Path(self._root):
                path.rmdir()

    def url(self, name: str) -> str:
        """Returns where a file is, as fsspec finds it; the folder itself for no name."""
        return str(self._system.unstrip_protocol(self._full(name) if name else self._root))

    def describe(self, name: str) -> str:
        """Returns what errors call a file."""
        return f"{self.path.rstrip('/')}/{name}"

    def _full(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _place(self, name: str, data: bytes, place: Callable[[Path, Path], None]) -> None:
        """Writes a file beside its name, and gives it the name by `place`."""
        target = Path(self._root, name)
        staged = self._staged(target)
        try:
            staged.write_bytes(data)
            sync(staged)
            place(staged, target)
            sync(target.parent)
        finally:
            staged.unlink(missing_ok=True)

    def _copy(self, source: Path, name: str, move: bool) -> None:
        target = Path(self._root, name)
        staged = self._staged(target)
        try:
            if not (move and _moved(source, staged)):
                shutil.copyfile(source, staged)
            sync(staged)
            staged.replace(target)
            sync(target.parent)
        finally:
            staged.unlink(missing_ok=True)

    def _staged(self, target: Path) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")

    def _try(self, action: str, name: str, call: Callable[[], _Result]) -> _Result:
        """Calls until a call succeeds, or fails in a way that would not pass.

        Raises:
            FileNotFoundError, FileExistsError: There is none, or one already.
            StorageError: The last error.
        """
        attempts = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(
                multiplier=_SHORTEST_WAIT, min=_SHORTEST_WAIT, max=_LONGEST_WAIT
            ),
            reraise=True,
        )
        try:
            result: _Result = attempts(call)
        except (FileNotFoundError, FileExistsError, NestlingError):
            raise
        except Exception as error:
            if not (isinstance(error, OSError) or _is_of_client(error)):
                raise
            number = getattr(error, "errno", None) or errno.EIO
            if number == errno.EIO and "PreconditionFailed" in repr(error):
                raise FileExistsError(errno.EEXIST, "exists", name) from error
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            if number in _NO_SPACE:
                reason = "the disk is full: make room, and try again"
            raise StorageError(
                number, f"cannot {action} {self.describe(name)}: {reason}"
            ) from error
        return result


def _lists_by_walking(system: Any) -> bool:
    """Returns whether a file system lists folder by folder, as fsspec does by default."""
    kind = type(system)
    if isinstance(system, AsyncFileSystem):
        return bool(kind._find is AsyncFileSystem._find)
    return bool(kind.find is AbstractFileSystem.find)


def checksum_of(path: Path) -> str:
    """Returns the XXH64 of a file, 16 hexadecimal digits.

    Example:
        >>> _ = Path("empty").write_bytes(b"")
        >>> checksum_of(Path("empty"))
        'ef46db3751d8e999'
    """
    with path.open("rb") as stream:
        if not os.fstat(stream.fileno()).st_size:  # which cannot be mapped
            return f"{_core.xxh64(b''):016x}"
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return f"{_core.xxh64(data):016x}"


def _moved(source: Path, target: Path) -> bool:
    """Renames a file, unless the two are on different file systems."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _linked(source: Path, target: Path) -> bool:
    """Makes a hard link, where the file system can."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True


def _may_pass(error: BaseException) -> bool:
    """Returns whether another attempt may succeed."""
    if isinstance(error, (NestlingError, *_PERMANENT_KINDS)):
        return False
    if "PreconditionFailed" in repr(error):  # the answer to If-None-Match
        return False
    if isinstance(error, OSError):
        return error.errno not in _PERMANENT
    return _is_of_client(error)


def _is_of_client(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in _CLIENTS
