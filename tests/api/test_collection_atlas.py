"""Maps for Embedding Atlas: places, neighbours and columns of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Run

from nestling import ArgumentError, Collection
from nestling.collection import Passages

pytest.importorskip("pyarrow")
import pyarrow.parquet

DIM = 8


def table(path: Path) -> Any:
    return pyarrow.parquet.read_table(path)


def vectors(n: int) -> np.ndarray:
    rows = np.random.default_rng(2).normal(size=(n, DIM)) * [9, 5, 1, 1, 1, 1, 1, 1]
    return np.asarray(rows, np.float32)


@pytest.fixture
def collection(tmp_path: Path) -> Any:
    with Collection(tmp_path / "c", dim=DIM) as made:
        metadata = [{"year": 2000 + i, "even": i % 2 == 0, "tags": ["a"]} for i in range(30)]
        made.add(
            [f"text {i}" for i in range(30)],
            [f"d{i}" for i in range(30)],
            metadata,
            vectors=vectors(30),
        )
        yield made


def test_neighbours_are_the_nearest_rows_of_the_file(collection: Any, tmp_path: Path) -> None:
    assert collection.export_atlas(tmp_path / "m.parquet", neighbours=4) == 30
    found = table(tmp_path / "m.parquet")
    assert found.column_names[:7] == ["id", "passage", "title", "text", "x", "y", "neighbors"]
    unit = vectors(30) / np.linalg.norm(vectors(30), axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    for row, near in enumerate(found["neighbors"].to_pylist()):
        assert set(near) == {"ids", "distances"}
        exact = np.argsort(-cosines[row])[:4]
        assert near["ids"] == exact.tolist()
        assert np.allclose(near["distances"], 1 - cosines[row][exact], atol=2e-3)


def test_places_are_the_two_axes_of_most_variance(collection: Any, tmp_path: Path) -> None:
    collection.export_atlas(tmp_path / "m.parquet")
    found = table(tmp_path / "m.parquet")
    places = np.stack([found["x"].to_numpy(), found["y"].to_numpy()], axis=1)
    unit = vectors(30) / np.linalg.norm(vectors(30), axis=1, keepdims=True)
    spread = np.linalg.svd(unit - unit.mean(axis=0), compute_uv=False)
    assert np.allclose(places.mean(axis=0), 0, atol=1e-3)
    assert np.allclose(np.linalg.norm(places, axis=0), spread[:2], rtol=1e-2)


def test_fields_of_one_type_have_columns(collection: Any, tmp_path: Path) -> None:
    collection.add(
        {"id": "x", "text": "odd", "metadata": {"x": 1, "year": 2.5}}, vectors=np.ones((1, DIM))
    )
    collection.export_atlas(tmp_path / "m.parquet", neighbours=0)
    found = table(tmp_path / "m.parquet")
    rows = {row["id"]: row for row in found.to_pylist()}
    assert rows["d3"]["year"] == 2003.0
    assert rows["d3"]["even"] is False
    assert rows["d3"]["metadata"] == '{"tags": ["a"]}'
    assert rows["x"]["metadata.x"] == 1
    assert rows["x"]["even"] is None
    assert rows["x"]["neighbors"]["ids"] == []


def test_each_passage_is_a_row(tmp_path: Path) -> None:
    from hashing_encoder import HashingEncoder

    encoder = HashingEncoder(dim=16)
    with Collection(tmp_path / "c", encoder, passages=Passages(size=20, overlap=0)) as made:
        made.add(["One sentence here. Another sentence there.", "نص قصير"], ["a", "ب"])
        count = made.export_atlas(tmp_path / "m.parquet", neighbours=1)
        found = table(tmp_path / "m.parquet").to_pylist()
        spans = {document.id: document.spans for document in made}
        texts = {document.id: document.text for document in made}
    assert count == len(found) == sum(map(len, spans.values())) > 2
    for row in found:
        start, end = spans[row["id"]][row["passage"]]
        assert row["text"] == texts[row["id"]][start:end]


def test_a_filter_chooses_rows_and_neighbours(collection: Any, tmp_path: Path) -> None:
    where = {"year": {"$lt": 2010}}
    assert collection.export_atlas(tmp_path / "m.parquet", where=where, neighbours=20) == 10
    for row in table(tmp_path / "m.parquet").to_pylist():
        assert sorted([*row["neighbors"]["ids"], int(row["id"][1:])]) == list(range(10))


def test_an_empty_collection_is_an_empty_file(tmp_path: Path) -> None:
    with Collection(tmp_path / "c", dim=DIM) as empty:
        assert empty.export_atlas(tmp_path / "m.parquet") == 0
    assert table(tmp_path / "m.parquet").num_rows == 0


def test_arguments(collection: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"\.parquet"):
        collection.export_atlas(tmp_path / "m.jsonl")
    with pytest.raises(ArgumentError, match="neighbours"):
        collection.export_atlas(tmp_path / "m.parquet", neighbours=-1)


def test_the_command_writes_a_map(run: Run, collection: Any, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    answer = run("export", collection.path, out, "--atlas", "--neighbours", 3, "--json").json
    assert answer["passages"] == 30
    assert len(table(out)["neighbors"][0].as_py()["ids"]) == 3
    assert run("export", collection.path, tmp_path / "m.jsonl", "--atlas").code == 2
