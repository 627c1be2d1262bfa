"""Errors of SQLite: each result code is told as what it is, and only corruption as corruption."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collection_helpers import (
    LEFT,
    WordsEncoder,
    assert_whole,
    contents,
    execute,
    opened,
    python,
    segments,
)
from disks import read_only, small_file_system
from hashing_encoder import HashingEncoder

from nestling import (
    ArgumentError,
    ClosedError,
    Collection,
    FilterError,
    FormatError,
    InternalError,
    LockedError,
    NestlingError,
    StorageError,
)
from nestling.collection import repair
from nestling.collection.storage import documents
from nestling.collection.storage.connection import connect
from nestling.collection.storage.database import DATABASE_FILE
from nestling.collection.storage.errors import named_error, result_code
from nestling.collection.storage.settings import MAX_FIELDS

LOG = f"{DATABASE_FILE}-wal"

# What each family of result codes means. Extended codes are their family's unless listed.
FAMILIES: dict[int, tuple[type[Exception], str]] = {
    1: (InternalError, "report"),
    2: (InternalError, "report"),
    3: (StorageError, "permission"),
    4: (InternalError, "report"),
    5: (LockedError, "try again"),
    6: (LockedError, "try again"),
    7: (MemoryError, "memory"),
    8: (StorageError, "write|log|open it again"),
    9: (StorageError, "interrupted"),
    10: (StorageError, "disk|lock"),
    11: (FormatError, "restore a backup"),
    12: (InternalError, "report"),
    13: (StorageError, "full"),
    14: (StorageError, "."),
    15: (LockedError, "try again"),
    16: (InternalError, "report"),
    17: (LockedError, "try again"),
    18: (ArgumentError, "1,000,000,000 bytes"),
    19: (InternalError, "report"),
    20: (InternalError, "report"),
    21: (InternalError, "report"),
    22: (StorageError, "large"),
    23: (InternalError, "report"),
    24: (InternalError, "report"),
    25: (InternalError, "report"),
    26: (FormatError, "not an SQLite database"),
    27: (InternalError, "report"),
    28: (InternalError, "report"),
}
EXCEPTIONS: dict[str, tuple[type[Exception], str]] = {
    "SQLITE_IOERR_NOMEM": (MemoryError, "memory"),
    "SQLITE_IOERR_DATA": (FormatError, "restore a backup"),
    "SQLITE_IOERR_CORRUPTFS": (FormatError, "restore a backup"),
}
MAY_ADVISE_A_BACKUP = (11, 26)


def named_codes() -> dict[str, int]:
    """Every result code of an error that this Python's sqlite3 names."""
    families = "ERROR INTERNAL PERM ABORT BUSY LOCKED NOMEM READONLY INTERRUPT IOERR CORRUPT"
    families += " NOTFOUND FULL CANTOPEN PROTOCOL EMPTY SCHEMA TOOBIG CONSTRAINT MISMATCH MISUSE"
    families += " NOLFS AUTH FORMAT RANGE NOTADB NOTICE WARNING"
    found = {f"SQLITE_{name}": code for code, name in enumerate(families.split(), 1)}
    beginnings = tuple(f"{name}_" for name in found)
    found |= {
        name: value
        for name, value in vars(sqlite3).items()
        if name.startswith(beginnings) and isinstance(value, int) and value > 255
    }
    return found


def of_code(code: int, message: str = "refused") -> sqlite3.Error:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = code  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(("name", "code"), named_codes().items(), ids=named_codes())
def test_every_result_code_has_its_exception(name: str, code: int, tmp_path: Path) -> None:
    path = tmp_path / DATABASE_FILE
    path.touch()
    kind, words = EXCEPTIONS.get(name) or FAMILIES[code & 255]
    error = named_error(of_code(code), path)
    assert type(error) is kind
    with pytest.raises(kind, match=words):
        raise error
    if isinstance(error, StorageError):
        assert error.errno
        assert error.filename == str(path)
    backup = code & 255 in MAY_ADVISE_A_BACKUP or (name in EXCEPTIONS and kind is FormatError)
    assert ("restore a backup" in str(error)) == backup


