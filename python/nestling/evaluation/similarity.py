"""Semantic similarity: whether the cosines of pairs of texts order them as people do.

Measured as in the STS tasks of SemEval and MTEB, by Spearman's correlation of the cosines with the
scores that people gave. Equal values get the mean of their ranks, as in scipy.stats.spearmanr;
home-made in six lines of numpy, because scipy would be a dependency of 140 MB (installed).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling._util.value import Value
from nestling.corpus import read_lines
from nestling.errors import CorpusError, FunnelError
from nestling.evaluation.systems import default_dims
from nestling.runtime.text_encoder import TextEncoder, encoder_name

__all__ = ["Pair", "PairsRow", "PairsTable", "evaluate_pairs", "read_pairs", "spearman"]

_FIELDS: Final = (("sentence1", "sentence2", "score"), ("text1", "text2", "score"))
_FORM: Final = "two texts and a score"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Pair(Value):
    """Two texts and how similar people find them.

    Attributes:
        first: A text.
        second: Another text.
        score: Their similarity, on any scale: the higher, the more similar.

    Example:
        >>> Pair("a dog", "a puppy", 4.2).score
        4.2
    """

    first: str
    second: str
    score: float


@dataclass(frozen=True, slots=True)
class PairsRow:
    """How a prefix orders the pairs.

    Attributes:
        dims: Length of the prefix.
        spearman: Rank correlation of its cosines with the scores.
        kept: Share of the whole embedding's correlation; None if that is 0 or undefined.

    Example:
        >>> PairsRow(dims=64, spearman=0.72, kept=0.9).dims
        64
    """

    dims: int
    spearman: float
    kept: float | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PairsTable(Value):
    """The result of `evaluate_pairs`.

    Attributes:
        dataset: Name of the pairs.
        model: Name of the encoder.
        pairs: Number of pairs.
        rows: One row per prefix; the first is the whole embedding.

    Example:
        >>> PairsTable("sts", "minilm", 2, (PairsRow(384, 0.8, 1.0),)).as_dict()["pairs"]
        2
    """

    dataset: str
    model: str
    pairs: int
    rows: tuple[PairsRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, ready for JSON.

        Example:
            >>> PairsTable("sts", "minilm", 2, (PairsRow(384, 0.8, 1.0),)).as_dict()["rows"]
            [{'dims': 384, 'spearman': 0.8, 'kept': 1.0}]
        """
        return {**asdict(self), "rows": [asdict(row) for row in self.rows]}


def evaluate_pairs(
    encoder: TextEncoder,
    pairs: Sequence[Pair],
    *,
    name: str = "pairs",
    dims: Iterable[int] | None = None,
) -> PairsTable:
    """Measures how well the prefixes of an encoder order scored pairs.

    Both texts are encoded as queries, as models with two prompts, such as e5, recommend for
    symmetric tasks.

    Args:
        encoder: Its `encode_queries` is called.
        pairs: At least two.
        name: Their name in the table.
        dims: Prefix lengths. Default: those that the encoder was trained for, or halves.

    Raises:
        CorpusError: There are fewer than two pairs.
        FunnelError: A prefix is longer than the embeddings.

    Example:
        >>> class Lengths:
        ...     dim = 2
        ...     def encode_queries(self, texts):
        ...         return np.array([[len(text), 1] for text in texts], np.float32)
        >>> pairs = [Pair("ab", "abc", 5.0), Pair("a", "abcdefgh", 1.0)]
        >>> evaluate_pairs(Lengths(), pairs, dims=[2]).rows
        (PairsRow(dims=2, spearman=1.0, kept=1.0),)
    """
    chosen = set(
        default_dims(encoder.dim, getattr(encoder, "nesting", ())) if dims is None else dims
    )
    for length in chosen:
        if not 1 <= length <= encoder.dim:
            raise FunnelError(f"a prefix has 1 to {encoder.dim} dimensions, not {length}")
    if len(pairs) < 2:
        raise CorpusError(f"{name}: {len(pairs)} pairs; expected at least two")
    scores = np.array([pair.score for pair in pairs])
    # One call, so that equal texts on both sides get one vector and the progress bar covers all.
    texts = [pair.first for pair in pairs] + [pair.second for pair in pairs]
    first, second = np.split(encoder.encode_queries(texts), 2)
    found = {
        length: spearman(_cosines(first[:, :length], second[:, :length]), scores)
        for length in sorted(chosen | {encoder.dim}, reverse=True)
    }
    full = found[encoder.dim]
    rows = tuple(
        PairsRow(length, value, value / full if full and not math.isnan(full) else None)
        for length, value in found.items()
    )
    return PairsTable(name, encoder_name(encoder), len(pairs), rows)


