"""Saves that die half way, by a full disk or a kill, leave the old file whole."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from disks import small_file_system

from nestling import Index, StorageError
from strategies import embeddings

TESTS = Path(__file__).parents[1]
FUNNEL = "16@4:400 > 32@16"


def built(n: int) -> Index:
    index = Index(32, funnel=FUNNEL)
    index.add(embeddings(np.random.default_rng(n), n, 32))
    return index


def run_script(script: str, *arguments: object) -> None:
    subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        timeout=120,
        check=True,
    )


LIMITED = """
import errno, resource, sys
from nestling import Index, StorageError
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[2])))
from test_index_faults import built

path, index = sys.argv[1], built(5000)
for limit in (0, 1, 63, 64, 4096, 50_000, 200_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        index.save(path)
    except StorageError as error:
        assert error.errno == errno.EFBIG, error
        assert str(path) in str(error), error
    else:
        raise AssertionError(f"saved within {limit} bytes")
"""


def test_a_file_size_limit_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.nest"
    built(100).save(path)
    before = path.read_bytes()
    run_script(LIMITED, path, Path(__file__).parent)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path], "a temporary file was left behind"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB, where this user may mount one."""
    with small_file_system(tmp_path / "disk", "256k") as disk:
        yield disk


def test_a_full_disk_leaves_the_old_file(small_disk: Path) -> None:
    path = small_disk / "a.nest"
    built(100).save(path)
    before = path.read_bytes()
    with pytest.raises(StorageError) as caught:
        built(20_000).save(path)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert list(small_disk.iterdir()) == [path], "a temporary file was left behind"
    built(200).save(path)
    assert len(Index.load(path)) == 200


SAVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_index_faults import built

indexes = [built(3000), built(20_000)]
print("ready", flush=True)
while True:
    for index in indexes:
        index.save(sys.argv[1])
"""


@pytest.mark.slow
def test_a_killed_save_leaves_one_of_the_files_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.nest"
    expected = {n: built(n) for n in (3000, 20_000)}
    expected[3000].save(path)
    queries = embeddings(np.random.default_rng(0), 5, 32)
    rng = random.Random(4)
    seen = set()
    for _ in range(30):
        with subprocess.Popen(
            [sys.executable, "-c", SAVER, str(path), str(Path(__file__).parent)],
            env=os.environ | {"PYTHONPATH": str(TESTS)},
            stdout=subprocess.PIPE,
        ) as saver:
            assert saver.stdout is not None
            assert saver.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0.0, 0.06))
            saver.send_signal(signal.SIGKILL)
        loaded = Index.load(path)
        seen.add(len(loaded))
        np.testing.assert_array_equal(
            loaded.search(queries).scores, expected[len(loaded)].search(queries).scores
        )
    assert seen == {3000, 20_000}, "the saver was always killed in the same file"
    expected[3000].save(path)  # whatever the dead left behind does not stand in the way
    assert len(Index.load(path)) == 3000
