"""Where the rows and queries of a benchmark come from: generated, the user's arrays, or texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nestling.bench.generate import generate
from nestling.cli.encoders import open_encoder
from nestling.cli.vectors import read_vectors
from nestling.corpus import read_documents, read_lines
from nestling.errors import VectorError

__all__ = ["Rows", "encoded_rows", "generated_rows", "read_texts", "stored_rows"]


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
        kept, held_out = _split(len(rows), str(vectors), asked=asked, seed=seed)
        return Rows(
            np.ascontiguousarray(rows[kept], np.float32),
            np.ascontiguousarray(rows[held_out], np.float32),
            f"{vectors}, asked by {len(held_out):,} rows held out",
        )
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
    passages = read_texts(texts)[:limit]
    kept, held_out = _split(len(passages), str(texts), asked=asked, seed=seed)
    encoder = open_encoder(model)
    return Rows(
        encoder.encode([passages[i] for i in kept]),
        encoder.encode_queries([passages[i] for i in held_out]),
        f"{texts} by {encoder.name}, asked by {len(held_out):,} texts held out",
    )


def read_texts(path: Path) -> list[str]:
    """Reads every line of a .txt file that is not blank, or the documents of any other corpus.

    Raises:
        CorpusError: The texts cannot be read.
    """
    if path.suffix == ".txt" and path.is_file():
        with path.open("rb") as stream:
            return [line for line in read_lines(stream, str(path)) if line.strip()]
    return [document.passage for document in read_documents(path)]


def _split(
    count: int, name: str, *, asked: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns which of `count` rows to index, and which to ask with: at most half of them."""
    asked = min(asked, count // 2)
    if asked == 0:
        raise VectorError(f"{name}: {count} rows; expected at least 2, one of them to ask with")
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[asked:]), order[:asked]
