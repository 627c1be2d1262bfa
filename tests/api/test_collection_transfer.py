"""Exports and imports: documents, passages, vectors, and the encoder that made them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nestling import Collection, CorpusError, EncoderMismatchError
from nestling.collection import Passages
from nestling.errors import ArgumentError


class Letters:
    """An encoder that counts letters, and texts."""

    name = "letters"
    dim = 32

    def __init__(self, fingerprint: str = "0123456789abcdef") -> None:
        self.fingerprint = fingerprint
        self.encoded = 0

    def encode(self, texts: list[str]) -> np.ndarray:
        self.encoded += len(texts)
        vectors = np.full((len(texts), self.dim), 0.01, np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            for letter in text:
                vector[ord(letter) % self.dim] += 1
        return vectors

    encode_queries = encode


TEXTS = ["The Nile flows through Cairo. Cairo is old. The river is long.", "القاهرة عاصمة مصر."]


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    made = Collection(tmp_path / "a", Letters(), passages=Passages(size=30, overlap=0))
    made.add(TEXTS, ["nile", "قاهرة"], [{"year": 1, "tags": ["a", None]}, {}])
    made.add({"id": "titled", "title": "A title", "text": "Bread."})
    return made


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_an_export_is_imported_whole_without_encoding(
    collection: Collection, tmp_path: Path, suffix: str
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    assert collection.export(tmp_path / f"out{suffix}") == 3
    encoder = Letters()
    with Collection(tmp_path / "b", encoder, passages=Passages(size=30, overlap=0)) as other:
        encoder.encoded = 0
        assert other.import_file(tmp_path / f"out{suffix}").added == 3
        assert encoder.encoded == 0
        assert list(other) == list(collection)
        question = "which city is old?"
        (mine, theirs) = (c.search(question, include=["vector"]) for c in (collection, other))
        assert [hit.id for hit in theirs] == [hit.id for hit in mine]
        for hit, expected in zip(theirs, mine, strict=True):
            np.testing.assert_allclose(hit.vector, expected.vector, atol=1e-3)  # float16 as stored
        assert other.check().ok
    collection.close()


def test_vectors_of_another_encoder_are_refused(collection: Collection, tmp_path: Path) -> None:
    collection.export(tmp_path / "out.jsonl")
    collection.export(tmp_path / "bare.jsonl", vectors=False, where={"year": 1})
    collection.close()
    with Collection(tmp_path / "b", Letters("another")) as other:
        with pytest.raises(EncoderMismatchError, match=r"documents\[0\].*--no-vectors"):
            other.import_file(tmp_path / "out.jsonl")
        assert len(other) == 0
        assert other.import_file(tmp_path / "bare.jsonl").added == 1
    with Collection(tmp_path / "c", dim=32) as bare:
        assert bare.import_file(tmp_path / "out.jsonl").added == 3


def test_a_line_that_is_not_a_document_raises_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": "a", "vectors": [1.0] * 4}) + "\n[1]\n")
    with Collection(tmp_path / "c", dim=4) as collection:
        with pytest.raises(CorpusError, match="line 2"):
            collection.import_file(tmp_path / "in.jsonl")
        with pytest.raises(ArgumentError, match=r"\.jsonl or \.parquet"):
            collection.import_file(tmp_path / "in.csv")
