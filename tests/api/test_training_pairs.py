"""Pairs are read from every form, split without leaks, and put into batches without duplicates."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from nestling.errors import CorpusError, PackageError
from nestling.evaluation.similarity import Pair
from nestling.training import finetune
from nestling.training.finetune.batches import BatchPlan
from nestling.training.pairs import Example, TrainingData, read_training_data


def write(path: Path, *records: Any) -> Path:
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    return path


def test_questions_with_answers_are_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "pairs.jsonl",
        {"query": "ما عاصمة مصر؟", "positive": "القاهرة", "negative": "الجيزة"},
        {"query": "b", "positive": "B", "negatives": ["C", "D"], "group": "letters"},
        {"query": "c", "positive": "C", "negatives": [], "group": 7},
    )
    data = read_training_data(path)
    assert data.kind == "ranking"
    assert data.examples == (
        Example("ما عاصمة مصر؟", "القاهرة", ("الجيزة",)),
        Example("b", "B", ("C", "D"), "letters"),
        Example("c", "C", (), "7"),
    )
    assert data.negatives == 0
    assert data.columns().keys() == {"query", "positive"}


def test_as_many_negatives_are_used_as_every_example_has() -> None:
    examples = (Example("a", "A", ("x", "y")), Example("b", "B", ("z",)))
    assert TrainingData("d", examples).columns()["negative_1"] == ["x", "z"]
    assert "negative_2" not in TrainingData("d", examples).columns()


@pytest.mark.parametrize("names", [("text1", "text2"), ("sentence1", "sentence2")])
def test_scored_pairs_are_read(tmp_path: Path, names: tuple[str, str]) -> None:
    path = write(tmp_path / "p.jsonl", {names[0]: "a", names[1]: "b", "score": 4})
    data = read_training_data(path)
    assert (data.kind, data.pairs) == ("scored", (Pair("a", "b", 4.0),))
    (tmp_path / "p.tsv").write_text("a\tb\t4\n")
    assert read_training_data(tmp_path / "p.tsv").pairs == data.pairs
    assert data.columns() == {"first": ["a"], "second": ["b"], "score": [4.0]}


def test_a_folder_of_beir_gives_every_relevant_pair_with_its_title(tmp_path: Path) -> None:
    write(
        tmp_path / "corpus.jsonl",
        {"_id": "1", "title": "Egypt", "text": "Cairo"},
        {"_id": "2", "text": "bread"},
    )
    write(tmp_path / "queries.jsonl", {"_id": "q", "text": "capital?"}, {"_id": "r", "text": "?"})
    qrels = "query-id\tcorpus-id\tscore\nq\t1\t2\nq\t2\t1\nr\t1\t0\nr\t2\t1\n"
    (tmp_path / "qrels.tsv").write_text(qrels)
    assert read_training_data(tmp_path).examples == (
        Example("capital?", "Egypt Cairo", group="Egypt"),
        Example("capital?", "bread"),
        Example("?", "bread"),
    )


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"query": "a"}, "line 2: expected query and positive"),
        ({"query": " ", "positive": "b"}, "line 2: expected .* none of them empty"),
        ({"query": "a", "positive": "b", "negatives": [1]}, "line 2: expected query"),
        ({"query": "a", "positive": "b", "negatives": {}}, "line 2: negatives must be a list"),
        ({"query": "a", "positive": "b", "negative": "b"}, "positive is among the negatives"),
        ({"query": "a", "positive": "b", "group": []}, "line 2: group must be"),
        (["a", "b"], "line 2: expected an object"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, record: Any, message: str) -> None:
    path = write(tmp_path / "p.jsonl", {"query": "a", "positive": "b"}, record)
    with pytest.raises(CorpusError, match=message):
        read_training_data(path)


def test_files_without_pairs_are_refused(tmp_path: Path) -> None:
    for name, content, message in (
        ("empty.jsonl", "\n", "contains no pairs"),
        ("broken.jsonl", "{", "line 1: not JSON"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(CorpusError, match=message):
            read_training_data(tmp_path / name)
    with pytest.raises(CorpusError, match="cannot read"):
        read_training_data(tmp_path / "absent.jsonl")


def test_a_digest_changes_with_the_content() -> None:
    base = Example("a", "b", ("c",), "d")
    others = [Example("x", "b", ("c",), "d"), Example("a", "b", ("c",)), Example("a", "b")]
    others += [Example("a", "b", ("c", "e"), "d")]
    datas = [TrainingData("n", (e,)) for e in (base, *others)]
    datas += [TrainingData("n", pairs=(Pair("a", "b", s),)) for s in (1.0, 2.0)]
    assert len({data.digest() for data in datas}) == len(datas)
    assert TrainingData("m", (base,)).digest() == datas[0].digest()


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=60),
    st.integers(0, 40),
    st.integers(0, 5),
)
def test_a_split_shares_no_text_and_loses_nothing(
    numbers: list[tuple[int, int]], holdout: int, seed: int
) -> None:
    data = TrainingData("d", tuple(Example(f"q{q}", f"p{p}") for q, p in numbers))
    try:
        train, held = data.split(holdout, seed=seed)
    except CorpusError:  # nothing is left to train on: the test below
        reject()
    assert Counter(train.examples) + Counter(held.examples) == Counter(data.examples)
    assert len(held) >= holdout
    assert data.split(holdout, seed=seed)[1].examples == held.examples
    queries, positives = (
        {getattr(e, name) for e in train.examples} & {getattr(e, name) for e in held.examples}
        for name in ("query", "positive")
    )
    assert not queries or not positives


@pytest.mark.parametrize("holdout", [4, 20])
def test_something_must_be_left_to_train_on(holdout: int) -> None:
    """All share one positive, so all would be held out together."""
    data = TrainingData("d", tuple(Example(f"q{i}", "p") for i in range(20)))
    with pytest.raises(CorpusError, match=r"d: 20 examples, .* nothing is left to train on"):
        data.split(holdout, seed=0)


def test_a_tenth_is_held_out_by_default() -> None:
    data = TrainingData("d", tuple(Example(f"q{i}", f"p{i}") for i in range(200)))
    assert len(data.split(None, seed=0)[1]) == 20
    assert len(data.split(0, seed=0)[1]) == 0
    assert len(TrainingData("d", data.examples[:19]).split(None, seed=0)[1]) == 0


def plan(examples: list[Example], batches: int = 20, **changes: Any) -> list[list[int]]:
    options = {"batch_size": 4, "group_size": 2, "seed": 0} | changes
    return list(BatchPlan(TrainingData("d", tuple(examples)), batches=batches, **options))


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 12), st.integers(0, 3)),
        min_size=4,
        max_size=50,
    ),
    st.integers(1, 5),
)
def test_no_text_comes_twice_in_a_batch(
    numbers: list[tuple[int, int, int]], group_size: int
) -> None:
    examples = [Example(f"q{q}", f"p{p}", group=str(g)) for q, p, g in numbers]
    if len({e.positive for e in examples}) < 4 or len({e.query for e in examples}) < 4:
        return
    for batch in plan(examples, 5, group_size=group_size, batch_size=2):
        texts = [
            text
            for position in batch
            for text in (examples[position].query, examples[position].positive)
        ]
        assert len(batch) == 2
        assert len(set(texts)) == len(texts)


def test_an_epoch_sees_every_example_once_and_the_next_in_another_order() -> None:
    examples = [Example(f"q{i}", f"p{i}", group=str(i % 3)) for i in range(24)]
    batches = plan(examples, 12)
    first, second = batches[:6], batches[6:]
    for epoch in (first, second):
        assert sorted(position for batch in epoch for position in batch) == list(range(24))
    assert first != second
    assert plan(examples, 12) == batches
    assert plan(examples, 12, seed=1) != batches


def test_a_group_shares_batches() -> None:
    examples = [Example(f"q{i}", f"p{i}", group=str(i % 6)) for i in range(48)]
    for batch in plan(examples, 6, batch_size=8, group_size=4):
        assert sorted(Counter(examples[position].group for position in batch).values()) == [4, 4]
    alone = [Example(f"q{i}", f"p{i}") for i in range(48)]
    assert plan(alone, 6) != plan(alone, 6, seed=3)


def test_a_crowded_positive_is_spread_over_batches() -> None:
    """Most examples share one positive: it is in a batch once, and no batch lacks others."""
    examples = [Example(f"q{i}", "same", group="g") for i in range(20)]
    examples += [Example(f"r{i}", f"p{i}", group="g") for i in range(20)]
    for batch in plan(examples, 5, batch_size=4, group_size=4):
        assert sum(examples[position].positive == "same" for position in batch) <= 1


def test_scored_pairs_are_in_batches_too() -> None:
    data = TrainingData("d", pairs=tuple(Pair("the same", str(i), i) for i in range(10)))
    batches = list(BatchPlan(data, batch_size=5, group_size=8, seed=0, batches=2))
    assert sorted(position for batch in batches for position in batch) == list(range(10))


def test_a_batch_that_cannot_be_filled_is_an_error() -> None:
    examples = [Example("the same", f"p{i}") for i in range(20)]
    with pytest.raises(CorpusError, match="no batch of 4 can be made of 20 examples"):
        plan(examples)


@pytest.mark.parametrize("package", ["torch", "sentence_transformers", "accelerate", "datasets"])
def test_an_absent_package_names_the_extra(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PackageError, match=r"pip install 'nestling\[train\]'"):
        finetune("minilm", tmp_path / "pairs.jsonl", tmp_path / "out")


def test_importing_every_module_needs_no_torch() -> None:
    script = """
import sys
for name in ("torch", "transformers", "sentence_transformers", "datasets", "accelerate"):
    sys.modules[name] = None
import importlib, pkgutil, nestling.training
for module in pkgutil.walk_packages(nestling.training.__path__, "nestling.training."):
    importlib.import_module(module.name)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
