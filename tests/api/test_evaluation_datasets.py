"""Test collections and runs: what is read and written, and how malformed files are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from nestling.errors import ArgumentError, CorpusError, StorageError
from nestling.evaluation import Dataset, Run, measure, read_dataset, read_run, write_run

CORPUS = [
    {"_id": "w", "title": "Whales", "text": "whales sing in the sea"},
    {"_id": "م1", "title": "", "text": "القاهرة عاصمة مصر"},
    {"_id": "b", "text": "bees dance in the hive"},
]
QUERIES = [
    {"_id": "q1", "text": "who sings?"},
    {"_id": "س", "text": "ما عاصمة مصر؟"},
    {"_id": "q3", "text": "nobody knows"},
]
QRELS = "query-id\tcorpus-id\tscore\nq1\tw\t2\nس\tم1\t1\nq1\tb\t0\n"

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(
        *,
        corpus: Iterable[object] = CORPUS,
        queries: Iterable[object] = QUERIES,
        qrels: str | None = QRELS,
        place: str = "qrels.tsv",
    ) -> Path:
        folder = tmp_path / "tiny"
        for name, records in (("corpus.jsonl", corpus), ("queries.jsonl", queries)):
            lines = (
                r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in records
            )
            folder.mkdir(exist_ok=True)
            (folder / name).write_text("\n".join(lines), encoding="utf-8")
        if qrels is not None:
            (folder / place).parent.mkdir(exist_ok=True)
            (folder / place).write_text(qrels, encoding="utf-8")
        return folder

    return make


@pytest.fixture
def dataset(make: Make) -> Dataset:
    return read_dataset(make())


def test_a_folder_is_read_whole(dataset: Dataset) -> None:
    assert dataset.name == "tiny"
    assert dataset.document_ids == ("w", "م1", "b")
    assert dataset.documents[:2] == ("Whales whales sing in the sea", "القاهرة عاصمة مصر")
    assert dataset.query_ids == ("q1", "س")
    assert dataset.queries[1] == "ما عاصمة مصر؟"
    assert dataset.left_out == {"q3"}
    assert dataset.judgements.relevant.tolist() == [1, 1]
    assert dataset.judgements.grades_of(np.array([[0, 1, 2]] * 2)).tolist() == [
        [2, 0, 0],
        [0, 1, 0],
    ]


@pytest.mark.parametrize(
    "qrels",
    [
        QRELS.replace("\n", "\r\n"),
        "\ufeff" + QRELS,
        QRELS.split("\n", 1)[1],
        "q1 0 w 2\nس 0 م1 1\nq1 0 b 0\n",
        "q1\tw\t2\n\nس\tم1\t1\nq1\tw\t2\n",
        "query\tdoc\trelevance\nq1\tw\t2\nس\tم1\t1\n",
        "q\tQ0\td\tgrade\nq1\tQ0\tw\t2\nس\t0\tم1\t1\n",
        "q1\tw\t2.0\nس\tم1\t1.0\nq1\tb\t-1\n",
        '"q1"\t"w"\t2\n"س"\tم1\t"1"\n',
        "\n \nquery\tdoc\tgrade\t\nq1\tw\t2 \nس\tم1\t1\t\n\n",
    ],
    ids=[
        *("crlf", "mark", "no-header", "trec", "repeated", "other-header"),
        *("tabs-and-Q0", "floats", "quoted", "blanks"),
    ],
)
def test_judgements_come_in_several_forms(make: Make, qrels: str) -> None:
    dataset = read_dataset(make(qrels=qrels))
    assert dataset.query_ids == ("q1", "س")
    assert dataset.judgements.ideal(2).tolist() == [[2, 0], [1, 0]]


def test_splits_lie_in_a_folder(make: Make) -> None:
    folder = make(place="qrels/test.tsv")
    assert len(read_dataset(folder).query_ids) == 2
    (folder / "qrels" / "dev.tsv").write_text("q3\tb\t1\n")
    assert read_dataset(folder, split="dev").query_ids == ("q3",)
    assert read_dataset(folder).query_ids == ("q1", "س")
    with pytest.raises(CorpusError, match="no split 'train'"):
        read_dataset(folder, split="train")
    (folder / "qrels" / "test.tsv").unlink()
    assert read_dataset(folder).query_ids == ("q3",)
    (folder / "qrels" / "train.tsv").write_text("q1\tb\t1\n")
    with pytest.raises(CorpusError, match="choose one of the splits: dev, train"):
        read_dataset(folder)


def test_a_limit_keeps_the_first_questions_that_have_an_answer(make: Make) -> None:
    dataset = read_dataset(make(queries=QUERIES[::-1]), limit=1)
    assert dataset.query_ids == ("س",)
    assert dataset.left_out == {"q1", "q3"}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"qrels": None}, "choose one of the splits: none"),
        ({"qrels": ""}, "the file has no judgements"),
        ({"qrels": "query-id\tcorpus-id\tscore\n"}, "the file has no judgements"),
        ({"qrels": "q1\tw\t0\n"}, "nothing to measure"),
        ({"qrels": QRELS + "q9\tw\t1\n"}, "line 5: the query 'q9' is not in"),
        ({"qrels": QRELS + "q1\tw\t1.5\n"}, "line 5: the grade '1.5' is not a whole number"),
        ({"qrels": QRELS + "q1\tw\tinf\n"}, "line 5: the grade 'inf' is not a whole number"),
        ({"qrels": QRELS + "q1\tw\t1e30\n"}, "line 5: the grade '1e30' is not a whole number"),
        ({"qrels": QRELS + "q1\tw\n"}, "line 5: 2 fields"),
        ({"qrels": "q1\tw\t1.5\n"}, "line 1: the grade '1.5'"),
        ({"corpus": [*CORPUS, CORPUS[0]]}, "the id 'w' occurs twice"),
        ({"corpus": [{"text": "a"}]}, "record 1 has no _id"),
        ({"corpus": []}, "no documents found"),
        ({"corpus": ["{"]}, "line 1: not JSON"),
        ({"queries": [{"_id": "q1"}]}, "no field 'text'"),
        ({"queries": [{"_id": "q1", "text": 3}]}, "must be a string"),
    ],
)
def test_what_is_malformed_is_told(make: Make, parts: dict[str, str], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        read_dataset(make(**parts))


def test_a_folder_that_lacks_a_file_is_told(make: Make, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        read_dataset(tmp_path / "absent")
    folder = make()
    (folder / "queries.jsonl").unlink()
    with pytest.raises(CorpusError, match=r"queries\.jsonl: no such file"):
        read_dataset(folder)
    (folder / "qrels.tsv").write_bytes(b"q1\t\xff\t1\n")
    with pytest.raises(CorpusError, match="line 1: not UTF-8"):
        read_dataset(make(qrels=None))


def test_a_dataset_of_ones_own_knows_its_queries() -> None:
    with pytest.raises(CorpusError, match="unknown query 'x'"):
        Dataset.of("own", {"a": "one"}, {"q": "?"}, [("x", "a", 1)])


def test_a_run_is_ordered_by_score_then_by_falling_id(dataset: Dataset) -> None:
    run = Run.of("r", [[0, 1, 2], [2, -1, 0]], [[1, 1, 1], [0.5, 9, 0.75]], dataset)
    # By code point "م1" is above "w", which is above "b".
    assert run.ranking.tolist() == [[1, 0, 2], [0, 2, -1]]
    assert run.scores.tolist() == [[1, 1, 1], [0.75, 0.5, -np.inf]]


def test_a_run_that_does_not_fit_is_refused(dataset: Dataset) -> None:
    with pytest.raises(ArgumentError, match="for 2 queries"):
        Run.of("r", [[0]], [[1]], dataset)
    with pytest.raises(ArgumentError, match="no document has the position 3"):
        Run.of("r", [[0], [3]], [[1], [1]], dataset)


def test_a_run_goes_through_its_file_unchanged(dataset: Dataset, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((2, 3)).astype(np.float32)
    scores[0, 1] = scores[0, 2]
    run = Run.of("64@4:9 > 256@16", [[0, 1, 2], [2, -1, 0]], scores, dataset)
    write_run(run, tmp_path / "r.trec", dataset)
    lines = (tmp_path / "r.trec").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 5
    assert lines[0].split()[0] == "q1"
    assert {line.split()[5] for line in lines} == {"64@4:9>256@16"}
    back = read_run(tmp_path / "r.trec", dataset)
    np.testing.assert_array_equal(back.ranking, run.ranking)
    np.testing.assert_array_equal(back.scores, run.scores)


def test_a_run_is_measured_alike_here_and_in_trec_eval(dataset: Dataset) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    run = Run.of("tied", [[0, 1, 2], [2, 0, 1]], np.full((2, 3), 0.25), dataset)
    ours = measure(run.ranking, dataset.judgements, ["ndcg@10"])["ndcg@10"]
    evaluator = pytrec_eval.RelevanceEvaluator(
        {"q1": {"w": 2, "b": 0}, "س": {"م1": 1}}, {"ndcg_cut.10"}
    )
    theirs = evaluator.evaluate({q: dict.fromkeys(("w", "م1", "b"), 0.25) for q in ("q1", "س")})
    assert ours == pytest.approx([theirs[q]["ndcg_cut_10"] for q in ("q1", "س")], abs=1e-6)


def test_a_run_may_leave_questions_out_and_answer_others(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "r.trec"
    path.write_text("q3 Q0 w 1 5 bm25\n\nس Q0 م1 1 4.5 bm25\n", encoding="utf-8")
    run = read_run(path, dataset)
    assert run.name == "bm25"
    assert run.ranking.tolist() == [[-1], [1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("q1 Q0 w 1 5\n", "line 1: 5 fields"),
        ("q1 Q0 w 1 high bm25\n", "line 1: the score 'high' is not a number"),
        ("q1 Q0 w 1 nan bm25\n", "line 1: the score 'nan' is not finite"),
        ("q1 Q0 x 1 5 bm25\n", "line 1: no document has the id 'x'"),
        ("q9 Q0 w 1 5 bm25\n", "line 1: no query has the id 'q9'"),
        ("q1 Q0 w 1 5 bm25\nq1 Q0 w 2 4 bm25\n", "line 2: the document 'w' occurs twice"),
    ],
)
def test_a_malformed_run_is_told(dataset: Dataset, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.trec"
    path.write_text(text)
    with pytest.raises(CorpusError, match=message):
        read_run(path, dataset)


def test_a_run_that_cannot_be_read_or_written_is_told(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cannot read"):
        read_run(tmp_path / "absent", dataset)
    run = Run.of("r", [[0], [1]], [[1], [1]], dataset)
    with pytest.raises(StorageError, match="cannot write"):
        write_run(run, tmp_path / "absent" / "r.trec", dataset)
    spaced = Dataset.of("own", {"a b": "one"}, {"q": "?"}, [("q", "a b", 1)])
    with pytest.raises(CorpusError, match="'a b' contains white space"):
        write_run(Run.of("r", [[0]], [[1]], spaced), tmp_path / "r.trec", spaced)
