"""Outputs that appear whole or not at all, even if the process is killed or the power fails.

An output is written beside its target, flushed to the disk, and then takes the target's name in one
step. A file is renamed over the old one. Two folders exchange their names by one system call
(`renameat2` with RENAME_EXCHANGE on Linux, `renamex_np` with RENAME_SWAP on macOS), because a
folder cannot be renamed over a full one. Where the system has no such call, the old folder is first
moved aside to a fixed name; a process killed before the next step leaves it there, and
`recover_folder` moves it back.

What replaces a file or folder has its mode and, as far as the system allows, its owner: what only
its owner may read stays so.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import shutil
import socket
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

from nestling._util.paths import absolute
from nestling.errors import NestlingError, StorageError

__all__ = [
    "install",
    "new_file",
    "new_folder",
    "recover_folder",
    "refuse_to_replace",
    "sync",
    "sync_tree",
]

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2  # Linux
_RENAME_SWAP: Final = 2  # macOS
# What a kernel or a file system answers that cannot exchange names.
_UNSUPPORTED: Final = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
_F_FULLFSYNC: Final = 51  # macOS: fsync() there does not flush the drive's own cache
_STAGED: Final = ".tmp"
_ASIDE: Final = ".replaced"

_numbers = itertools.count()

_Exchange = Callable[[Path, Path], bool]


def refuse_to_replace(target: Path, *, force: bool, is_our_output: Callable[[Path], bool]) -> None:
    """Checks that writing `target` destroys nothing that the user did not agree to lose.

    Args:
        target: Where the output is to appear.
        force: Whether the user agreed to replace what is there.
        is_our_output: Whether an existing path is such an output, and so may be replaced at all.

    Raises:
        StorageError: `target` exists and must not be replaced.

    Example:
        >>> refuse_to_replace(Path("new"), force=False, is_our_output=Path.is_file)
        >>> _ = Path("taken").write_text("3")
        >>> refuse_to_replace(Path("taken"), force=True, is_our_output=Path.is_dir)
        Traceback (most recent call last):
        nestling.errors.StorageError: taken: exists and is something else; choose another place
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not is_our_output(target):
        raise StorageError(f"{target}: exists and is something else; choose another place")
    if not force:
        raise StorageError(f"{target}: exists; choose another place, or replace it with --force")


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Yields the path to write to; it becomes `target` when the block ends without an error.

    Raises:
        StorageError: The system refused to write.

    Example:
        >>> with new_file(Path("answer.txt")) as path:
        ...     _ = path.write_text("42")
        >>> Path("answer.txt").read_text()
        '42'
    """
    target = absolute(target)
    staged = _beside(target)
    try:
        with _storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_file():
                staged.touch(mode=0o600)
            yield staged
            install(staged, target)
    finally:
        _remove(staged)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yields a new folder to fill; it becomes `target` when the block ends without an error.

    Raises:
        StorageError: The system refused to write.

    Example:
        >>> with new_folder(Path("answers")) as folder:
        ...     _ = (folder / "first").write_text("42")
        >>> [path.name for path in Path("answers").iterdir()]
        ['first']
    """
    target = absolute(target)
    staged = _beside(target)
    try:
        with _storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            recover_folder(target)
            _remove_leftovers(target)
            staged.mkdir(mode=0o700 if target.is_dir() else 0o777)
            yield staged
            install(staged, target)
    finally:
        _remove(staged)


def install(staged: Path, target: Path) -> None:
    """Gives a finished file or folder the name `target`, so that a crash leaves the old or the new.

    The content reaches the disk before the name changes, and the name before the call returns. An
    old folder is removed. Mode and owner stay those of the old file, or of the old folder and of
    what it had under the same names.

    Args:
        staged: The new file or folder, on the same file system.
        target: Its final name. It may exist; its parent folder must.

    Raises:
        OSError: The system refused.

    Example:
        >>> _ = Path("staged").write_text("new")
        >>> install(Path("staged"), Path("final"))
        >>> Path("final").read_text(), Path("staged").exists()
        ('new', False)
    """
    for path in (staged, *staged.rglob("*")) if staged.is_dir() else (staged,):
        _keep_access(target / path.relative_to(staged), path)
    sync_tree(staged)
    if staged.is_dir() and os.path.lexists(target):
        if _exchange(staged, target):
            sync(target.parent)
            _remove(staged)  # the old folder, under the new one's name
        else:
            aside = _aside(target)
            _remove(aside)
            target.rename(aside)
            staged.rename(target)
            sync(target.parent)
            _remove(aside)
    else:
        staged.replace(target)
        sync(target.parent)


