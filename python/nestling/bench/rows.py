"""Where the rows and queries of a benchmark come from: generated, the user's arrays, or texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestling.bench.generate import generate
from nestling.cli.building import open_encoder, read_vectors
from nestling.corpus import read_documents, read_lines
from nestling.errors import VectorError

__all__ = ["Rows", "encoded_rows", "generated_rows", "stored_rows"]


@dataclass(frozen=True, slots=True)
class Rows:
    """What is indexed and asked.

    Attributes:
        vectors: (n, dim) float32.
        queries: (m, dim) float32.
        origin: What they are, in words.
        generated: Whether they were made by `nestling.bench.generate`.
    """

    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    origin: str
    generated: bool = False


def generated_rows(rows: int, dim: int, *, queries: int, seed: int) -> Rows:
    """Makes rows; see `nestling.bench.generate`."""
    vectors, asked = generate(rows, dim, queries=queries, seed=seed)
    origin = f"generated, seed {seed}: topics and a power-law spectrum, no real texts"
    return Rows(vectors, asked, origin, generated=True)


def stored_rows(
    vectors: Path, queries: Path | None, *, limit: int | None, asked: int, seed: int
) -> Rows:
    """Reads the rows of .npy files: at most `limit` rows, and `asked` queries.

    Without a file of queries, some of the rows, chosen by `seed`, are taken out to ask with.

    Raises:
        VectorError: A file is missing or holds no rows of floats, the two differ in dimensions, or
            there are too few rows.
    """
    rows = read_vectors(vectors)[:limit]
    if queries is None:
        return _held_out(rows.astype(np.float32), str(vectors), asked=asked, seed=seed)
    questions = read_vectors(queries)[:asked]
    if questions.shape[1] != rows.shape[1]:
        raise VectorError(
            f"{queries} has {questions.shape[1]} dimensions, but {vectors} has {rows.shape[1]}"
        )
    return Rows(
        np.ascontiguousarray(rows, np.float32),
        np.ascontiguousarray(questions, np.float32),
        f"{vectors}, asked by {queries}",
    )


def encoded_rows(texts: Path, model: str, *, limit: int | None, asked: int, seed: int) -> Rows:
    """Encodes a corpus: every line of a .txt file, or the documents of any other form.

    Some of the texts, chosen by `seed`, are taken out to ask with.

    Raises:
        CorpusError: The texts cannot be read.
        ModelError: There is no such model.
        VectorError: There are too few texts.
    """
    if texts.suffix == ".txt" and texts.is_file():
        with texts.open("rb") as stream:
            passages = [line for line in read_lines(stream, str(texts)) if line.strip()]
    else:
        passages = [document.passage for document in read_documents(texts)]
    vectors = open_encoder(model).encode(passages[:limit])
    return _held_out(vectors, f"{texts}, encoded by {model}", asked=asked, seed=seed)


def _held_out(vectors: NDArray[np.float32], origin: str, *, asked: int, seed: int) -> Rows:
    asked = min(asked, len(vectors) // 2)
    if asked == 0:
        raise VectorError(f"{origin}: {len(vectors)} rows; expected at least 2, one to ask with")
    chosen = np.random.default_rng(seed).permutation(len(vectors))[:asked]
    kept = np.ones(len(vectors), bool)
    kept[chosen] = False
    return Rows(vectors[kept], vectors[chosen], f"{origin}, asked by {asked:,} held out of them")