def read_pairs(path: str | os.PathLike[str]) -> list[Pair]:
    r"""Reads scored pairs.

    A .jsonl file has a line per pair: `{"sentence1": "…", "sentence2": "…", "score": 4.2}`, the
    same with `text1` and `text2`, or `["…", "…", 4.2]`. Any other file has `text`, `text`, `score`
    between tabs; a first line whose last field has no digit is a header.

    Raises:
        CorpusError: The file cannot be read or has no pair, or a line is malformed.

    Example:
        >>> with open("sts.tsv", "w") as file:
        ...     print("a dog", "a puppy", 4.2, sep="\t", file=file)
        >>> read_pairs("sts.tsv")
        [Pair(first='a dog', second='a puppy', score=4.2)]
    """
    source = Path(path)
    read = _read_json if source.suffix.lower() in (".jsonl", ".ndjson") else _read_tabs
    pairs = []
    try:
        with source.open("rb") as stream:
            for number, line in enumerate(read_lines(stream, str(source)), 1):
                if line.strip():
                    pair = read(line, f"{source}, line {number}", first=number == 1)
                    pairs += [pair] if pair else []
    except OSError as error:
        raise CorpusError(f"{source}: cannot read: {error.strerror}") from error
    if not pairs:
        raise CorpusError(f"{source}: the file has no pairs; expected {_FORM} per line")
    return pairs


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Returns Spearman's rank correlation of two lists of numbers; NaN if one is constant.

    Example:
        >>> spearman([1, 2, 3, 4], [10, 20, 20, 40])
        0.9486832980505138
    """
    a, b = (_ranks(np.asarray(x, np.float64)) for x in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale else math.nan


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: NDArray[np.float64] = (last - (counts - 1) / 2)[groups]
    return mean


def _cosines(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = first.astype(np.float64), second.astype(np.float64)
    scale = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: NDArray[np.float64] = np.einsum("ij,ij->i", a, b) / np.where(scale > 0, scale, 1)
    return cosines


def _read_tabs(line: str, where: str, *, first: bool) -> Pair | None:
    fields = line.split("\t")
    if first and len(fields) == 3 and not any(map(str.isdigit, fields[2])):
        return None
    if len(fields) != 3:
        raise CorpusError(f"{where}: {len(fields)} fields; expected {_FORM} between tabs")
    return _pair(fields, where)


def _read_json(line: str, where: str, *, first: bool) -> Pair:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{where}: not JSON: {error}") from error
    if isinstance(record, Mapping):
        names = next((names for names in _FIELDS if all(n in record for n in names)), None)
        record = None if names is None else [record[name] for name in names]
    if not isinstance(record, list) or len(record) != 3:
        raise CorpusError(f"{where}: expected {_FORM}: sentence1, sentence2 and score")
    return _pair(record, where)


def _pair(fields: Sequence[Any], where: str) -> Pair:
    first, second, given = fields
    if not isinstance(first, str) or not isinstance(second, str):
        raise CorpusError(f"{where}: both texts must be strings")
    try:
        score = float(given)
    except (TypeError, ValueError):
        score = math.nan
    if not math.isfinite(score):
        raise CorpusError(f"{where}: the score {given!r} is not a number")
    return Pair(first, second, score)
