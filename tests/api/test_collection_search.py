"""Results of searches: passages, documents, words, filters, explanations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collection_helpers import PASSAGES, assert_searches_agree, assert_whole, opened

from nestling import Collection, FilterError, FunnelError, VectorError
from nestling.collection import Explanation
from nestling.collection.query.options import Mode
from nestling.errors import ArgumentError

LONG = "An apple fell. " * 3 + "The river is long and wide. " * 8 + "Here is bread at last."


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with opened(tmp_path / "c", fields=["year"]) as made:
        made.add(
            [LONG, "apple", "river stone", "bread bread", "violet"],
            ["long", "apple", "river", "bread", "violet"],
            [{"year": 2000 + i, "tags": ["x", i]} for i in range(5)],
        )
        yield made


def test_hits_are_documents_by_their_best_passage(collection: Collection) -> None:
    document = collection.get("long")
    assert document is not None
    assert len(document.spans) > 3
    for mode in ("dense", "lexical", "hybrid"):
        ids = [hit.id for hit in collection.search("river", 5, mode=mode)]
        assert len(ids) == len(set(ids)) == (2 if mode == "lexical" else 5), "distinct documents"
        assert mode != "lexical" or set(ids) == {"river", "long"}
    hit = next(hit for hit in collection.search("bread at last", 5) if hit.id == "long")
    assert (hit.start, hit.end) == document.spans[hit.passage]
    assert hit.text == LONG[hit.start : hit.end]
    assert "bread at last" in hit.text
    assert hit.end - hit.start <= PASSAGES.size
    assert len(collection.search("the river", 5)) == 5, "k documents where there are k"
    assert len(collection.search("the river", 50)) == 5


def test_hits_hold_what_is_included(collection: Collection) -> None:
    (bare,) = collection.search("apple", 1, include=())
    assert (bare.text, bare.metadata, bare.document, bare.vector) == (None,) * 4
    full = ("text", "metadata", "highlight", "document", "vector")
    hit = next(h for h in collection.search("river", 5, include=full) if h.id == "long")
    assert hit.document == LONG
    assert hit.metadata == {"year": 2000, "tags": ["x", 0]}
    assert hit.vector is not None
    assert hit.vector.shape == (16,)
    assert "**river**" in hit.marked()
    with pytest.raises(ArgumentError, match="include"):
        collection.search("apple", include="text")
    with pytest.raises(ArgumentError, match="include"):
        collection.search("apple", include=["texts"])


@pytest.mark.parametrize("long", [False, True], ids=["passages", "documents of several"])
def test_a_query_alone_finds_what_it_finds_among_others(tmp_path: Path, long: bool) -> None:
    """With nothing of the documents: that is answered by itself."""
    with opened(tmp_path / "c", fields=["year"]) as made:
        texts = ["apple", "river stone", "bread", "violet river", LONG if long else "long"]
        made.add(texts, metadata=[{"year": 2000 + i} for i in range(5)])
        made.add(["apple bread"], ["pending"], [{"year": 2003}])
        for options in (
            {},
            {"k": 2},
            {"k": 50},
            {"where": {"year": {"$gte": 2002}}},
            {"where": {"year": 1}},
            {"k": 3, "where": {"year": 2003}, "probes": 0},
            {"refine": "always"},
        ):
            for _ in range(2):  # the rows of the filter are known the second time
                for queries in (["river bread", "apple"], np.eye(2, 16, dtype=np.float32)):
                    alone = made.search(queries[0], include=(), **options)
                    found, _ = made.search(queries, include=(), **options)
                    assert (alone.ids, alone.scores) == (found.ids, found.scores)
                    assert alone.hits == found.hits
        with pytest.raises(FunnelError):
            made.search("river", include=(), funnel="3@8 > 16@16")
        for wrong in (np.ones(15), np.full(16, np.nan), np.ones((1, 1, 16))):
            with pytest.raises(VectorError):
                made.search(wrong, include=())
        assert len(made.search(np.array(["river", "apple"]), include=())) == 2
        assert made.search(np.ones(16, int), include=()) == made.search([1] * 16, include=())
    with opened(tmp_path / "empty") as empty:
        assert empty.search("river", include=()).ids == []


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_ids_and_scores_are_those_of_the_hits(collection: Collection, mode: Mode) -> None:
    """Of hits with nothing of the documents, which are made when they are needed, and of others."""
    queries = ["river", "apple bread", "nothing"]
    bare = collection.search(queries, 4, mode=mode, include=())
    for hits, full in zip(bare, collection.search(queries, 4, mode=mode), strict=True):
        assert len(hits) == len(full)
        assert hits.ids == full.ids == [hit.id for hit in hits] == hits.ids
        assert hits.scores == full.scores == [hit.score for hit in hits] == hits.scores
        assert hits.hits is hits.hits
        for one, other in zip(hits, full, strict=True):
            assert (one.passage, one.dense, one.lexical) == (
                other.passage,
                other.dense,
                other.lexical,
            )
            assert (one.text, one.title, one.start) == (None, None, None)
    assert [hits.ids for hits in bare] == [
        collection.search(query, 4, mode=mode, include=()).ids for query in queries
    ]
    vectors = collection.search("river", 4, mode=mode, include=["vector"])
    full = collection.search("river", 4, mode=mode, include=["vector", "text"])
    for one, other in zip(vectors, full, strict=True):
        assert one.vector is not None
        assert other.vector is not None
        assert one.vector.tolist() == other.vector.tolist()


def test_snippets_are_parts_of_passages(collection: Collection) -> None:
    for query in ("long river", "here"):
        for hit in collection.search(query, 5, mode="hybrid", include=["snippet", "text"]):
            assert hit.text is not None
            assert hit.snippet is not None
            assert hit.snippet.text == hit.text[hit.snippet.start : hit.snippet.end]
            assert not hit.highlights
            assert bool(hit.snippet.highlights) == (hit.lexical is not None)
    (hit,) = collection.search(np.ones(16), 1, include=["snippet"])
    assert hit.text is None
    assert hit.snippet is not None
    assert (hit.snippet.start, hit.snippet.highlights) == (0, ())


def test_arabic_is_found_in_any_spelling_and_highlighted_as_written(tmp_path: Path) -> None:
    text = "ذَهَبَ الوَلَدُ إِلَى المَكْتَبَةِ الكبيرة، ثم عاد."
    with opened(tmp_path / "c", passages=None) as collection:
        collection.add([text, "البحر واسع"], ["library", "sea"])
        for question in ("مكتبة", "المكتبه", "والمكتبات", "الى المكتبة"):
            (hit,) = collection.search(question, mode="lexical", include=["text", "highlight"])
            assert hit.id == "library"
            assert hit.text == text
            assert "المَكْتَبَةِ" in [hit.text[start:end] for start, end in hit.highlights]
        assert collection.search("جامعة", mode="lexical").hits == ()


def test_filters_count_search_and_list_alike(collection: Collection) -> None:
    for where, ids in (
        ({"year": {"$gte": 2002}}, {"river", "bread", "violet"}),
        ({"tags": {"$contains": 3}}, {"bread"}),
        ({"$or": [{"year": 2000}, {"tags": {"$contains": 1}}]}, {"long", "apple"}),
        ({"nothing": None}, {"long", "apple", "river", "bread", "violet"}),
        ({"nothing": 1}, set()),
    ):
        assert collection.count(where) == len(ids)
        assert {document.id for document in collection.documents(where)} == ids
        for mode in ("dense", "hybrid"):
            found = collection.search("apple river bread violet", 9, where, mode=mode)
            assert {hit.id for hit in found} == ids
        found = collection.search("apple river bread violet", 9, where, mode="lexical")
        assert {hit.id for hit in found} == ids
    for call in (collection.count, collection.documents):
        with pytest.raises(FilterError, match=r"\$near"):
            list(call({"year": {"$near": 3}}))  # type: ignore[arg-type]
        for none in ((), "", 0, False):
            with pytest.raises(FilterError, match="expected a filter"):
                list(call(none))  # type: ignore[arg-type]
    with pytest.raises(FilterError):
        collection.search("apple", where={"year": {}})


def test_a_field_declared_later_gives_the_same_results(collection: Collection) -> None:
    collection.add(["stone"], ["s"], [{"deep": {"n": 3}, "a.b": "x"}])
    wheres = [{"deep.n": {"$gt": 2}}, {"a.b": "x"}, {"deep.n": {"$ne": 3}}, {"a.b": None}]
    before = [collection.count(where) for where in wheres]
    collection.declare("deep.n", "a.b", "year")
    assert collection.fields == ("year", "deep.n", "a.b")
    assert [collection.count(where) for where in wheres] == before == [1, 1, 5, 5]
    collection.add(["stone two"], ["t"], [{"deep": {"n": 4}}])
    assert collection.count({"deep.n": {"$gt": 2}}) == 2
    assert_whole(collection)


def test_several_queries_at_once(collection: Collection) -> None:
    questions = ["apple", "river", "stone"]
    together = collection.search(questions, 3)
    assert [h.hits for h in together] == [collection.search(q, 3).hits for q in questions]
    assert collection.search([], 3) == []
    vectors = collection._encoder.encode_queries(questions)
    again = collection.search(vectors, 3)
    assert [h.hits for h in again] == [h.hits for h in together]
    assert collection.search(vectors[0], 3).hits == together[0].hits


def test_an_explanation_lists_the_dropped_hits(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(300, 16)).astype(np.float32)
    with Collection(tmp_path / "c", dim=16, funnel="2@1:4 > 16@32") as collection:
        ids = [f"d{i}" for i in range(300)]
        collection.add(["x"] * 300, ids, vectors=vectors)
        query = rng.normal(size=16).astype(np.float32)
        hits = collection.search(query, 4, explain=True)
        exact = [hit.id for hit in collection.search(query, 4, funnel="16@32")]
        explanation = hits.explanation
        assert explanation is not None
        missed = [id for id in exact if id not in {hit.id for hit in hits}]
        assert missed, "the funnel drops nothing, so this tests nothing"
        assert {dropped.id for dropped in explanation.dropped} == set(missed)
        for dropped in explanation.dropped:
            assert exact[dropped.rank - 1] == dropped.id
            assert dropped.stage == 0
        assert explanation.stages[0].rows_seen == 300
        assert missed[0] in str(explanation)
        assert collection.search(query, 4).explanation is None


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_each_of_several_queries_has_an_explanation_of_its_own(tmp_path: Path, mode: Mode) -> None:
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(300, 16)).astype(np.float32)
    with Collection(tmp_path / "c", dim=16, funnel="2@1:4 > 16@32") as collection:
        collection.add([f"word{i}" for i in range(300)], vectors=vectors)
        questions = [f"word{i}" for i in range(3)]
        arguments: Any = {"mode": mode, "explain": True, "where": {"absent": None}}
        several = collection.search(questions, 4, vectors=vectors[:3], **arguments)
        assert len({id(hits.explanation) for hits in several}) == 3
        for question, vector, hits in zip(questions, vectors, several, strict=False):
            alone = collection.search(question, 4, vectors=vector, **arguments)
            assert hits.hits == alone.hits
            one, other = hits.explanation, alone.explanation
            assert one is not None
            assert other is not None
            assert one.microseconds.keys() == other.microseconds.keys()
            assert one.stages[0].rows_seen == 300
            assert without_times(one) == without_times(other)


def without_times(explanation: Explanation) -> Explanation:
    stages = tuple(replace(stage, microseconds=0) for stage in explanation.stages)
    return replace(explanation, stages=stages, microseconds={})


def test_a_count_of_a_filter_is_counted_by_the_database(collection: Collection) -> None:
    statements: list[str] = []
    with collection._store.reading() as (connection, _):
        connection.set_trace_callback(statements.append)
    assert collection.count({"year": {"$gte": 2002}}) == 3
    assert collection.count({"tags": {"$contains": "x"}}) == 5
    assert collection.count({"year": 1}) == 0
    counts = [statement for statement in statements if "fields f" in statement]
    assert len(counts) == 3
    assert all(statement.startswith("SELECT count(*)") for statement in counts)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"k": 0}, ArgumentError),
        ({"mode": "fuzzy"}, ArgumentError),
        ({"fusion": "sum"}, ArgumentError),
        ({"weight": 1.5}, ArgumentError),
        ({"weight": float("nan")}, ArgumentError),
        ({"funnel": "3@7"}, FunnelError),
        ({"funnel": "8@8 > 16@16"}, FunnelError),
        ({"probes": -1}, ArgumentError),
    ],
)
def test_arguments_out_of_range(
    collection: Collection, arguments: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        collection.search("apple", **arguments)  # type: ignore[arg-type]


def test_vectors_cannot_search_words(collection: Collection) -> None:
    with pytest.raises(ArgumentError, match="searches for words"):
        collection.search(np.ones(16, np.float32), mode="hybrid")
    with pytest.raises(VectorError):
        collection.search(np.ones(15, np.float32))
    with pytest.raises(VectorError):
        collection.search(np.full(16, np.nan, np.float32))


@pytest.mark.parametrize(
    "question", ["", " ", '"', '""', "AND OR NOT", "a* NEAR(b)", "\0", "x" * 9999, "({^-:+'", "the"]
)
def test_any_text_is_a_valid_query(collection: Collection, question: str) -> None:
    """Only "the" is a word of a document; the dense ranking has a nearest one for any text."""
    dense, lexical, hybrid = (
        {hit.id for hit in collection.search(question, 3, mode=mode)}
        for mode in ("dense", "lexical", "hybrid")
    )
    assert len(dense) == len(hybrid) == 3
    assert lexical == ({"long"} if question == "the" else set())
    assert hybrid == dense | lexical


def test_a_weight_of_0_or_1_follows_one_ranking(collection: Collection) -> None:
    for fusion in ("rrf", "weighted"):
        for mode, weight in (("dense", 1.0), ("lexical", 0.0)):
            fused = collection.search("bread", 2, mode="hybrid", fusion=fusion, weight=weight)
            assert fused[0].id == collection.search("bread", 1, mode=mode)[0].id
    assert_searches_agree(collection)


@pytest.mark.parametrize("fusion", ["weighted", "rrf"])
def test_hits_of_a_hybrid_search_tell_both_ranks(folder: Path, fusion: Any) -> None:
    with opened(folder) as collection:
        for query in ("apple bread7", "violet1", "bread8 nothing"):
            rankings = {
                mode: {
                    hit.id: (rank, hit.score)
                    for rank, hit in enumerate(collection.search(query, 100, mode=mode), 1)
                }
                for mode in ("dense", "lexical")
            }
            for hit in collection.search(query, 7, mode="hybrid", fusion=fusion):
                assert hit.dense == rankings["dense"].get(hit.id)
                assert hit.lexical == rankings["lexical"].get(hit.id)
            for hit in collection.search(query, 7, mode="lexical"):
                assert hit.dense is hit.lexical is None


def test_no_query_at_all_is_named(tmp_path: Path) -> None:
    with (
        Collection(tmp_path / "c", dim=2) as collection,
        pytest.raises(TypeError, match="a query must be a text or a vector"),
    ):
        collection.search(None)  # type: ignore[arg-type]
