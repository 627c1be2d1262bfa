"""Evaluations have the values of BEIR's and MTEB's own evaluators, whatever the judgements are.

The rules are those of beir.retrieval.evaluation.EvaluateRetrieval and of mteb's RetrievalEvaluator:
drop results with the id of their query (BEIR always, MTEB for the tasks that say so), give the rest
to trec_eval, and take the mean over the judged queries that were answered.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from commands import Run as RunCommand
from hashing_encoder import HashingEncoder
from hypothesis import given, settings
from hypothesis import strategies as st

from nestling import CorpusWarning
from nestling.evaluation import (
    Dataset,
    EvaluationSettings,
    Run,
    evaluate,
    evaluate_runs,
    read_dataset,
    read_run,
    write_run,
)
from nestling.evaluation.tasks import read_task
from nestling.training.pairs import read_training_data

pytrec_eval = pytest.importorskip("pytrec_eval")

METRICS = ("ndcg@3", "ndcg@10", "map@10", "recall@3", "recall@10", "precision@3", "success@3")
DEPTH = 10
WORDS = ("red", "green", "blue", "bread", "water", "wine")

Results = Mapping[str, Mapping[str, float]]
Grades = Mapping[str, Mapping[str, int]]


def expected(qrels: Grades, results: Results, *, ignore: bool) -> dict[str, float]:
    """The means of trec_eval over the judged queries, after the rule about identical ids."""
    theirs = {"ndcg": "ndcg_cut", "map": "map_cut", "precision": "P"}
    asked = {name: (theirs.get(name.split("@")[0], name.split("@")[0]), name.split("@")[1])
             for name in METRICS}  # fmt: skip
    left = {
        query: {d: score for d, score in found.items() if not (ignore and d == query)}
        for query, found in results.items()
    }
    # Grades below 0 count as 0, and can end the process of pytrec_eval.
    whole = {query: {d: max(grade, 0) for d, grade in of.items()} for query, of in qrels.items()}
    evaluator = pytrec_eval.RelevanceEvaluator(whole, {f"{m}.{k}" for m, k in asked.values()})
    scores = evaluator.evaluate(left)
    return {
        name: sum(one[f"{m}_{k}"] for one in scores.values()) / len(scores)
        for name, (m, k) in asked.items()
    }


class Dense(HashingEncoder):
    """Embeddings without ties, as BEIR has no rule for which of them are among the first k."""

    def __init__(self) -> None:
        super().__init__("dense", dim=32)
        self.words = HashingEncoder(dim=4096)
        self.matrix = np.random.default_rng(3).standard_normal((4096, 32)).astype(np.float32)

    def encode(self, texts: Sequence[str], **options: Any) -> np.ndarray:
        return self.words.encode(texts) @ self.matrix

    encode_queries = encode


DENSE = Dense()


@dataclass
class Collection:
    """A generated test collection, and how its files are written."""

    documents: dict[str, str]
    queries: dict[str, str]
    lines: list[tuple[str, str, int]]
    style: dict[str, Any]

    @property
    def qrels(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for query, document, grade in self.lines:
            found.setdefault(query, {})[document] = grade
        return found

    def write(self, folder: Path) -> None:
        for name, texts in (("corpus", self.documents), ("queries", self.queries)):
            lines = [json.dumps({"_id": id, "text": text}) for id, text in texts.items()]
            (folder / f"{name}.jsonl").write_text("\n".join(lines))
        style = self.style
        rows = [["query-id", "corpus-id", "score"]] if style["header"] else []
        for query, document, grade in self.lines:
            rows.append([query, document, f"{grade}.0" if style["floats"] else str(grade)])
        if style["Q0"]:
            rows = [[query, "Q0", document, grade] for query, document, grade in rows]
        lines = [style["between"].join(row) for row in rows]
        if style["blank"]:
            lines.insert(len(lines) // 2, "")
        text = ("\ufeff" if style["mark"] else "") + style["end"].join([*lines, ""])
        (folder / "qrels.tsv").write_bytes(text.encode())


@st.composite
def collections(draw: st.DrawFn) -> Collection:
    """Questions that are documents, or are not; judgements of absent documents, repeated ones."""
    words = st.lists(
        st.sampled_from(["red", "green", "blue", "bread", "water", "wine"]), min_size=1
    )
    ids = draw(st.lists(st.sampled_from([f"d{i}" for i in range(24)]), min_size=2, unique=True))
    documents = {id: f"{id} {' '.join(draw(words))}" for id in ids}
    names = st.sampled_from([*ids, "q0", "q1"])
    queries = {id: documents.get(id) or " ".join(draw(words))
               for id in draw(st.lists(names, min_size=1, max_size=6, unique=True))}  # fmt: skip
    judged = st.tuples(
        st.sampled_from(list(queries)), st.sampled_from([*ids, "gone", "lost"]), st.integers(-2, 3)
    )
    lines = draw(st.lists(judged, min_size=1, max_size=20))
    answer = (*draw(st.tuples(st.sampled_from(list(queries)), st.sampled_from(ids))), 1)
    booleans = ("header", "floats", "Q0", "blank", "mark")
    style: dict[str, Any] = {name: draw(st.booleans()) for name in booleans}
    style["between"] = draw(st.sampled_from(["\t", " "]))
    style["end"] = draw(st.sampled_from(["\n", "\r\n"]))
    return Collection(documents, queries, [*lines, answer], style)


def settings_of(depth: int) -> EvaluationSettings:
    return EvaluationSettings(
        dims=[32, 8],
        bits=[32, 4],
        funnels=["8@4:12 > 32@16"],
        metrics=METRICS,
        depth=depth,
        rounds=0,
        threads=1,
    )


def results_of(run: Run, dataset: Dataset) -> dict[str, dict[str, float]]:
    found = {}
    for query, row, scores in zip(dataset.query_ids, run.ranking, run.scores, strict=True):
        kept = row >= 0
        names = [dataset.document_ids[position] for position in row[kept]]
        found[query] = dict(zip(names, scores[kept].tolist(), strict=True))
    return found


def check(collection: Collection, folder: Path) -> None:
    """Compares every system, with and without the rule, and its saved run."""
    whole: dict[str, Results] = {}
    for ignore in (False, True):
        dataset = read_dataset(folder, ignore_identical_ids=ignore)
        # Everything that is retrieved, the queries themselves included, goes to the oracle.
        runs: list[Run] = []
        table = evaluate(DENSE, dataset, settings_of(DEPTH), on_run=runs.append)
        if not ignore:
            every = settings_of(len(dataset.documents) + DEPTH)
            evaluate(
                DENSE,
                dataset,
                every,
                on_run=lambda run: whole.__setitem__(run.name, results_of(run, dataset)),  # noqa: B023
            )
        assert dataset.query_ids == tuple(q for q in collection.queries if q in collection.qrels)
        for row, run in zip(table.rows, runs, strict=True):
            assert row.system == run.name
            assert run.ranking.shape[1] <= DEPTH
            if row.kind != "funnel":  # a funnel's survivors depend on how many are retrieved
                oracle = expected(collection.qrels, whole[run.name], ignore=ignore)
                assert row.metrics == pytest.approx(oracle, abs=1e-6), run.name
            mine = results_of(run, dataset)
            oracle = expected(collection.qrels, mine, ignore=ignore)
            assert row.metrics == pytest.approx(oracle, abs=1e-6), run.name
            if ignore:
                assert not any(query in found for query, found in mine.items())
            write_run(run, folder / "run.trec", dataset)
            again = read_run(folder / "run.trec", dataset)
            saved = evaluate_runs([again], dataset, metrics=METRICS).rows[0]
            assert saved.metrics == pytest.approx(row.metrics, abs=1e-12)
        # A run of another engine, with the queries among its results.
        lines = (
            f"{query} Q0 {document} 1 {score!r} other"
            for query, found in whole["32@32"].items()
            for document, score in found.items()
        )
        (folder / "other.trec").write_text("\n".join(lines))
        other = evaluate_runs(
            [read_run(folder / "other.trec", dataset)], dataset, metrics=METRICS
        ).rows[0]
        oracle = expected(collection.qrels, whole["32@32"], ignore=ignore)
        assert other.metrics == pytest.approx(oracle, abs=1e-6)


def check_written(collection: Collection) -> None:
    with tempfile.TemporaryDirectory() as folder:
        collection.write(Path(folder))
        check(collection, Path(folder))


@pytest.mark.filterwarnings("ignore::nestling.CorpusWarning")
@settings(max_examples=25, deadline=None)
@given(collections())
def test_generated_collections_have_the_values_of_trec_eval(collection: Collection) -> None:
    check_written(collection)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::nestling.CorpusWarning")
@settings(max_examples=2_000, deadline=None)
@given(collections())
def test_many_generated_collections_have_the_values_of_trec_eval(collection: Collection) -> None:
    check_written(collection)


def random_texts(rng: np.random.Generator, count: int) -> list[str]:
    words = [f"word{i}" for i in range(60)]
    return [" ".join(rng.choice(words, 12)) for _ in range(count)]


def plain(**changes: object) -> dict[str, Any]:
    style: dict[str, Any] = dict.fromkeys(("floats", "Q0", "blank", "mark"), False)
    return {**style, "header": True, "between": "\t", "end": "\n", **changes}


@pytest.mark.filterwarnings("ignore::nestling.CorpusWarning")
def test_a_folder_like_arguana(tmp_path: Path) -> None:
    """Queries are documents of the corpus; the answer is the counterargument, next to them."""
    rng = np.random.default_rng(1)
    texts = random_texts(rng, 60)
    documents = {f"arg{i}a": text for i, text in enumerate(texts)}
    documents |= {f"arg{i}b": f"{text} against" for i, text in enumerate(texts)}
    queries = {id: documents[id] for id in list(documents)[:50]}
    lines = [(id, f"{id[:-1]}b", 1) for id in queries]
    lines[7] = (lines[7][0], "arg-that-was-removed", 1)
    collection = Collection(documents, queries, lines, plain())
    collection.write(tmp_path)
    check(collection, tmp_path)
    with pytest.warns(CorpusWarning, match="1 judged documents are not in the corpus"):
        dataset = read_dataset(tmp_path)
    table = evaluate(DENSE, dataset, settings_of(DEPTH))
    assert table.rows[0].metrics["recall@3"] == pytest.approx(49 / 50)
    assert dataset.missing == {"arg-that-was-removed"}


def test_a_folder_like_quora(tmp_path: Path) -> None:
    """Queries are documents, and their near duplicates are relevant."""
    rng = np.random.default_rng(2)
    texts = random_texts(rng, 40)
    documents, lines = {}, []
    for i, text in enumerate(texts):
        group = {str(10 * i + j): f"{text} {'please ' * j}" for j in range(1 + i % 4)}
        documents |= group
        first, *others = group
        lines += [(first, other, 1) for other in others]
    queries = {query: documents[query] for query, _, _ in lines}
    collection = Collection(documents, queries, lines, plain(end="\r\n"))
    collection.write(tmp_path)
    check(collection, tmp_path)
    dataset = read_dataset(tmp_path)
    assert dataset.remarks == ()
    assert (dataset.excluded >= 0).all()


def test_the_command_says_what_it_does_and_can_be_told_otherwise(
    run: RunCommand, tmp_path: Path
) -> None:
    documents = {"a1": "for free speech", "a1c": "against free speech"}
    lines = [("a1", "a1c", 1), ("a1", "gone", 1), ("a1", "a1", 1)]
    Collection(documents, {"a1": documents["a1"]}, lines, plain()).write(tmp_path)
    options = ("--bits", 32, "--dims", 256, "--rounds", 0, "--metric", "mrr@10", "--json")
    ended = run("eval", tmp_path, *options)
    assert ended.json["rows"][0]["metrics"]["mrr@10"] == 1
    assert "1 judged documents are not in the corpus, such as 'gone'" in ended.err
    assert "1 queries have the document of their own id as a relevant one" in ended.err
    (tmp_path / "qrels.tsv").write_text("a1\ta1c\t1\n")
    ended = run("eval", tmp_path, *options)
    assert ended.json["rows"][0]["metrics"]["mrr@10"] == 1
    assert ended.err == ""
    ended = run("eval", tmp_path, *options, "--keep-identical-ids")
    assert ended.json["rows"][0]["metrics"]["mrr@10"] == 0.5


def test_as_many_documents_are_retrieved_whether_one_is_dropped_or_not() -> None:
    documents = {f"d{i}": f"word{i} word" for i in range(30)}
    queries = {"d0": "word0 word", "q": "word1 word"}
    dataset = Dataset.of("d", documents, queries, [("d0", "d1", 1), ("q", "d2", 1)])
    runs: list[Run] = []
    evaluate(DENSE, dataset, settings_of(10), on_run=runs.append)
    for one in runs:
        assert (one.ranking >= 0).sum(axis=1).tolist() == [10, 10]


def test_questions_without_relevant_documents_count_if_they_are_judged() -> None:
    documents, queries = {"a": "x", "b": "y"}, {"q": "x", "r": "y", "s": "z"}
    dataset = Dataset.of("d", documents, queries, [("q", "a", 1), ("r", "b", 0)])
    assert (dataset.query_ids, dataset.left_out) == (("q", "r"), {"s"})
    one = Run.of("r", [[0], [1]], [[1.0], [1.0]], dataset)
    assert evaluate_runs([one], dataset, metrics=["mrr@10"]).rows[0].metrics == {"mrr@10": 0.5}


def test_the_last_of_contradicting_judgements_counts() -> None:
    judged: Sequence[tuple[str, str, int]] = [("q", "a", 2), ("q", "a", 1), ("q", "a", 1)]
    with pytest.warns(CorpusWarning, match="1 judgements contradict"):
        dataset = Dataset.of("d", {"a": "x"}, {"q": "x"}, judged)
    assert dataset.judgements.ideal(1).tolist() == [[1]]


def test_absent_documents_are_no_pairs_to_train_on(tmp_path: Path) -> None:
    lines = [("q", "gone", 1), ("q", "a", 1)]
    Collection({"a": "bread", "b": "water"}, {"q": "flour"}, lines, plain()).write(tmp_path)
    with pytest.warns(CorpusWarning, match="'gone'"):
        data = read_training_data(tmp_path)
    assert [(e.query, e.positive) for e in data.examples] == [("flour", "bread")]


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("chosen", [None, True, False])
def test_a_task_of_mteb_says_whether_identical_ids_count(
    own: bool, chosen: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Task:
        metadata = SimpleNamespace(name="task", eval_splits=["test"])
        ignore_identical_ids = own

        def load_data(self) -> None:
            rows = [{"id": "a", "text": "bread", "title": ""}, {"id": "b", "text": "rye bread"}]
            split = {
                "corpus": Rows(rows),
                "queries": Rows(rows[:1]),
                "relevant_docs": {"a": {"b": 1}, "of a query without a text": {"b": 1}},
            }
            self.dataset = {"default": {"test": split}}

    class Rows(list):  # type: ignore[type-arg]
        column_names = ("id", "text")

    mteb = SimpleNamespace(abstasks=SimpleNamespace(AbsTaskRetrieval=Task))
    monkeypatch.setattr("nestling.evaluation.tasks.require_mteb", lambda: mteb)
    dataset = read_task(Task(), ignore_identical_ids=chosen)
    assert dataset.ignore_identical_ids == (own if chosen is None else chosen)
    assert (dataset.excluded >= 0).tolist() == [dataset.ignore_identical_ids]
