"""Index files: what comes back, and that only a complete, intact file is ever loaded."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling import FormatError, IdError, Index, StorageError
from nestling.index.cells import Cells
from oracle import same
from strategies import embeddings

FUNNEL = "6@4:20 > 9@8:10 > 13@16"


def rows(n: int) -> np.ndarray:
    return embeddings(np.random.default_rng(n), n, 13)


def made(version: int, threads: int | None = None) -> Index:
    """A small index that has every section of this version of the format."""
    index = Index(13, funnel=FUNNEL, threads=threads)
    index.add(rows(37), ids=np.arange(37)[::-1] * 5)
    if version == 2:
        index.rebuild(rotate=True, centre=True, cells=Cells(3, probes=2, dims=5))
        index.add(rows(4), ids=[1, 2, 3, 4])
        index.remove([3, 5])
    return index


@pytest.fixture(scope="module")
def index() -> Index:
    return made(1)


@pytest.fixture(scope="module", params=[1, 2])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def whole(version: int, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "a.nest"
    made(version).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("name", ["a b.nest", "فهرس 日本 é.nest", os.fsdecode(b"caf\xe9.nest")])
def test_a_file_may_have_any_name(index: Index, tmp_path: Path, kind: type, name: str) -> None:
    path = kind(tmp_path / name)
    index.save(path)
    assert len(Index.load(path)) == 37
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_the_same_rows_make_the_same_file(version: int, whole: bytes, tmp_path: Path) -> None:
    made(version, threads=3).save(tmp_path / "b.nest")
    assert (tmp_path / "b.nest").read_bytes() == whole
    Index.load(tmp_path / "b.nest").save(tmp_path / "c.nest")
    assert (tmp_path / "c.nest").read_bytes() == whole


def test_a_new_file_has_the_permissions_that_the_umask_leaves(index: Index, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        index.save(tmp_path / "a.nest")
    finally:
        os.umask(before)
    assert (tmp_path / "a.nest").stat().st_mode & 0o777 == 0o640


def test_rows_can_be_added_to_a_loaded_index(index: Index, tmp_path: Path) -> None:
    """And not to the file, which stays as it is until the next save."""
    path = tmp_path / "a.nest"
    index.save(path)
    before = path.read_bytes()
    loaded = Index.load(path)
    extra = rows(50)
    assert loaded.add(extra).tolist() == list(range(181, 231))
    assert path.read_bytes() == before
    fresh = Index(13, funnel=FUNNEL)
    fresh.add(rows(37), ids=np.arange(37)[::-1] * 5)
    fresh.add(extra)
    expected = fresh.search(extra, k=20)
    for answering in (loaded, saved_and_loaded(loaded, path)):
        hits = answering.search(extra, k=20)
        np.testing.assert_array_equal(hits.ids, expected.ids)
        np.testing.assert_array_equal(hits.scores, expected.scores)
    with pytest.raises(IdError, match="180"):
        loaded.add(extra[:1], ids=[180])


def saved_and_loaded(index: Index, path: Path) -> Index:
    index.save(path)
    return Index.load(path)


def test_an_index_may_be_saved_over_the_file_it_is_mapped_from(
    index: Index, tmp_path: Path
) -> None:
    path = tmp_path / "a.nest"
    index.save(path)
    expected = index.search(rows(5), k=40)
    loaded = Index.load(path)
    for _ in range(3):
        loaded.save(path)
        np.testing.assert_array_equal(loaded.search(rows(5), k=40).scores, expected.scores)
    np.testing.assert_array_equal(Index.load(path).search(rows(5), k=40).ids, expected.ids)


def test_a_file_that_is_replaced_or_removed_stays_readable(index: Index, tmp_path: Path) -> None:
    path = tmp_path / "a.nest"
    index.save(path)
    loaded = Index.load(path, verify=False)
    Index(13, funnel=FUNNEL).save(path)
    assert len(Index.load(path)) == 0
    path.unlink()
    np.testing.assert_array_equal(
        loaded.search(rows(5), k=40).scores, index.search(rows(5), k=40).scores
    )


def test_saving_leaves_no_other_file(index: Index, tmp_path: Path) -> None:
    for _ in range(3):
        index.save(tmp_path / "a.nest")
    assert [p.name for p in tmp_path.iterdir()] == ["a.nest"]


def test_an_empty_index_is_a_file_too(tmp_path: Path) -> None:
    loaded = saved_and_loaded(Index(13, funnel=FUNNEL), tmp_path / "a.nest")
    assert len(loaded) == 0
    assert loaded.add(rows(2)).tolist() == [0, 1]


def refused(content: bytes, path: Path, *, verify: bool = True) -> str:
    """Asserts that a file with this content is refused, and returns why."""
    path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        Index.load(path, verify=verify)
    assert str(path) in str(caught.value)
    return str(caught.value).replace(str(path), "")


@pytest.mark.parametrize(
    ("version", "mask"), [(1, 0x01), (1, 0x80), (1, 0xFF), (2, 0xFF)], indirect=["version"]
)
def test_no_byte_can_change_unnoticed(whole: bytes, tmp_path: Path, mask: int) -> None:
    for place in range(len(whole)):
        altered = bytearray(whole)
        altered[place] ^= mask
        assert refused(bytes(altered), tmp_path / "a.nest")


@pytest.mark.parametrize(
    ("version", "verify"), [(1, True), (1, False), (2, False)], indirect=["version"]
)
def test_no_byte_can_go_missing_from_the_end(whole: bytes, tmp_path: Path, verify: bool) -> None:
    for length in range(len(whole)):
        reason = refused(whole[:length], tmp_path / "a.nest", verify=verify)
        if length:
            assert "truncated" in reason or "not a nestling" in reason


def test_bytes_behind_the_end_are_refused(whole: bytes, tmp_path: Path) -> None:
    for extra in (b"\0", b"\0" * 64, whole):
        assert refused(whole + extra, tmp_path / "a.nest")


@given(seed=st.integers(0, 10**6), count=st.integers(1, 64))
def test_without_verification_no_alteration_crashes(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, seed: int, count: int
) -> None:
    """An unread payload may answer nonsense, but never outside its memory, nor forever."""
    rng = np.random.default_rng(seed)
    altered = np.frombuffer(whole, np.uint8).copy()
    altered[rng.integers(0, len(whole), count)] = rng.integers(0, 256, count)
    path = tmp_path_factory.mktemp("altered") / "a.nest"
    path.write_bytes(altered.tobytes())
    try:
        hits = Index.load(path, verify=False).search(rows(3), k=50)
    except FormatError:  # of the file, or of a part that the search read
        return
    assert hits.ids.shape == (3, 50)


def numpy_file() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, rows(50))
    return buffer.getvalue()


def zip_file() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.txt", "text" * 100)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [numpy_file(), zip_file(), b"text\n" * 1000, b"\0" * 8192, b"\xff" * 8192, b"\n", b"N"],
    ids=["npy", "zip", "text", "zeros", "ones", "line", "letter"],
)
@pytest.mark.parametrize("verify", [True, False])
def test_foreign_files_are_named_so(content: bytes, tmp_path: Path, verify: bool) -> None:
    assert "not a nestling" in refused(content, tmp_path / "a.nest", verify=verify)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "0 bytes" in refused(b"", tmp_path / "a.nest")


@pytest.mark.parametrize("use", [lambda p: Index.load(p), lambda p: Index(4).save(p / "b.nest")])
def test_what_is_not_there_is_a_storage_error(tmp_path: Path, use: object) -> None:
    path = tmp_path / "missing"
    with pytest.raises(StorageError) as caught:
        use(path)  # type: ignore[operator]
    assert caught.value.errno == errno.ENOENT
    assert str(caught.value.filename).startswith(str(path))


def test_a_folder_is_no_file(index: Index, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not a regular file"):
        Index.load(tmp_path)
    with pytest.raises(StorageError):
        index.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [None, 3, 1.5, ["a"]])
def test_what_is_no_path_is_a_type_error(index: Index, path: object) -> None:
    """As everywhere in Python where paths are taken; numbers are not file descriptors here."""
    with pytest.raises(TypeError):
        index.save(path)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Index.load(path)  # type: ignore[arg-type]


def test_an_index_read_into_memory_answers_as_a_mapped_one(tmp_path: Path) -> None:
    """And does not notice when the file is gone, or written over in place."""
    rng = np.random.default_rng(3)
    index = Index(13, funnel="13@1:40 > 13@4:20 > 13@8")
    index.add(embeddings(rng, 300, 13))
    index.rebuild(cells=Cells(9, probes=3))
    path = tmp_path / "a.nest"
    index.save(path)
    queries = embeddings(rng, 7, 13)
    resident = Index.load(path, resident=True)
    path.write_bytes(bytes(path.stat().st_size))
    same(resident.search(queries), index.search(queries))
    resident.add(embeddings(rng, 5, 13))
    assert len(resident) == 305
    with pytest.raises(FormatError):
        Index.load(path, resident=True)
    path.write_bytes(b"nestling")
    with pytest.raises(FormatError, match="less than a header"):
        Index.load(path, resident=True)
    with pytest.raises(StorageError):
        Index.load(tmp_path / "missing", resident=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process's memory")
def test_only_what_is_scanned_in_order_is_read_ahead(tmp_path: Path) -> None:
    path = tmp_path / "a.nest"
    index = Index(64, funnel="32@4:50 > 64@16")
    index.add(embeddings(np.random.default_rng(0), 5_000, 64))
    index.rebuild(cells=Cells(10))
    index.save(path)
    memory = {name: size for name, size in index.memory.items() if size >= 2 * 4096}
    scattered = sum(memory[name] for name in ("shell 64@16", "links", "cell rows"))
    loaded = Index.load(path)
    found = read_randomly(path)
    assert scattered - 3 * 2 * 4096 <= found[True] <= scattered
    assert sum(found.values()) >= path.stat().st_size
    del loaded
    kept = Index.load(path, resident=True)
    assert sum(read_randomly(path).values()) == 0
    assert len(kept) == 5_000


def read_randomly(path: Path) -> dict[bool, int]:
    """Returns the mapped bytes of a file, by whether the system expects scattered reads of them."""
    sizes = {True: 0, False: 0}
    size: int | None = None
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            first, last = (int(part, 16) for part in line.split(" ")[0].split("-"))
            size = last - first if line.endswith(str(path)) else None
        elif line.startswith("VmFlags:") and size is not None:
            sizes["rr" in line.split()] += size
    return sizes
