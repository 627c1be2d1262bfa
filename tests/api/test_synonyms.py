"""Synonyms: what is searched for beside the words of a query, or in their place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestling.collection import Collection, Synonyms
from nestling.collection.ingest.analysis import query_parts
from nestling.errors import ArgumentError, ArgumentTypeError, CorpusError

TEXTS = {
    "car": "a red car",
    "auto": "two automobiles in the rain",
    "nyc": "a street of New York City",
    "york": "the city of York",
    "ar": "المكتبات في القاهرة",
    "zh": "我的电脑很快",
}
WORDS = st.lists(st.sampled_from(["ab", "cd", "ef", "gh", "the", "x y"]), max_size=8)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    with Collection(tmp_path_factory.mktemp("synonyms") / "c", dim=2) as found:
        found.add(list(TEXTS.values()), list(TEXTS), vectors=np.ones((len(TEXTS), 2)))
        yield found


def ids(collection: Collection, query: str, *lines: str, **options: Any) -> set[str]:
    options = {"mode": "lexical", "synonyms": Synonyms(lines)} | options
    return {hit.id for hit in collection.search(query, **options)}


def test_words_that_mean_the_same_find_each_other(collection: Collection) -> None:
    assert ids(collection, "car") == {"car"}
    for query in ("car", "CARS", "automobile"):
        assert ids(collection, query, "car, automobile") == {"car", "auto"}


def test_a_rule_with_an_arrow_has_one_direction(collection: Collection) -> None:
    assert ids(collection, "car", "car => automobile") == {"auto"}
    assert ids(collection, "automobile", "car => automobile") == {"auto"}
    assert ids(collection, "car", "car => car, automobile") == {"car", "auto"}
    # Both kinds for one word: it is kept.
    assert ids(collection, "car", "car => automobile", "car, rain") == {"car", "auto"}


def test_several_words_are_one_synonym(collection: Collection) -> None:
    assert ids(collection, "new york city") == {"nyc", "york"}
    assert ids(collection, "nyc", "nyc, new york city") == {"nyc"}  # the phrase
    assert ids(collection, "big apple", "big apple => york") == {"nyc", "york"}
    assert ids(collection, "apple", "big apple => york") == set()
    # The longest rule counts.
    rules = ("big => rain", "big apple => red")
    assert ids(collection, "big apple", *rules) == {"car"}
    assert ids(collection, "big pear", *rules) == {"auto"}


def test_phrases_of_the_query_stay(collection: Collection) -> None:
    assert ids(collection, '"red car"', "car, automobile") == {"car"}
    assert ids(collection, '"red car" car', "car, automobile") == {"car", "auto"}


def test_any_script_has_synonyms(collection: Collection) -> None:
    assert ids(collection, "library", "library => مكتبة") == {"ar"}
    assert ids(collection, "والمكتبة", "مكتبات => red") == {"car"}
    assert ids(collection, "computer", "computer, 电脑") == {"zh"}


def test_highlights_show_synonyms(collection: Collection) -> None:
    hits = collection.search(
        "nyc cars",
        mode="lexical",
        include=["highlight"],
        synonyms=Synonyms(["nyc => new york city", "car, automobile"]),
    )
    marked = {hit.id: hit.marked() for hit in hits}
    assert marked["nyc"] == "a street of **New York City**"
    assert marked["auto"] == "two **automobiles** in the rain"


def test_hybrid_searches_have_synonyms_and_dense_ones_ignore_them(collection: Collection) -> None:
    options = {"synonyms": Synonyms(["wagon => car"]), "vectors": [1.0, 1.0], "k": 1}
    assert collection.search("wagon", mode="hybrid", **options)[0].id == "car"  # type: ignore[arg-type]
    plain = options | {"synonyms": None}
    assert (
        collection.search("wagon", **options)[0].score  # type: ignore[arg-type]
        == collection.search("wagon", **plain)[0].score  # type: ignore[arg-type]
    )


def test_files_may_have_comments(tmp_path: Path) -> None:
    path = tmp_path / "synonyms.txt"
    path.write_text("# vehicles\n\ncar, automobile # both\nnyc => New York City\n", "utf-8-sig")
    found = Synonyms.read(path)
    assert len(found) == 3
    assert repr(found) == "Synonyms(of 3 words and phrases)"
    assert list(found.rewrite(["nyc"])) == [("new", "york", "city")]


@given(words=WORDS, lines=st.lists(WORDS.filter(lambda each: len(each) > 1), max_size=3))
def test_a_rule_adds_and_takes_nothing_else(words: list[str], lines: list[list[str]]) -> None:
    query = " ".join(words)
    plain = query_parts(query)
    assert query_parts(query, Synonyms([]).rewrite) == plain
    rules = [", ".join(line) for line in lines]
    found = query_parts(query, Synonyms(rules).rewrite)
    members = {member for line in lines for member in line}
    added = {part for part in found if part not in plain}
    assert added <= {tuple(member.split()) for member in members}
    assert len(found) == len(set(found))
    if all(part != ("the",) for part in plain):
        assert set(plain) <= set(found)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("car", "line 2: 'car' has one member"),
        ("car, , bus", "line 2: nothing to search for"),
        ("car => ", "line 2: nothing to search for"),
        ("=> car", "line 2: nothing to search for"),
        ("a => b => c", "line 2: more than one =>"),
        ("car, !?", "line 2: nothing to search for"),
    ],
)
def test_malformed_lines_are_named(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=message):
        Synonyms(["a, b", line])
    (tmp_path / "s.txt").write_text(f"a, b\n{line}\n")
    with pytest.raises(CorpusError, match=f"s.txt, {message}"):
        Synonyms.read(tmp_path / "s.txt")


def test_what_is_not_a_file_of_synonyms_is_refused(collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"absent\.txt: cannot read"):
        Synonyms.read(tmp_path / "absent.txt")
    (tmp_path / "bytes").write_bytes(b"a, b\n\xff, c\n")
    with pytest.raises(CorpusError, match="line 2"):
        Synonyms.read(tmp_path / "bytes")
    with pytest.raises(ArgumentError, match="list of lines"):
        Synonyms("car, automobile")
    options: Any = {"mode": "lexical", "synonyms": "synonyms.txt"}
    with pytest.raises(ArgumentTypeError, match=r"Synonyms\.read"):
        collection.search("car", **options)
