"""Atomic outputs: a process killed at any step leaves the old output or the new one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from nestling import Index
from nestling._util import atomic
from nestling._util.atomic import install, new_file, new_folder, recover_folder, sync_tree
from nestling.errors import LockedError, StorageError


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o644, 0o444, 0o666, 0o755])
def test_a_replaced_file_keeps_its_mode(tmp_path: Path, bits: int) -> None:
    target, index = tmp_path / "file", tmp_path / "index.nest"
    before = os.umask(0o022)
    try:
        for number in range(3):
            with new_file(target) as path:
                assert number == 0 or mode(path) == 0o600  # nobody else reads what is half written
                path.write_text(str(number))
            Index(4).save(index)
            if number == 0:
                assert mode(target) == mode(index) == 0o644  # new files follow the umask
                target.chmod(bits)
                index.chmod(bits)
        assert target.read_text() == "2"
        assert len(Index.load(index)) == 0
        assert mode(target) == mode(index) == bits
        assert sorted(tmp_path.iterdir()) == [target, index]
    finally:
        os.umask(before)


def test_a_replaced_folder_keeps_its_mode_and_those_of_its_files(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    before = os.umask(0o022)
    try:
        for number in range(2):
            with new_folder(target) as path:
                assert mode(path) == (0o700 if number else 0o755)
                (path / "secret").write_text(str(number))
                (path / f"new{number}").write_text("")
            if number == 0:
                assert mode(target) == 0o755
                target.chmod(0o750)
                (target / "secret").chmod(0o600)
    finally:
        os.umask(before)
    assert mode(target) == 0o750
    assert {path.name: mode(path) for path in target.iterdir()} == {"secret": 0o600, "new1": 0o644}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_root_keeps_the_owner_of_a_replaced_file(tmp_path: Path) -> None:
    target, index = tmp_path / "file", tmp_path / "index.nest"
    for _ in range(2):
        with new_file(target) as path:
            path.write_text("text")
        Index(4).save(index)
        for path in (target, index):
            os.chown(path, 12_345, 23_456)
    with new_file(target) as path:
        path.write_text("again")
    Index(4).save(index)
    assert [(p.stat().st_uid, p.stat().st_gid) for p in (target, index)] == [(12_345, 23_456)] * 2


# Kills itself before the line of atomic.py with the given number of lines executed before it; the
# parent counts how far it came. Forks, because a Python process takes long to start.
KILLED_AT_EVERY_LINE = """
import os, signal, sys
from pathlib import Path
from nestling._util import atomic

kind, exchange, folder = sys.argv[1], sys.argv[2] == "exchange", Path(sys.argv[3])
if not exchange:
    atomic._exchange = lambda first, second: False

def write(target, word):
    if kind == "file":
        with atomic.new_file(target) as path:
            path.write_text(word)
    else:
        with atomic.new_folder(target) as path:
            (path / "sub").mkdir()
            (path / "first").write_text(word)
            (path / "sub" / "second").write_text(word)

def content(target):
    if kind == "file":
        return target.read_text()
    first, second = ((target / name).read_text() for name in ("first", "sub/second"))
    return first if first == second else "mixed"

def killed(target, lines):
    left = lines
    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename != atomic.__file__:
            return None
        if event == "line":
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return trace
    sys.settrace(trace)
    write(target, "new")
    sys.settrace(None)

seen = []
lines = 0
while True:
    target = folder / str(lines) / "target"
    write(target, "old")
    child = os.fork()
    if child == 0:
        killed(target, lines)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not exchange:
        atomic.recover_folder(target)
    found = content(target)
    assert found in ("old", "new"), (lines, found)
    seen.append(found)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        break
    assert os.WTERMSIG(status) == signal.SIGKILL
    if lines % 10 == 0:  # the next writer cleans up what a killed one left
        write(target, "next")
        assert content(target) == "next"
        left = [path.name for path in target.parent.iterdir()]
        assert kind == "file" or left == ["target"], left
    lines += 1