@pytest.mark.parametrize("code", [1, 19, 20, 21, 12345])
def test_a_refused_statement_is_corruption_only_if_something_is_corrupted(code: int) -> None:
    path = Path("c") / DATABASE_FILE
    found = named_error(of_code(code), path, lambda: "the table words is missing")
    assert isinstance(found, FormatError)
    assert "the table words is missing" in str(found)
    assert "restore a backup" in str(found)


@pytest.mark.parametrize("number", range(1, 29))
def test_an_error_without_its_code_is_known_by_its_message(number: int) -> None:
    """Python 3.10 does not say the code."""
    sqlite = {
        3: "access permission denied",
        5: "database is locked",
        6: "database table is locked: t",
        7: "out of memory",
        8: "attempt to write a readonly database",
        9: "interrupted",
        10: "disk I/O error",
        11: "database disk image is malformed",
        13: "database or disk is full",
        14: "unable to open database file",
        15: "locking protocol",
        17: "database schema has changed",
        18: "string or blob too big",
        19: "UNIQUE constraint failed: t.a",
        20: "datatype mismatch",
        22: "large file support is disabled",
        26: "file is not a database",
    }
    kind = sqlite3.IntegrityError if number == 19 else sqlite3.OperationalError
    error = kind(sqlite.get(number, "no such column: a"))
    assert result_code(error) == (number if number in sqlite else 1)
    named = named_error(error, Path("c") / DATABASE_FILE)
    assert type(named) is FAMILIES[number if number in sqlite else 1][0]


def test_errors_of_the_module_itself_are_internal() -> None:
    for text in ("Incorrect number of bindings supplied", "You can only execute one statement"):
        error = named_error(sqlite3.ProgrammingError(text), Path("c") / DATABASE_FILE)
        assert type(error) is InternalError
        assert text in str(error)
    closed = sqlite3.ProgrammingError("Cannot operate on a closed database.")
    assert type(named_error(closed, Path("c") / DATABASE_FILE)) is ClosedError


def test_statements_that_fit_no_limit_are_not_called_corruption(folder: Path) -> None:
    connection = connect(folder / DATABASE_FILE, "rw")
    terms = ",".join(["1"] * 3000)
    try:
        for call in (
            lambda: connection.execute("SELECT ?", ("x" * 1_000_000_001,)),
            lambda: connection.execute("SELECT zeroblob(1000000001)").fetchall(),
            lambda: connection.execute(f"SELECT {terms}"),
            lambda: connection.execute(f"SELECT {'(' * 1200}1{')' * 1200}"),
            lambda: connection.execute("SELECT json_extract('{', '$')").fetchall(),
            lambda: connection.execute("SELECT bm25(documents) FROM documents").fetchall(),
            lambda: connection.execute("INSERT INTO segments SELECT * FROM segments"),
            lambda: connection.execute("INSERT INTO removed VALUES('x', 1)"),
            lambda: connection.execute("INSERT INTO state VALUES(2, 1, 1, 1, 1)"),
            lambda: connection.execute("SELECT ?"),
            lambda: connection.execute("SELECT 1; SELECT 2"),
            lambda: connection.execute("SELECT \0"),
            lambda: connection.execute("nonsense"),
            lambda: connection.executemany("INSERT INTO removed VALUES(?, ?)", [(1, 1), (1, 1)]),
            lambda: connection.executescript("BEGIN; BEGIN;"),
        ):
            with pytest.raises(NestlingError) as caught:
                call()
            assert type(caught.value) in (ArgumentError, InternalError)
            assert "restore" not in str(caught.value)
    finally:
        connection.close()


def test_an_error_of_another_database_is_left_alone(tmp_path: Path) -> None:
    """An encoder may keep its embeddings in a database of its own."""

    class Cached(HashingEncoder):
        def encode(self, texts: Sequence[str], **options: Any) -> Any:
            sqlite3.connect(":memory:").execute("SELECT * FROM missing")

        encode_queries = encode

    with Collection(tmp_path / "c", Cached()) as collection:
        for call in (
            lambda: collection.add(["apple"]),
            lambda: collection.search("apple"),
            lambda: collection.add(
                sqlite3.connect(":memory:").execute(
                    "SELECT 'apple' UNION ALL SELECT abs(-9223372036854775807 - 1)"
                )
            ),
        ):
            with pytest.raises((sqlite3.OperationalError, NestlingError)) as caught:
                call()
            assert not isinstance(caught.value, FormatError)
        assert_whole(collection)


