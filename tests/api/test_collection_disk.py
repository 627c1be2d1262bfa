"""Disks that are full or cannot be written: a NestlingError, and no loss."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from collection_helpers import (
    LEFT,
    assert_searches_agree,
    assert_whole,
    contents,
    opened,
    orphans,
    python,
)
from disks import small_file_system

from nestling import (
    StorageError,
)
from nestling.collection import check

FILLER = """
import resource, signal, sys, warnings
from pathlib import Path
from collection_helpers import Model, assert_searches_agree, assert_whole, contents, opened
from nestling import StorageError
from nestling.collection.storage import store

store.PENDING_ROWS = 50
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
refused = 0
with opened(path) as collection:
    collection.add([f"apple {i}" for i in range(30)], ids=range(30))
    before = contents(collection)
    for limit in (0, 1, 4096, 20_000, 100_000, 200_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        for change in (
            lambda: collection.add([f"stone {i} " * 50 for i in range(3000)], progress=False),
            lambda: collection.delete(where={}),
            lambda: collection.compact(),
            lambda: collection.backup(path.with_name(f"backup{limit}")),
            lambda: collection.export(path.with_name(f"export{limit}.jsonl")),
        ):
            try:
                change()
            except StorageError:
                refused += 1
                assert not path.with_name(f"backup{limit}").exists()
        found = contents(collection)
        assert_searches_agree(collection)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert_searches_agree(collection)
        assert_whole(collection)
        collection.delete(where={})
        collection.add([f"apple {i}" for i in range(30)], ids=range(30))
        assert contents(collection) == before
assert refused >= 10, refused
"""


def test_a_file_size_limit_loses_no_commit(tmp_path: Path) -> None:
    with python(FILLER, tmp_path / "c", stderr=subprocess.PIPE) as filler:
        _, complaint = filler.communicate(timeout=250)
        assert filler.returncode == 0, complaint.decode()
    with opened(tmp_path / "c") as collection:
        assert len(collection) == 30
        assert_whole(collection)
    assert orphans(tmp_path / "c") == ()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB, if this user may mount one."""
    with small_file_system(tmp_path / "disk", "2m") as disk:
        yield disk


def test_a_full_disk_loses_no_commit(small_disk: Path) -> None:
    with opened(small_disk / "c") as collection:
        collection.add(["apple", "bread"], ids=["a", "b"])
        before = contents(collection)
        with pytest.raises(StorageError, match=r"full|space"):
            collection.add([f"stone {i} " * 100 for i in range(5000)], progress=False)
        assert contents(collection) == before
        assert_searches_agree(collection)
        assert_whole(collection)
        collection.add(["river"], ids=["c"])
        assert len(collection) == 3


@pytest.fixture
def read_only_mount(folder: Path) -> Iterator[Path]:
    """The folder, mounted so that nobody can write to it."""
    mount = ["mount", "--bind", str(folder), str(folder)]
    again = ["mount", "-o", "remount,ro,bind", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        done = False
    if not done:
        pytest.skip("this user may not mount a folder read-only")
    subprocess.run(again, check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_storage_that_cannot_be_written_can_be_read(read_only_mount: Path) -> None:
    with opened(read_only_mount, read_only=True) as collection:
        assert contents(collection) == LEFT
        assert_searches_agree(collection)
        assert_whole(collection)
        collection.export(read_only_mount.parent / "e.jsonl")
        collection.backup(read_only_mount.parent / "b")
    with opened(read_only_mount.parent / "b") as copy:
        assert contents(copy) == LEFT
    with pytest.raises(StorageError):
        opened(read_only_mount).add(["x"])
    assert check(read_only_mount).ok
