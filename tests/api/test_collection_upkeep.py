"""Facts about collections, and their upkeep."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hashing_encoder import HashingEncoder

from nestling import (
    Collection,
    EncoderMismatchError,
    FormatError,
    MetadataError,
    TruncationWarning,
    VectorError,
)
from nestling.bench.generate import generate
from nestling.collection import Passages, check, repair
from nestling.collection.upkeep.transfer import is_export

TEXTS = ["whales sing in the sea", "bees dance in the hive", "القاهرة عاصمة مصر"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Collection(tmp_path / "c", HashingEncoder(), fields=["year"]) as collection:
        collection.add(TEXTS, ids=["w", "b", "c"], metadata=[{"year": 2020}, None, None])
    return tmp_path / "c"


def test_an_add_counts_the_passages_that_were_truncated(tmp_path: Path) -> None:
    with Collection(tmp_path / "c", HashingEncoder(), passages=None) as collection:
        with pytest.warns(TruncationWarning):
            done = collection.add(["word " * 2000, "word", "other " * 3000])
        assert (done.passages, done.truncated) == (3, 2)
        assert collection.add(["word " * 2000]).truncated == 0


def test_info_reports_contents_and_size(folder: Path) -> None:
    with Collection(folder, HashingEncoder()) as collection:
        before = collection.info()
        assert (before.documents, before.passages, before.segments, before.pending) == (3, 3, 0, 3)
        assert (before.dim, before.metric, before.fields) == (256, "cosine", ("year",))
        assert before.encoder == collection.encoder
        assert before.split == Passages()
        assert sum(before.memory.values()) > 3 * 256
        collection.compact()
        collection.delete("w")
        after = collection.info()
        assert (after.documents, after.passages, after.segments) == (2, 2, 1)
        assert (after.pending, after.removed) == (0, 1)
        files = [*folder.glob("collection.db"), *folder.glob("*-wal"), *folder.glob("segments/*")]
        assert after.disk == sum(path.stat().st_size for path in files)


def test_an_explanation_counts_the_segments_that_have_rows(folder: Path) -> None:
    with Collection(folder, HashingEncoder()) as collection:
        for step, segments in ((None, 1), (collection.compact, 1), ("more", 2)):
            if step == "more":
                collection.add("a text that is pending")
            elif callable(step):
                step()
            explanation = collection.search("whales", explain=True).explanation
            assert explanation is not None
            assert explanation.segments == segments
            assert f"{segments} segment{'s' * (segments > 1)};" in str(explanation)


def test_a_collection_is_tuned_with_texts_or_embeddings(tmp_path: Path) -> None:
    rows, queries = generate(3000, 32, queries=200)
    with Collection(tmp_path / "c", dim=32, funnel="8@4:10 > 32@16") as collection:
        collection.add([str(i) for i in range(len(rows))], vectors=rows)
        report = collection.tune(0.9, queries=queries, budget_seconds=0.5, verbose=False)
        assert str(collection.funnel) == str(report.chosen.funnel) != "8@4:10 > 32@16"
        with pytest.raises(VectorError, match=r"queries have shape"):
            collection.tune(queries=queries[:, :16])
        with pytest.raises(VectorError, match="has no encoder"):
            collection.tune(queries=["whales"])


def test_a_collection_without_its_segments_is_checked_and_repaired(folder: Path) -> None:
    with Collection(folder, HashingEncoder()) as collection:
        collection.compact()
        found = [hit.id for hit in collection.search("whales sing")]
    shutil.rmtree(folder / "segments")
    assert any("segment is missing" in problem for problem in check(folder).problems)
    with pytest.raises(FormatError, match="segment is missing"):
        Collection(folder, HashingEncoder())
    assert len(repair(folder, encoder=HashingEncoder())) == 1
    with Collection(folder, HashingEncoder()) as collection:
        assert collection.check().ok
        assert [hit.id for hit in collection.search("whales sing")] == found


def test_a_model_folder_is_found_again_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nestling.encoder.Encoder", HashingEncoder)
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    with Collection("c", "model") as collection:
        assert collection.encoder is not None
        assert collection.encoder.name == str(tmp_path / "model")
    monkeypatch.chdir("/")
    with Collection(tmp_path / "c", tmp_path / "model") as collection:
        collection.add(TEXTS)
    with pytest.raises(EncoderMismatchError, match="not 'minilm'"):
        Collection(tmp_path / "c", "minilm")


@pytest.mark.parametrize("vectors", [True, False])
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_an_exported_file_is_distinguished_from_a_corpus(
    folder: Path, tmp_path: Path, suffix: str, vectors: bool
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"out{suffix}"
    with Collection(folder, HashingEncoder()) as collection:
        assert collection.export(path, vectors=vectors) == 3
    assert is_export(path)
    corpus = tmp_path / f"corpus{suffix}"
    corpus.write_text('{"id": "1", "text": "t", "title": "", "metadata": {}}')
    assert not is_export(corpus)
    assert not is_export(tmp_path / f"absent{suffix}")
    assert not is_export(tmp_path)


@pytest.mark.parametrize(
    "metadata",
    [{"n": 2**70}, {"n": float("nan")}, {1: 2}, {"n": "\0"}, {"n": {1}}, {"n": "\ud800"}, [1]],
)
def test_metadata_that_filters_cannot_compare_is_refused(folder: Path, metadata: Any) -> None:
    with Collection(folder, HashingEncoder()) as collection:
        with pytest.raises(MetadataError, match=r"documents\[1\]: metadata"):
            collection.add([{"text": "a"}, {"text": "b", "metadata": metadata}])
        assert len(collection) == 3


def test_metadata_of_numpy_is_stored_as_plain_json(folder: Path) -> None:
    with Collection(folder, HashingEncoder()) as collection:
        collection.add("a", "a", {"year": np.int64(2020), "tags": ("x",)})
        document = collection.get("a")
        assert document is not None
        assert document.metadata == {"year": 2020, "tags": ["x"]}


@pytest.mark.parametrize(("pace", "largest"), [((1e6, 1e6), 4096), ((0.0, 0.0), 64)])
def test_a_slow_encoder_gets_few_texts_per_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pace: tuple[float, float], largest: int
) -> None:
    sizes: list[int] = []

    class Counting(HashingEncoder):
        def encode(self, texts: Sequence[str], **options: Any) -> Any:
            sizes.append(len(texts))
            return super().encode(texts, **options)

    monkeypatch.setattr("nestling.collection.ingestor._CHUNK_SECONDS", pace)
    monkeypatch.setattr("nestling.collection.ingestor._MAX_COMMIT_SECONDS", 1e6)
    with Collection(tmp_path / "c", Counting()) as collection:
        collection.add(f"text {i}" for i in range(9000))
    assert sizes[0] == 64
    assert max(sizes) == largest
    assert sum(sizes) == 9000