assert seen[0] == "old" and seen[-1] == "new" and lines > 20, (lines, seen)
assert seen == sorted(seen, reverse=True), seen  # once new, it stays new
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("method", ["exchange", "aside"])
def test_killed_at_any_line_the_target_is_old_or_new(
    tmp_path: Path, kind: str, method: str
) -> None:
    subprocess.run(
        [sys.executable, "-c", KILLED_AT_EVERY_LINE, kind, method, str(tmp_path)],
        check=True,
        timeout=300,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is a call of Linux")
def test_folders_exchange_names_in_one_step(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert atomic._exchange(tmp_path / "first", tmp_path / "second")
    assert (tmp_path / "first" / "second").exists()
    assert (tmp_path / "second" / "first").exists()
    with pytest.raises(FileNotFoundError):
        atomic._exchange(tmp_path / "first", tmp_path / "absent")


def test_everything_reaches_the_disk_before_its_name_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    monkeypatch.setattr(atomic, "sync", lambda path: steps.append(f"sync {path.name}"))
    exchange = atomic._exchange
    monkeypatch.setattr(
        atomic, "_exchange", lambda *paths: steps.append("exchange") or exchange(*paths)
    )
    for word in ("old", "new"):
        steps.clear()
        with new_folder(tmp_path / "target") as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "leaf").write_text(word)
            staged = folder.name
    written = ["sync leaf", "sync sub", f"sync {staged}"]
    assert steps == [*written, "exchange", f"sync {tmp_path.name}"]
    steps.clear()
    with new_file(tmp_path / "file") as path:
        path.write_text("new")
    assert steps == [f"sync {path.name}", f"sync {tmp_path.name}"]


def _fail_after_writing(path: Path) -> None:
    path.write_text("new")
    raise KeyError


def test_an_error_leaves_the_old_output_and_nothing_else(tmp_path: Path) -> None:
    for kind in (new_file, new_folder):
        target = tmp_path / kind.__name__
        with kind(target) as path:
            path.write_text("old") if kind is new_file else (path / "old").touch()
        with pytest.raises(KeyError), kind(target) as path:
            _fail_after_writing(path if kind is new_file else path / "new")
    assert (tmp_path / "new_file").read_text() == "old"
    assert [path.name for path in (tmp_path / "new_folder").iterdir()] == ["old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new_file", "new_folder"]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_replaces_a_file_a_link_and_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(atomic, "_exchange", lambda first, second: False)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(elsewhere)
    (tmp_path / "empty").mkdir()
    for name in ("file", "link", "empty"):
        with new_folder(tmp_path / name) as folder:
            (folder / "new").touch()
        assert [path.name for path in (tmp_path / name).iterdir()] == ["new"]
    assert (elsewhere / "kept").exists()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["elsewhere", "empty", "file", "link"]


def test_an_interrupted_replacement_is_recovered_by_the_next_writer(tmp_path: Path) -> None:
    target, aside = tmp_path / "target", tmp_path / ".target.replaced"
    aside.mkdir()
    (aside / "old").touch()
    with pytest.raises(KeyError), new_folder(target):
        raise KeyError
    assert (target / "old").exists()
    aside.mkdir()  # killed after the new folder was in place
    recover_folder(target)
    assert (target / "old").exists()
    assert not aside.exists()


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    target = tmp_path / "target"
    prefix = atomic._prefix(target)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for process in (dead.pid, os.getppid()):
        (tmp_path / f"{prefix}{process}-0.tmp").mkdir()
    (tmp_path / f".target.ffffffff-{dead.pid}-0.tmp").mkdir()  # of another machine
    with new_folder(target):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["target", f"{prefix}{os.getppid()}-0.tmp", f".target.ffffffff-{dead.pid}-0.tmp"]
    )


def test_what_the_system_refuses_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for kind in (new_file, new_folder):
        with pytest.raises(StorageError, match="cannot write"), kind(tmp_path / "file" / "target"):
            pass
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept").touch()
    with pytest.raises(StorageError, match="cannot write"), new_file(tmp_path / "full") as path:
        path.write_text("new")
    assert (tmp_path / "full" / "kept").exists()


@pytest.mark.parametrize("kind", [new_file, new_folder])
def test_an_error_of_the_block_keeps_its_type(
    tmp_path: Path, kind: Callable[[Path], AbstractContextManager[Path]]
) -> None:
    """A LockedError is a TimeoutError, and so an OSError, but the target can be written."""
    with pytest.raises(LockedError, match="busy"), kind(tmp_path / "target"):
        raise LockedError("busy")


def test_links_are_not_followed_when_a_tree_is_flushed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "broken").symlink_to(tmp_path / "absent")
    sync_tree(folder)
    install(folder, tmp_path / "target")
    assert (tmp_path / "target" / "broken").is_symlink()
