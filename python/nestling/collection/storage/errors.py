"""What SQLite's result codes mean for a collection: an exception and an advice for each.

SQLite has some thirty result codes and a hundred extended ones. Only `CORRUPT` and `NOTADB` say
that a database is corrupted, so only they advise to restore a backup. The other codes name a limit
of the system, another process, or a fault of nestling's own statements.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from nestling.errors import (
    ArgumentError,
    ClosedError,
    FormatError,
    InternalError,
    LockedError,
    StorageError,
)

__all__ = ["named_error", "result_code"]

# Extended codes are the primary code plus a multiple of 256.
_ERROR, _PERM, _BUSY, _LOCKED, _NOMEM, _READONLY, _INTERRUPT = 1, 3, 5, 6, 7, 8, 9
_IOERR, _CORRUPT, _FULL, _CANTOPEN, _PROTOCOL, _SCHEMA, _TOOBIG = 10, 11, 13, 14, 15, 17, 18
_CONSTRAINT, _MISMATCH, _NOLFS, _NOTADB, _WARNING = 19, 20, 22, 26, 28
_BUSY_RECOVERY: Final = _BUSY + (1 << 8)
_READONLY_RECOVERY: Final = _READONLY + (1 << 8)
_READONLY_ROLLBACK: Final = _READONLY + (3 << 8)
_READONLY_DBMOVED: Final = _READONLY + (4 << 8)
_READONLY_CANTINIT: Final = _READONLY + (5 << 8)
_READONLY_DIRECTORY: Final = _READONLY + (6 << 8)
_CANTOPEN_NOTEMPDIR: Final = _CANTOPEN + (1 << 8)
_CANTOPEN_ISDIR: Final = _CANTOPEN + (2 << 8)
_CANTOPEN_DIRTYWAL: Final = _CANTOPEN + (5 << 8)
_IOERR_NOMEM: Final = _IOERR + (12 << 8)
_IOERR_DATA: Final = _IOERR + (32 << 8)
_IOERR_CORRUPTFS: Final = _IOERR + (33 << 8)
# READ, SHORT_READ, FSTAT, ACCESS, CLOSE, SEEK, VNODE: no file grows.
_IOERR_OF_READING: Final = tuple(_IOERR + (number << 8) for number in (1, 2, 7, 13, 16, 22, 27))
# UNLOCK, RDLOCK, BLOCKED, CHECKRESERVEDLOCK, LOCK, SHMLOCK.
_IOERR_OF_LOCKS: Final = tuple(_IOERR + (number << 8) for number in (8, 9, 11, 14, 15, 20))

# The beginnings of SQLite's messages, for Python 3.10, whose exceptions carry no code.
_MESSAGES: Final = {
    "access permission denied": _PERM,
    "database is locked": _BUSY,
    "database table is locked": _LOCKED,
    "database schema is locked": _LOCKED,
    "out of memory": _NOMEM,
    "attempt to write a readonly database": _READONLY,
    "interrupted": _INTERRUPT,
    "disk I/O error": _IOERR,
    "database disk image is malformed": _CORRUPT,
    "malformed database schema": _CORRUPT,
    "database or disk is full": _FULL,
    "unable to open database file": _CANTOPEN,
    "locking protocol": _PROTOCOL,
    "database schema has changed": _SCHEMA,
    "string or blob too big": _TOOBIG,
    "query string is too large": _TOOBIG,  # of the module sqlite3, without a code
    "large file support is disabled": _NOLFS,
    "file is not a database": _NOTADB,
    "datatype mismatch": _MISMATCH,
}
_SPARE_DESCRIPTORS: Final = 4  # more than one connection opens: database, log, and index of the log
_PROBE_BYTES: Final = 1 << 16

_BACKUP: Final = "restore a backup, or save what can still be read with `nestling export`"
_LOG_LEFT: Final = (
    "a writer that was killed left a write-ahead log, which cannot be read in where the folder "
    "cannot be written: copy the folder to other storage, or open the collection once where it "
    "can be written"
)
_RETRY: Final = "try again"


class _Case(NamedTuple):
    """One error of SQLite.

    Attributes:
        path: The database.
        code: The extended result code.
        message: SQLite's message.
        damage: Finds out what is corrupted; None if nothing is.
    """

    path: Path
    code: int
    message: str
    damage: Callable[[], str | None]

    def storage(self, number: int, text: str) -> StorageError:
        return StorageError(number, f"the database: {text} ({self.message})", str(self.path))


def result_code(error: sqlite3.Error) -> int:
    """Returns the extended result code of an error; 0 if the module sqlite3 raised it by itself.

    Example:
        >>> result_code(sqlite3.OperationalError("disk I/O error"))
        10
    """
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code
    message = str(error)
    for beginning, known in _MESSAGES.items():
        if message.startswith(beginning):
            return known
    if isinstance(error, sqlite3.IntegrityError):
        return _CONSTRAINT
    if isinstance(error, sqlite3.OperationalError):
        return 0 if message.startswith("Could not decode") else _ERROR
    return 0


def named_error(
    error: sqlite3.Error | UnicodeDecodeError,
    path: Path,
    damage: Callable[[], str | None] = lambda: None,
) -> Exception:
    """Returns the exception that says what an error of SQLite means, and what to do.

    Args:
        error: As the module sqlite3 raised it.
        path: The database.
        damage: Called where a statement is refused that an intact database would accept: finds out
            what is corrupted, and returns None if nothing is.

    Example:
        >>> full = sqlite3.OperationalError("database or disk is full")
        >>> named_error(full, Path("notes/collection.db")).errno == errno.ENOSPC
        True
    """
    message = " ".join(str(error).split())[:300]
    if isinstance(error, UnicodeDecodeError) or message.startswith("Could not decode"):
        return FormatError(f"{path}: corrupted: a text is not UTF-8; {_BACKUP}")
    if isinstance(error, sqlite3.ProgrammingError) and "closed database" in message:
        return ClosedError(f"{path.parent}: the collection is closed")
    code = result_code(error)
    case = _Case(path, code, message, damage)
    return _CASES.get(code, _CASES.get(code & 0xFF, _internal))(case)


def _internal(case: _Case) -> Exception:
    found = case.damage()
    if found is not None:
        return FormatError(f"{case.path}: corrupted: {found} ({case.message}); {_BACKUP}")
    return InternalError(
        f"{case.path}: the database refused a statement of nestling: {case.message} (SQLite's code "
        f"{case.code}); nothing was changed. `nestling check` says whether the collection is "
        "intact; if it is, please report this as a fault of nestling"
    )


def _corrupted(case: _Case) -> Exception:
    return FormatError(f"{case.path}: corrupted or truncated: {case.message}; {_BACKUP}")


def _foreign(case: _Case) -> Exception:
    return FormatError(
        f"{case.path}: not an SQLite database: it was overwritten, encrypted or truncated "
        f"({case.message}); restore a backup"
    )


def _locked(case: _Case) -> Exception:
    return LockedError(f"{case.path}: another process is writing ({case.message}); {_RETRY}")


def _recovering(case: _Case) -> Exception:
    return LockedError(
        f"{case.path}: another process is reading in the log of a killed writer ({case.message}); "
        f"{_RETRY}"
    )


def _schema_changed(case: _Case) -> Exception:
    return LockedError(f"{case.path}: another process declares fields ({case.message}); {_RETRY}")


def _no_memory(case: _Case) -> Exception:
    return MemoryError(f"{case.path}: no memory is left for SQLite")


def _full(case: _Case) -> Exception:
    return case.storage(
        errno.ENOSPC, "the disk is full; the change was not made: make room, and try again"
    )


def _permission(case: _Case) -> Exception:
    return case.storage(errno.EACCES, "the system denied access; check the permissions")


def _interrupted(case: _Case) -> Exception:
    return case.storage(errno.EINTR, "the call was interrupted; nothing was changed")


def _no_large_files(case: _Case) -> Exception:
    return case.storage(errno.EFBIG, "the file system does not take files as large")


def _too_big(case: _Case) -> Exception:
    return ArgumentError(
        f"{case.path}: a text, a list or a filter is larger than SQLite takes, 1,000,000,000 bytes "
        f"({case.message}); split it"
    )


def _read_only(case: _Case) -> Exception:
    if _is_read_only(case.path.parent):
        return case.storage(
            errno.EROFS, "the file system cannot be written; to search it, use read_only=True"
        )
    return case.storage(
        errno.EACCES, "no permission to write; check the owner and the mode of the folder's files"
    )


def _moved(case: _Case) -> Exception:
    return case.storage(
        errno.ESTALE, "it was moved, deleted or replaced while it was open; open it again"
    )


def _log_left(case: _Case) -> Exception:
    return case.storage(errno.EROFS, _LOG_LEFT)


def _cannot_open(case: _Case) -> Exception:
    return case.storage(*_obstacle(case.path))


def _is_folder(case: _Case) -> Exception:
    return case.storage(errno.EISDIR, "a folder has its name; move that away")


def _no_temporary_folder(case: _Case) -> Exception:
    return case.storage(
        errno.ENOENT, "no folder for temporary files can be written; set TMPDIR to one"
    )


def _failed_read(case: _Case) -> Exception:
    number, text = _obstacle(case.path)
    if number != errno.EAGAIN:
        return case.storage(number, text)
    return case.storage(errno.EIO, "the disk cannot be read; check the disk and its cable or mount")


def _failed_lock(case: _Case) -> Exception:
    return case.storage(
        errno.ENOLCK,
        "the file system refused a lock; keep collections on a local file system, not on a network",
    )


def _failed_write(case: _Case) -> Exception:
    if (refused := _write_refusal(case.path)) is not None:
        return case.storage(*refused)
    return case.storage(
        errno.EIO, "the disk cannot be written; check the disk and its cable or mount"
    )


_CASES: Final[dict[int, Callable[[_Case], Exception]]] = {
    _PERM: _permission,
    _BUSY: _locked,
    _BUSY_RECOVERY: _recovering,
    _LOCKED: _locked,
    _NOMEM: _no_memory,
    _READONLY: _read_only,
    _READONLY_RECOVERY: _log_left,
    _READONLY_ROLLBACK: _log_left,
    _READONLY_CANTINIT: _log_left,
    _READONLY_DBMOVED: _moved,
    _READONLY_DIRECTORY: _read_only,
    _INTERRUPT: _interrupted,
    _IOERR: _failed_write,
    **dict.fromkeys(_IOERR_OF_READING, _failed_read),
    **dict.fromkeys(_IOERR_OF_LOCKS, _failed_lock),
    _IOERR_NOMEM: _no_memory,
    _IOERR_DATA: _corrupted,
    _IOERR_CORRUPTFS: _corrupted,
    _CORRUPT: _corrupted,
    _FULL: _full,
    _CANTOPEN: _cannot_open,
    _CANTOPEN_NOTEMPDIR: _no_temporary_folder,
    _CANTOPEN_ISDIR: _is_folder,
    _CANTOPEN_DIRTYWAL: _log_left,
    _PROTOCOL: _locked,
    _SCHEMA: _schema_changed,
    _TOOBIG: _too_big,
    _NOLFS: _no_large_files,
    _NOTADB: _foreign,
}


def _too_many_files() -> tuple[int, str] | None:
    """Returns an errno and a text if too few descriptors are left for a connection, or None."""
    opened: list[int] = []
    try:
        for _ in range(_SPARE_DESCRIPTORS):
            opened.append(os.open(os.devnull, os.O_RDONLY))  # noqa: PERF401 - some may fail
    except OSError as error:
        what = "the system" if error.errno == errno.ENFILE else "this process"
        return (
            error.errno or errno.EMFILE,
            f"{what} has too many open files: close some, or raise the limit (ulimit -n)",
        )
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return None


def _obstacle(path: Path) -> tuple[int, str]:
    """Returns why a database cannot be opened, as an errno and a text; EAGAIN if nothing shows.

    The database itself must not be opened here: closing it would release this process's locks.
    """
    if (short := _too_many_files()) is not None:
        return short
    folder = path.parent
    try:
        folder.stat()
        is_file = path.is_file()
        exists = path.exists()
    except OSError as error:
        number = error.errno or errno.EACCES
        if number in (errno.ENOENT, errno.ENOTDIR):
            return number, "the folder was moved or deleted"
        return number, f"the folder cannot be read: {error.strerror}"
    if not exists:
        return errno.ENOENT, "it was moved or deleted"
    if not is_file:
        return errno.EISDIR, "its name belongs to something that is not a file"
    if not (os.access(folder, os.X_OK) and os.access(path, os.R_OK)):
        return errno.EACCES, "no permission to read it; check the owner and the mode"
    log = path.with_name(f"{path.name}-wal")
    if not os.access(folder, os.W_OK):
        number = errno.EROFS if _is_read_only(folder) else errno.EACCES
        if log.exists() and log.stat().st_size > 0:
            return number, _LOG_LEFT
        return number, "the folder cannot be written; to search it, use read_only=True"
    for companion in (log, path.with_name(f"{path.name}-shm")):
        if companion.exists() and not os.access(companion, os.R_OK | os.W_OK):
            return errno.EACCES, f"no permission to use {companion.name}; check its owner and mode"
    return (
        errno.EAGAIN,
        "it could not be opened, and the reason has passed (perhaps too many open files: ulimit "
        f"-n); {_RETRY}",
    )


def _write_refusal(path: Path) -> tuple[int, str] | None:
    """Returns why the folder of a database cannot be written, as an errno and a text, or None."""
    if (short := _too_many_files()) is not None:
        return short
    try:
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        number = error.errno or errno.EIO
        if number in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            return number, f"{error.strerror}: make room, and try again; the change was not made"
        return number, f"the folder cannot be written: {error.strerror}"
    if (limit := _file_size_limit()) is not None:
        sizes = [file.stat().st_size for file in path.parent.glob(f"{path.name}*")]
        if max(sizes, default=0) + _PROBE_BYTES > limit:
            return (
                errno.EFBIG,
                f"the limit of a file's size, {limit:,} bytes, is reached (ulimit -f); the change "
                "was not made",
            )
    return None


def _file_size_limit() -> int | None:
    """Returns the most bytes that a file of this process may have; None for any number."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if soft == resource.RLIM_INFINITY else soft


def _is_read_only(folder: Path) -> bool:
    """Returns whether the file system of a folder is mounted so that nobody can write to it."""
    if sys.platform == "win32":
        return False
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False