def test_an_error_of_an_encoder_s_database_during_a_repair_is_left_alone(folder: Path) -> None:
    class Cached(WordsEncoder):
        def encode(self, texts: Sequence[str], **options: Any) -> Any:
            raise sqlite3.DatabaseError("database disk image is malformed")

    Cached.__module__, Cached.__qualname__ = WordsEncoder.__module__, WordsEncoder.__qualname__
    segments(folder)[0].unlink()
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        repair(folder, encoder=Cached())
    assert repair(folder, encoder=WordsEncoder())


def test_an_error_of_a_commit_is_named(folder: Path) -> None:
    with opened(folder) as collection:
        with pytest.raises(InternalError, match="FOREIGN KEY"):
            fail_at_the_commit(collection)
        assert contents(collection) == LEFT


def fail_at_the_commit(collection: Collection) -> None:
    with collection._store.database.writing() as connection:
        connection.executescript(
            """
            PRAGMA foreign_keys = ON;
            CREATE TEMP TABLE parents(a PRIMARY KEY);
            CREATE TEMP TABLE children(a REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
            BEGIN;
            DELETE FROM main.documents;
            INSERT INTO temp.children VALUES(1);
            """
        )


# --- Provoked by the system -----------------------------------------------------------------------

FEW_DESCRIPTORS = """
import os, resource, sys
from pathlib import Path
import numpy as np
import nestling
path = Path(sys.argv[1])
nestling.Collection(path, dim=2).close()
with nestling.Collection(path) as collection:
    collection.add(["bread", "river"], vectors=np.eye(2), progress=False)
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
held = []
def fill(left):
    while True:
        try:
            held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            break
    for _ in range(left):
        os.close(held.pop())
refused = 0
for left in range(12):
    fill(left)
    try:
        with nestling.Collection(path, lock_timeout=0) as collection:
            assert collection.search([1, 0])[0].text == "bread"
            collection.add(["stone"], ids=["s"], vectors=np.ones((1, 2)), progress=False)
            collection.compact()
    except nestling.StorageError as error:
        refused += 1
        assert "too many open files" in str(error).lower(), error
        assert error.errno == 24, error
    finally:
        for descriptor in held:
            os.close(descriptor)
        held.clear()
assert 3 <= refused < 12, refused
with nestling.Collection(path) as collection:
    assert collection.check().ok
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of descriptors")
def test_too_few_descriptors_are_named(tmp_path: Path) -> None:
    with python(FEW_DESCRIPTORS, tmp_path / "c", stderr=subprocess.PIPE) as process:
        _, complaint = process.communicate(timeout=200)
        assert process.returncode == 0, complaint.decode()


def test_a_deleted_folder_is_named(tmp_path: Path) -> None:
    collection = opened(tmp_path / "c")
    collection.add(["apple"])
    shutil.rmtree(tmp_path / "c")
    for _ in range(2):
        for call in (
            lambda: collection.add(["bread"]),
            lambda: collection.delete(where={}),
            lambda: collection.declare("year"),
        ):
            with pytest.raises(StorageError, match=r"moved or deleted|was removed"):
                call()
    collection.close()


def test_a_replaced_database_is_named(folder: Path, tmp_path: Path) -> None:
    with opened(folder) as collection:
        shutil.copytree(folder, tmp_path / "copy")
        shutil.rmtree(folder)
        (tmp_path / "copy").rename(folder)
        with pytest.raises(StorageError, match="replaced by another"):
            collection.add(["bread"])


KILLED = """
import os, signal, sys
from pathlib import Path
from collection_helpers import opened
collection = opened(Path(sys.argv[1]))
collection.add(["apple", "bread"], ids=["a", "b"])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
@pytest.mark.parametrize("shared_memory", [True, False], ids=["with shm", "without shm"])
def test_a_log_left_on_storage_that_cannot_be_written(tmp_path: Path, shared_memory: bool) -> None:
    folder = tmp_path / "c"
    with python(KILLED, folder) as process:
        process.wait(60)
    assert (folder / LOG).stat().st_size > 0
    if not shared_memory:
        (folder / f"{DATABASE_FILE}-shm").unlink()
    with read_only(folder):
        if shared_memory:
            with opened(folder, read_only=True) as collection:
                assert set(contents(collection)) == {"a", "b"}
        else:
            with pytest.raises(StorageError, match=r"write-ahead log.*copy the folder") as caught:
                opened(folder, read_only=True)
            assert caught.value.errno == errno.EROFS
        with pytest.raises(StorageError) as caught:
            opened(folder).add(["x"])
        assert "restore" not in str(caught.value)
    with opened(folder) as collection:
        assert set(contents(collection)) == {"a", "b"}


