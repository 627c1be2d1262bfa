"""The ids beside each segment: hits without the database, and what happens when they are lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from collection_helpers import (
    DIM,
    LEFT,
    WordsEncoder,
    assert_searches_agree,
    assert_whole,
    contents,
    execute,
    flip,
    id_files,
    opened,
    orphans,
)
from hypothesis import given
from hypothesis import strategies as st

from nestling import Collection, FormatError
from nestling.collection import check, repair
from nestling.collection.storage.document_ids import DocumentIds

QUERY = np.linspace(-1, 1, DIM, dtype=np.float32)

Documents = list[tuple[int, int, str]]


@st.composite
def documents(draw: st.DrawFn) -> Documents:
    """First row, passages and id of some documents, with gaps between their rows."""
    made = []
    row = 0
    for _ in range(draw(st.integers(0, 12))):
        row += draw(st.integers(0, 3))
        passages = draw(st.integers(1, 4))
        made.append((row, passages, draw(st.text(min_size=1, max_size=6))))
        row += passages
    return made


def table(made: Documents) -> DocumentIds:
    return DocumentIds.of(*([each[i] for each in made] for i in range(3)))  # type: ignore[arg-type]


def assert_same(found: DocumentIds, made: Documents) -> None:
    """Compares look-ups with the list of documents, for rows with a document and others."""
    of_row = {row + i: (id, row) for row, passages, id in made for i in range(passages)}
    rows = np.array(sorted(of_row), np.int64)
    assert found.ids(rows) == [of_row[row][0] for row in rows.tolist()]
    assert found.firsts(rows).tolist() == [of_row[row][1] for row in rows.tolist()]
    assert found.split == any(passages > 1 for _, passages, _ in made)
    assert len(found) == len(made)
    for row in set(range(-2, max(of_row, default=0) + 3)) - of_row.keys():
        with pytest.raises(FormatError, match=f"row {row} "):
            found.ids(np.array([row]))
        with pytest.raises(FormatError, match=f"row {row} "):
            found.firsts(np.array([row], np.int64))


@given(documents(), documents(), st.integers(0, 5))
def test_documents_of_rows_are_those_that_were_given(
    tmp_path_factory: pytest.TempPathFactory, first: Documents, second: Documents, gap: int
) -> None:
    end = first[-1][0] + first[-1][1] if first else 0
    shift = end + gap
    path = tmp_path_factory.mktemp("ids") / "a.ids"
    made = first + [(row + shift, passages, id) for row, passages, id in second]
    joined = DocumentIds.joined([(table(first), 0), (table(second), shift)])
    assert_same(joined, made)
    joined.save(path)
    rows = made[-1][0] + made[-1][1] if made else 0
    mapped = DocumentIds.open(path, rows, verify=True)
    assert_same(mapped, made)
    assert mapped.same(joined)
    kept = made[::2]
    alive = [row + i for row, passages, _ in kept for i in range(passages)]
    assert_same(mapped.of_rows(np.array(alive, np.int64)), kept)
    assert mapped.same(mapped.of_rows(np.array(alive, np.int64))) == (len(kept) == len(made))
    assert_same(
        DocumentIds.joined([(mapped, 0), (table(second), rows)]),
        made + [(row + rows, passages, id) for row, passages, id in second],
    )
    if rows:
        with pytest.raises(FormatError, match="corrupted"):
            DocumentIds.open(path, rows - 1, verify=True)


def test_every_flipped_bit_of_the_ids_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "a.ids"
    made = [(0, 2, "apple"), (2, 1, "bread"), (5, 3, "نهر")]
    table(made).save(path)
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            flip(path, place, bit)
            with pytest.raises(FormatError, match=r"a\.ids"):
                DocumentIds.open(path, 8, verify=True)
            try:  # what is not verified may be wrong, but it is not a crash
                ids = DocumentIds.open(path, 8, verify=False)
                ids.ids(np.array([0, 2, 7]))
                ids.firsts(np.array([0, 2, 7]))
            except FormatError:
                pass
            path.write_bytes(whole)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError, match=r"a\.ids"):
            DocumentIds.open(path, 8, verify=True)


def found(collection: Collection) -> list[tuple[str, int, float]]:
    return [(hit.id, hit.passage, hit.score) for hit in collection.search(QUERY, 100, include=())]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def of_another(path: Path) -> None:
    shutil.copyfile(id_files(path.parents[1])[2], path)


@pytest.mark.parametrize(
    "harm",
    [
        Path.unlink,
        truncate,
        of_another,
        lambda path: path.write_bytes(b""),
        lambda path: flip(path, 3),
        lambda path: flip(path, path.stat().st_size // 2),
        lambda path: flip(path, path.stat().st_size - 1),
    ],
    ids=["missing", "truncated", "another", "empty", "head", "middle", "tail"],
)
def test_lost_ids_are_read_from_the_database_and_repaired(
    folder: Path, harm: Callable[[Path], None]
) -> None:
    with opened(folder) as collection:
        expected = found(collection)
        assert {id for id, *_ in expected} == LEFT.keys()
    harmed = id_files(folder)[1]
    harm(harmed)
    if harm is not of_another:  # which only a comparison with the database shows
        with opened(folder, read_only=True) as collection:
            assert found(collection) == expected
            assert contents(collection) == LEFT
            collection.backup(folder.parent / "copy")
        with opened(folder.parent / "copy") as collection:
            assert found(collection) == expected
    (problem,) = check(folder).problems
    assert harmed.stem in problem
    assert repair(folder) == [harmed.name], "without the encoder"
    assert repair(folder) == []
    with opened(folder) as collection:
        assert_whole(collection)
        assert found(collection) == expected
        collection.compact()
        assert found(collection) == expected
        assert_whole(collection)
    assert orphans(folder) == ()
    assert len(id_files(folder)) == 1


def test_ids_of_another_document_are_noticed_where_it_is_read(folder: Path) -> None:
    of_another(id_files(folder)[0])
    with opened(folder) as collection, pytest.raises(FormatError, match="'d0'"):
        collection.search("bread0", 40)


def test_a_search_for_ids_alone_reads_no_document(folder: Path) -> None:
    with opened(folder) as collection:
        expected = found(collection)
        execute(folder, "UPDATE documents SET text = 'forged', metadata = 'x'")
        assert found(collection) == expected
        vectors = collection.search(QUERY, 3, include=["vector"])
        assert all(hit.vector is not None for hit in vectors)
        with pytest.raises(FormatError, match="corrupted"):
            collection.search(QUERY, 3)


@contextmanager
def statements(collection: Collection) -> Iterator[list[str]]:
    """Collects the statements of searches."""
    seen: list[str] = []
    database = collection._store.database
    with database.connected() as connection:
        connection.set_trace_callback(seen.append)
    yield seen
    connection.set_trace_callback(None)


def test_the_documents_of_many_questions_are_read_by_one_statement(folder: Path) -> None:
    questions = WordsEncoder().encode([f"apple bread{i}" for i in range(30)])
    with opened(folder) as collection:
        one_by_one = [list(collection.search(question, 5)) for question in questions]
        with statements(collection) as seen:
            together = [list(hits) for hits in collection.search(questions, 5)]
        assert together == one_by_one
        assert len([statement for statement in seen if "FROM documents" in statement]) == 1
        with statements(collection) as seen:
            bare = collection.search(questions, 5, include=())
        assert [[hit.id for hit in hits] for hits in bare] == [
            [hit.id for hit in hits] for hits in together
        ]
        assert [statement for statement in seen if "documents" in statement] == []
        assert len(seen) == 1, "the number of the last commit"


def test_a_document_is_verified_again_after_a_commit(folder: Path) -> None:
    with opened(folder) as collection:
        assert "d5" in [hit.id for hit in collection.search(QUERY, 100)]
        execute(folder, "UPDATE documents SET text = 'forged' WHERE id = 'd5'")
        with opened(folder) as other:
            other.add(["river"], ids=["new"])
        assert "new" in [id for id, *_ in found(collection)], "another process has added it"
        with pytest.raises(FormatError, match="d5"):
            collection.search(QUERY, 100)


def test_ids_follow_every_change(folder: Path) -> None:
    with opened(folder) as reader, opened(folder) as writer:
        for change in (
            lambda: writer.delete("d7"),
            lambda: writer.add(["river stone"], ids=["d8"]),
            lambda: writer.add(
                [{"id": "d9", "text": "apple bread9 violet0", "metadata": {"n": 1}}]
            ),
            lambda: writer.add([" ".join(["long river bread"] * 20)], ids=["long"]),
            lambda: writer.add([f"stone {i}" for i in range(12)], ids=[f"e{i}" for i in range(12)]),
            lambda: writer.delete(where={"n": {"$gt": 30}}),
            writer.compact,
        ):
            change()
            stored = contents(writer)
            for collection in (reader, writer):
                bare = collection.search(QUERY, 100, include=())
                full = collection.search(QUERY, 100)
                assert {hit.id for hit in bare} == stored.keys()
                assert [(h.id, h.score, h.passage) for h in bare] == [
                    (h.id, h.score, h.passage) for h in full
                ]
                assert all(
                    (h.text, h.title, h.start, h.end, h.metadata) == (None,) * 5 for h in bare
                )
        assert_searches_agree(reader)
        assert_whole(writer)