def _keep_access(old: Path, new: Path) -> None:
    """Gives a new file or folder the mode and, as far as allowed, the owner of the old one."""
    if new.is_symlink():
        return
    try:
        before, made = old.stat(), new.stat()
    except OSError:  # there is no old one
        return
    if stat.S_IFMT(before.st_mode) != stat.S_IFMT(made.st_mode):
        return
    mode = stat.S_IMODE(before.st_mode)
    if (before.st_uid, before.st_gid) != (made.st_uid, made.st_gid):
        try:
            os.chown(new, before.st_uid, before.st_gid)
        except OSError:
            try:
                os.chown(new, -1, before.st_gid)
            except OSError:
                mode &= ~stat.S_IRWXG  # another group must not gain what the old one had
    with suppress(OSError):  # not every file system has modes
        new.chmod(mode)


def recover_folder(target: Path) -> None:
    """Restores a folder whose replacement was interrupted where names cannot be exchanged.

    Nothing happens if `target` exists, or if no replacement was interrupted.

    Example:
        >>> recover_folder(Path("never-written"))
        >>> Path("never-written").exists()
        False
    """
    aside = _aside(target)
    if os.path.lexists(target):
        _remove(aside)  # killed after the new folder was in place
    elif os.path.lexists(aside):
        aside.rename(target)
        sync(target.parent)


def sync(path: Path) -> None:
    """Flushes a file, or the names in a folder, to the disk.

    Example:
        >>> _ = Path("data").write_text("3")
        >>> sync(Path("data"))
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if sys.platform == "darwin":
            import fcntl

            try:
                fcntl.fcntl(descriptor, _F_FULLFSYNC)
            except OSError:  # not every file system has it
                os.fsync(descriptor)
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Flushes a file, or a folder with everything in it, to the disk; links are not followed.

    Example:
        >>> Path("tree").mkdir()
        >>> _ = Path("tree", "leaf").write_text("3")
        >>> sync_tree(Path("tree"))
    """
    if path.is_dir():
        for folder, _, names in os.walk(path, topdown=False):
            for name in names:
                file = Path(folder, name)
                if not file.is_symlink():
                    sync(file)
            sync(Path(folder))
    else:
        sync(path)


def _exchange(first: Path, second: Path) -> bool:
    """Exchanges two names in one step; False where the system cannot."""
    exchange = _exchanger()
    return exchange is not None and exchange(first, second)


@cache
def _exchanger() -> _Exchange | None:
    """Returns what exchanges two names by a system call; None where there is no such call."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            call, fixed = libc.renamex_np, _RENAME_SWAP
        else:
            call, fixed = libc.renameat2, _RENAME_EXCHANGE
    except (AttributeError, OSError):
        return None

    def exchange(first: Path, second: Path) -> bool:
        names = os.fsencode(first), os.fsencode(second)
        if sys.platform == "darwin":
            failed = call(*names, ctypes.c_uint(fixed))
        else:
            failed = call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], ctypes.c_uint(fixed))
        if not failed:
            return True
        code = ctypes.get_errno()
        if code in _UNSUPPORTED:
            return False
        raise OSError(code, os.strerror(code), str(second))

    return exchange


def _prefix(target: Path) -> str:
    host = zlib.crc32(socket.gethostname().encode(errors="replace"))
    return f".{target.name}.{host:08x}-"


def _beside(target: Path) -> Path:
    """Returns a name that no other process or thread uses, on no other machine either."""
    return target.with_name(f"{_prefix(target)}{os.getpid()}-{next(_numbers)}{_STAGED}")


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}{_ASIDE}")


def _remove_leftovers(target: Path) -> None:
    """Removes what processes of this machine that were killed have left beside the target."""
    prefix = _prefix(target)
    for path in target.parent.iterdir():
        if path.name.startswith(prefix) and path.name.endswith(_STAGED):
            process, _, _ = path.name.removeprefix(prefix).partition("-")
            if process.isdecimal() and not _is_alive(int(process)):
                _remove(path)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def _storage_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except NestlingError:  # some are OSErrors too
        raise
    except OSError as error:
        raise StorageError(f"{target}: cannot write: {error.strerror or error}") from error