def test_writing_to_storage_that_cannot_be_written(folder: Path) -> None:
    with read_only(folder):
        with pytest.raises(StorageError, match="read_only=True") as caught:
            opened(folder).add(["x"])
        assert caught.value.errno == errno.EROFS


def fill(path: Path) -> None:
    """Writes a file until the disk is full."""
    with suppress(OSError), path.open("wb", buffering=0) as rest:
        while True:
            rest.write(bytes(4096))


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with small_file_system(tmp_path / "disk", "1m") as disk, opened(disk / "c") as collection:
        collection.add(["apple"], ids=["a"])
        with pytest.raises(StorageError) as caught:
            collection.add([f"stone {i} " * 99 for i in range(3000)], progress=False)
        assert caught.value.errno == errno.ENOSPC
        assert len(collection) == 1
        fill(disk / "rest")
        with pytest.raises(StorageError) as caught:
            collection.add(["bread " * 4000], ids=["b"])
        assert caught.value.errno == errno.ENOSPC
        (disk / "rest").unlink()
        assert_whole(collection)


SMALL_FILES = """
import resource, signal, sys
from pathlib import Path
from collection_helpers import opened
from nestling import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with opened(Path(sys.argv[1]), passages=None) as collection:
    collection.add(["apple"], ids=["a"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    try:
        collection.add([f"stone {i} " * 50 for i in range(1000)], progress=False)
    except StorageError as error:
        print(error.errno, error)
    assert len(collection) == 1
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size")
def test_a_limit_of_files_sizes_is_named(tmp_path: Path) -> None:
    with python(SMALL_FILES, tmp_path / "c", stdout=subprocess.PIPE) as process:
        said, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    assert said.startswith(b"%d " % errno.EFBIG), said
    assert b"ulimit -f" in said


def test_another_program_that_holds_the_database(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nestling.collection.storage import database

    monkeypatch.setattr(database, "_BUSY_MS", 20)
    with opened(folder) as collection:
        other = sqlite3.connect(folder / DATABASE_FILE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LockedError, match="try again"):
            collection.add(["stone"])
        other.execute("ROLLBACK")
        other.close()
        assert contents(collection) == LEFT


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(b"noise" * 4000), "not an SQLite database"),
        (lambda path: path.write_bytes(path.read_bytes()[: 5 * 4096]), "malformed"),
    ],
    ids=["overwritten", "truncated"],
)
def test_corruption_is_called_corruption(
    folder: Path, damage: Callable[[Path], Any], words: str
) -> None:
    damage(folder / DATABASE_FILE)
    with pytest.raises(FormatError, match=rf"(?s){words}.*restore a backup"), opened(folder) as c:
        list(c)


@pytest.mark.parametrize("table", ["fields", "documents", "pending", "removed"])
def test_a_missing_table_is_corruption(folder: Path, table: str) -> None:
    execute(folder, f"DROP TABLE {table}")
    with pytest.raises(FormatError, match=rf"the table {table} is missing.*restore a backup"):
        use_tables(folder)


def use_tables(folder: Path) -> None:
    with opened(folder) as collection:
        collection.add(["stone"])
        collection.search("stone", mode="lexical")
        collection.delete(where={})


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(folder: Path) -> None:
    (folder / DATABASE_FILE).chmod(0)
    try:
        with pytest.raises(StorageError, match="permission") as caught:
            opened(folder)
        assert caught.value.errno == errno.EACCES
    finally:
        (folder / DATABASE_FILE).chmod(0o600)


def test_vectors_of_a_collection_survive_a_refused_change(folder: Path) -> None:
    with opened(folder) as collection:
        before = collection.search(np.ones(collection.dim), 100)
        with pytest.raises(NestlingError):
            collection.add(["x"], vectors=np.ones((1, 3)))
        assert [hit.id for hit in collection.search(np.ones(collection.dim), 100)] == [
            hit.id for hit in before
        ]


# --- Limits ---------------------------------------------------------------------------------------


def test_too_many_fields_are_refused_by_their_number(tmp_path: Path) -> None:
    names = [f"n{i}" for i in range(MAX_FIELDS + 1)]
    with pytest.raises(ArgumentError, match="at most 1,000"):
        opened(tmp_path / "c", fields=names)
    assert not (tmp_path / "c").exists()
    with opened(tmp_path / "c", fields=["year"]) as collection:
        with pytest.raises(ArgumentError, match=r"1,001 fields .* at most 1,000"):
            collection.declare(*names[:MAX_FIELDS])
        assert collection.fields == ("year",)
        collection.add(["apple"], metadata=[{"n7": 1}])
        assert collection.count({"n7": 1}) == 1


@pytest.mark.slow
def test_as_many_fields_as_allowed_can_be_used(tmp_path: Path) -> None:
    names = [f"n{i}" for i in range(MAX_FIELDS)]
    with opened(tmp_path / "c", fields=names) as collection:
        collection.add(["apple"], metadata=[dict.fromkeys(names, 1)])
        assert collection.count(dict.fromkeys(names[:250], 1)) == 1
        assert_whole(collection)


def test_any_number_of_ids_can_be_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "_IDS_TOGETHER", 7)
    ids = [f"d{i}" for i in range(50)]
    with opened(tmp_path / "c") as collection:
        collection.add(["apple"] * 50, ids=ids)
        found = collection.get([*ids, "missing", *ids])
        assert [document and document.id for document in found] == [*ids, None, *ids]
        assert collection.delete([*ids[:40], "missing"]) == 40
        assert len(collection) == 10


def nested(levels: int) -> dict[str, Any]:
    where: dict[str, Any] = {"n": 1}
    for _ in range(levels):
        where = {"$or": [where, {"a.b": 2}]}
    return where


@pytest.mark.parametrize(
    ("where", "accepted"),
    [
        (nested(49), True),
        (nested(50), False),
        ({f"a.b.c{i}": i for i in range(299)}, True),
        ({f"a.b.c{i}": i for i in range(301)}, False),
        ({".".join("abcdefgh" * 4): 1}, True),
        ({".".join("abcdefgh" * 4 + "i"): 1}, False),
        ({"n": {"$in": [i + 0.5 for i in range(31_990)]}}, True),
        ({"n": {"$in": [i + 0.5 for i in range(32_010)]}}, False),
        ({"m": {"$in": [str(i) for i in range(100_000)]}}, True),
        ({"m": {"$in": [i + 0.5 for i in range(100_000)]}}, True),
        ({"n": {"$in": list(range(100_000))}}, True),
        ({"$nor": [nested(40), {"m": {"$not": {"$contains": "x" * 1_000_000}}}]}, True),
        ({"x" * 1_000_000: {"$exists": True}}, True),
        ({"n": 2**63 - 1}, True),
        ({"n": 2**63}, False),
    ],
    ids=range(15),
)
def test_filters_at_their_limits(folder: Path, where: Any, accepted: bool) -> None:
    """SQLite's own limits are never met."""
    with opened(folder) as collection:
        for call in (
            lambda: collection.count(where),
            lambda: list(collection.documents(where)),
            lambda: collection.search("apple", where=where, mode="hybrid"),
            lambda: collection.delete(where=where),
        ):
            if accepted:
                call()
            else:
                with pytest.raises(FilterError):
                    call()
