"""Semantic similarity of scored pairs: against scipy, and the files they come from."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hashing_encoder import HashingEncoder
from hypothesis import assume, given
from hypothesis import strategies as st

from nestling.errors import CorpusError, FunnelError
from nestling.evaluation.similarity import Pair, evaluate_pairs, read_pairs, spearman

PAIRS = [
    Pair("القاهرة عاصمة مصر", "عاصمة مصر القاهرة", 5.0),
    Pair("النيل نهر طويل", "النيل في مصر", 2.5),
    Pair("bees dance", "whales sing", 0.0),
    Pair("bees dance in the hive", "bees dance at home", 3.5),
]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), min_size=2, max_size=30))
def test_ties_are_ranked_as_scipy_ranks_them(values: list[tuple[int, int]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    first, second = zip(*values, strict=True)
    assume(len(set(first)) > 1)
    assume(len(set(second)) > 1)
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)


def test_a_constant_has_no_correlation() -> None:
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))
    assert spearman([1, 2, 3], [-1, -5, -9]) == -1


def test_every_prefix_is_measured() -> None:
    encoder = HashingEncoder("hashed", dim=64)
    table = evaluate_pairs(encoder, PAIRS, name="tiny", dims=[16, 8])
    assert [row.dims for row in table.rows] == [64, 16, 8]
    for row in table.rows:
        first = encoder.encode([pair.first for pair in PAIRS], dim=row.dims)
        second = encoder.encode([pair.second for pair in PAIRS], dim=row.dims)
        cosines = (first * second).sum(axis=1).astype(np.float64).round(6)
        assert row.spearman == pytest.approx(spearman(cosines, [pair.score for pair in PAIRS]))
        assert row.kept == pytest.approx(row.spearman / table.rows[0].spearman)
    assert table.rows[0].spearman > 0.9
    assert json.loads(json.dumps(table.as_dict()))["rows"][0]["dims"] == 64


def test_what_cannot_be_measured_is_told() -> None:
    with pytest.raises(CorpusError, match="1 pairs"):
        evaluate_pairs(HashingEncoder(dim=8), PAIRS[:1])
    for dims in (0, 9):
        with pytest.raises(FunnelError, match="1 to 8 dimensions"):
            evaluate_pairs(HashingEncoder(dim=8), PAIRS, dims=[dims])


@pytest.mark.parametrize("header", ["", "sentence1\tsentence2\tscore\n"])
def test_tabs_are_read_with_and_without_a_header(tmp_path: Path, header: str) -> None:
    path = tmp_path / "pairs.tsv"
    lines = (f"{pair.first}\t{pair.second}\t{pair.score}\n" for pair in PAIRS)
    path.write_text("\ufeff" + header + "\n".join(lines), encoding="utf-8")
    assert read_pairs(path) == PAIRS


@pytest.mark.parametrize(
    "names", [("sentence1", "sentence2", "score"), ("text1", "text2", "score")]
)
def test_json_is_read_as_objects_and_as_lists(tmp_path: Path, names: tuple[str, ...]) -> None:
    rows = [(pair.first, pair.second, pair.score) for pair in PAIRS]
    records = [dict(zip(names, row, strict=True)) for row in rows[:2]]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, [*records, *rows[2:]])), encoding="utf-8")
    assert read_pairs(path) == PAIRS


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.tsv", "", "the file has no pairs"),
        ("p.tsv", "a\tb\tscore\n", "the file has no pairs"),
        ("p.tsv", "a\tb\t1\na\tb\n", "line 2: 2 fields"),
        ("p.tsv", "a\tb\t1\na\tb\thigh\n", "line 2: the score 'high' is not a number"),
        ("p.tsv", "a\tb\t1\na\tb\tinf\n", "line 2: the score 'inf' is not a number"),
        ("p.jsonl", "{", "line 1: not JSON"),
        ("p.jsonl", '{"a": 1}', "line 1: expected two texts and a score"),
        ("p.jsonl", '["a", "b"]', "line 1: expected two texts and a score"),
        ("p.jsonl", '["a", 2, 3]', "line 1: both texts must be strings"),
        ("p.jsonl", '["a", "b", null]', "line 1: the score None is not a number"),
    ],
)
def test_a_malformed_file_is_told(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(CorpusError, match=message):
        read_pairs(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="cannot read"):
        read_pairs(tmp_path / "absent.tsv")
