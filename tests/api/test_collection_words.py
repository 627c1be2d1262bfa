"""The words beside each segment: ranked as FTS5 ranks them, and what happens when they are lost."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from collection_helpers import (
    assert_whole,
    contents,
    execute,
    flip,
    opened,
    orphans,
    word_files,
)
from word_table import ranking, table

from nestling import Collection, FormatError
from nestling.collection import check, repair

QUERIES = ("apple", "violet1", "bread7 violet2", '"apple bread7"', "bread7 river bread8 missing")


def found(collection: Collection, query: str, k: int = 100) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for hit in collection.search(query, k, mode="lexical", include=())]


def every(collection: Collection) -> list[list[tuple[str, float]]]:
    return [found(collection, query) for query in QUERIES]


def assert_ranked_as_fts5(collection: Collection, queries: tuple[str, ...] = QUERIES) -> None:
    """Compares hits with those of a table of the same texts; equal scores are in any order."""
    stored = contents(collection)
    ids = list(stored)
    database = table(*(f"{doc.title}\n{doc.text}" for doc in stored.values()))
    for query in queries:
        expected = {ids[row]: score for row, score in ranking(database, query)}
        hits = found(collection, query, len(ids) + 1)
        assert {id for id, _ in hits} == expected.keys(), query
        scores = [score for _, score in hits]
        assert scores == sorted(scores, reverse=True)
        assert scores == pytest.approx([expected[id] for id, _ in hits], rel=1e-6)
    database.close()


def test_words_are_ranked_as_by_fts5_after_every_change(folder: Path) -> None:
    with opened(folder) as reader, opened(folder) as writer:
        for change in (
            lambda: None,
            lambda: writer.delete("d7"),
            lambda: writer.add(["river stone bread8"], ids=["d8"]),
            lambda: writer.add([{"id": "d9", "title": "apple apple", "text": "river"}]),
            lambda: writer.add([f"stone {i} bread7" for i in range(12)], ids=range(12)),
            lambda: writer.delete(where={"n": {"$gt": 30}}),
            writer.compact,
            lambda: writer.tune(0.5, k=3, budget_seconds=0.05, verbose=False),
            lambda: writer.add(["apple"], ids=["last"]),
            lambda: writer.delete(where={}),
            lambda: writer.add(["apple violet1"], ids=["new"]),
        ):
            change()
            for collection in (writer, reader):
                assert_ranked_as_fts5(collection)
        assert_whole(writer)
    assert orphans(folder) == ()


def test_a_filter_changes_no_score(folder: Path) -> None:
    with opened(folder) as collection:
        for query in QUERIES:
            scores = dict(found(collection, query))
            for where in ({"n": {"$lt": 20}}, {"n": 5}, {"n": {"$gt": 100}}):
                some = collection.search(query, 100, where, mode="lexical")
                passing = {id for id in scores if where == {"n": 5} and id == "d5"}
                if where == {"n": {"$lt": 20}}:
                    passing = {id for id in scores if int(id[1:]) < 20}
                assert {hit.id: hit.score for hit in some} == {id: scores[id] for id in passing}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def of_another(path: Path) -> None:
    shutil.copyfile(word_files(path.parents[1])[2], path)


@pytest.mark.parametrize(
    "harm",
    [
        Path.unlink,
        truncate,
        of_another,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.with_suffix(".nest").read_bytes()),
        lambda path: flip(path, 3),
        lambda path: flip(path, path.stat().st_size // 2),
    ],
    ids=["missing", "truncated", "another", "empty", "index", "head", "middle"],
)
def test_lost_words_are_read_from_the_texts_and_repaired(
    folder: Path, harm: Callable[[Path], None]
) -> None:
    with opened(folder) as collection:
        expected = every(collection)
    harmed = word_files(folder)[1]
    harm(harmed)
    if harm is not of_another:  # which only a comparison with the texts shows
        with opened(folder, read_only=True) as collection:
            assert every(collection) == expected
            collection.backup(folder.parent / "copy")
        with opened(folder.parent / "copy") as collection:
            assert every(collection) == expected
    (problem,) = check(folder).problems
    assert harmed.name in problem
    assert repair(folder) == [harmed.name], "without the encoder"
    assert repair(folder) == []
    assert check(folder).ok
    with opened(folder) as collection:
        assert every(collection) == expected
        assert_whole(collection)
        collection.delete("d13")
        assert_ranked_as_fts5(collection)
        collection.compact()
        assert_ranked_as_fts5(collection)
        assert_whole(collection)
    assert orphans(folder) == ()
    assert len(word_files(folder)) == 1


def test_a_compaction_needs_no_intact_words(folder: Path) -> None:
    for path in word_files(folder):
        path.unlink()
    with opened(folder) as collection:
        collection.compact()
        assert_ranked_as_fts5(collection)
        assert_whole(collection)


def test_every_flipped_bit_of_the_words_is_named(folder: Path) -> None:
    """And harmless: the words are read from the texts instead."""
    path = word_files(folder)[0]
    whole = path.read_bytes()
    with opened(folder) as collection:
        expected = every(collection)
    for place in random.Random(0).sample(range(8 * len(whole)), 30):
        flip(path, place // 8, place % 8)
        assert path.name in str(check(folder))
        with opened(folder, read_only=True) as collection:
            assert every(collection) == expected
        path.write_bytes(whole)


def test_words_that_are_not_verified_end_in_hits_or_an_error(folder: Path) -> None:
    path = word_files(folder)[0]
    whole = path.read_bytes()
    for place in random.Random(1).sample(range(8 * len(whole)), 100):
        flip(path, place // 8, place % 8)
        with opened(folder, read_only=True, verify=False) as collection:
            try:
                every(collection)
            except FormatError:
                assert path.name in str(check(folder))
        path.write_bytes(whole)


def test_words_of_a_corrupted_document_are_not_made(folder: Path) -> None:
    word_files(folder)[0].unlink()
    execute(folder, "UPDATE documents SET text = 'forged' WHERE id = 'd5'")
    with opened(folder) as collection:
        with pytest.raises(FormatError, match="d5"):
            collection.search("apple", mode="lexical")
        assert len(collection.search("apple", include=())) > 0
    with pytest.raises(FormatError, match="d5"):
        repair(folder)


def test_pending_words_are_read_when_they_are_searched_for(tmp_path: Path) -> None:
    with opened(tmp_path / "c") as collection:
        for number in range(60):
            collection.add([f"apple bread{number}"], ids=[str(number)])
            if number % 7 == 3:
                collection.delete(str(number - 1))
                assert_ranked_as_fts5(collection, ("apple", f"bread{number}", "bread2"))
        pending = collection._store.view().pending
        assert not word_files(tmp_path / "c")
        assert len(pending.words._state[0]) <= 4, "few parts are searched"
