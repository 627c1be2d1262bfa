"""Training of a query encoder, from a frozen encoder and texts to a folder that `Encoder` reads."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling._util.progress import ProgressBar
from nestling.errors import ArgumentError, CorpusError, ModelError
from nestling.inputs.vectors import matrix
from nestling.runtime.folder import Teacher
from nestling.runtime.modules import normalise
from nestling.runtime.query_encoder_folder import write_query_encoder_settings
from nestling.runtime.token_rows import FILE as TOKEN_ROWS
from nestling.runtime.token_rows import save_token_rows
from nestling.training.checkpoints import RunFolder
from nestling.training.query_encoder.held_out import measure
from nestling.training.query_encoder.pieces import cut
from nestling.training.query_encoder.report import QueryEncoderReport
from nestling.training.query_encoder.rows import Bags, RowFitter
from nestling.training.query_encoder.settings import QueryEncoderSettings
from nestling.training.query_encoder.vocabulary import (
    Vocabulary,
    encode_tokens,
    frequent_grams,
    tokenizer_of,
)
from nestling.training.vectors import embed

if TYPE_CHECKING:
    from nestling.encoder import Encoder

__all__ = ["REPORT_FILE", "train_query_encoder"]

REPORT_FILE: Final = "query_encoder.json"
"""In the folder that is written: the report."""

_FEWEST: Final = 20  # texts: fewer say nothing about others
_MOST_SEARCHED: Final = 2_000  # texts that are encoded to be searched by the held-out pieces
_MOST_HELD_OUT: Final = 4_000  # pieces
_CHECKED: Final = 32  # pieces on which the written folder is compared
# What a sum of rows says beside the mean counts more than the teacher's own would: 1.4 to 2 times
# found more than 1 did for two models in two languages.
_STRETCH: Final = 1.5
_TINY: Final = 1e-6
_LEAST_COSINE: Final = 0.995  # of the written rows, in int8, to those that were trained

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Data:
    """What there is to learn from.

    Attributes:
        pieces: The pieces, then the caller's queries.
        sources: (pieces,) the text of each piece; -1 for a query.
        held_out: (pieces,) bool, those that are not trained on.
    """

    pieces: list[str]
    sources: Ids
    held_out: NDArray[np.bool_]


def train_query_encoder(
    encoder: Encoder,
    texts: Iterable[str],
    out: str | os.PathLike[str],
    settings: QueryEncoderSettings | None = None,
    *,
    queries: Iterable[str] = (),
    vectors: ArrayLike | None = None,
    force: bool = False,
    restart: bool = False,
    progress: bool | None = None,
) -> QueryEncoderReport:
    """Trains a small encoder to give a large one's embeddings of queries, in microseconds.

    Documents keep the embeddings that they have. The texts are cut into pieces like questions,
    which the encoder embeds once; what is learnt is a row for each token, for each frequent run
    of letters inside words and for each frequent pair of neighbours, whose sum comes near to that
    embedding. It needs no questions, no answers and no
    further package. Use the texts that will be searched: words that no text has are what a query
    encoder does not know.

    `Encoder` reads the folder `out`; `Collection(…, query_encoder=out)` and `Encoder.with_queries`
    use it. If the process is killed, the same call resumes with the embeddings that are in
    `OUT.training`, and ends with the same rows, bit for bit, on the same machine.

    Args:
        encoder: The encoder of the documents.
        texts: Texts that will be searched, or such as these. Copies count once.
        out: The folder to write.
        settings: What determines the rows; None for the defaults of `QueryEncoderSettings`.
        queries: Queries to learn from beside the pieces, such as those of a log.
        vectors: (n, dim) the encoder's embeddings of `texts`, if you have them.
        force: Whether to replace a query encoder that exists.
        restart: Whether to drop what an earlier training left.
        progress: Whether to show bars. None: when it takes long, on a terminal.

    Raises:
        CorpusError: There are too few texts, or pieces of them.
        ArgumentError: `encoder` is a query encoder itself.
        ModelError: The result does not give what was trained.
        VectorError: `vectors` do not fit, or a prefix is longer than the embedding.
        LockedError: Another process is training into the same folder.
        StorageError: `out` exists, another training has its embeddings there, or the system
            refuses to write.

    Example:
        >>> encoder = Encoder("minilm")  # doctest: +SKIP
        >>> report = train_query_encoder(encoder, texts, "fast")  # doctest: +SKIP
        >>> encoder.with_queries("fast").encode_queries("how do whales sing?")  # doctest: +SKIP
    """
    from nestling._util.atomic import new_folder, refuse_to_replace

    started = time.monotonic()
    target = Path(out)
    refuse_to_replace(
        target, force=force, is_our_output=lambda folder: (folder / REPORT_FILE).is_file()
    )
    if encoder.teacher is not None or encoder.queries is not None:
        raise ArgumentError(
            f"{encoder!r} encodes queries for another encoder: the teacher must be one of its own"
        )
    settings = (settings or QueryEncoderSettings()).resolve(encoder.dim)
    different, known = _different(texts, vectors, encoder.dim)
    extra = [query for query in dict.fromkeys(queries) if query.strip()]
    data = _data(different, extra, settings)
    identity = {
        **settings.as_dict(),
        "model": encoder.fingerprint,
        "texts": _digest(different),
        "queries": _digest(extra),
        "vectors": None if known is None else hashlib.sha256(known.tobytes()).hexdigest()[:16],
    }
    with RunFolder.open(
        target.with_name(f"{target.name}.training"), identity, restart=restart
    ) as run:
        # Named after what they are of, so that other vectors are never used instead.
        digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:8]
        folder = run.path / f"vectors-{digest}"
        folder.mkdir(exist_ok=True)
        targets = embed(folder, "pieces", data.pieces, encoder.encode_queries, progress=progress)
        held_out = np.flatnonzero(data.held_out)
        searched, encoded = _searched(encoder, different, known, data, folder, progress)
        pieces = int((~data.held_out).sum()) - len(extra)
        if encoder.query_prompt == encoder.document_prompt:  # so these are queries, too
            data, targets = _with_texts(data, targets, different, searched, encoded, settings)
        fitter, vocabulary, bags = _fit(encoder, data, targets, settings, folder, progress)
        fast = fitter.encode(bags.take(held_out))
        sources = np.searchsorted(searched, data.sources[held_out])
        quality = measure(fast, targets[held_out], encoded, sources)
        with new_folder(target) as staged:
            save_token_rows(
                staged / TOKEN_ROWS,
                fitter.rows,
                vocabulary.index_of_all,
                vocabulary.pairs,
                fitter.offset,
                vocabulary.grams,
            )
            write_query_encoder_settings(
                staged,
                target.name,
                replace(encoder.embedder.folder, nesting=encoder.nesting),
                encoder.path,
                Teacher(encoder.source, encoder.fingerprint),
                quality.refine_below,
            )
            some = np.arange(min(_CHECKED, len(data.pieces)))
            _check(staged, data.pieces[: len(some)], fitter.encode(bags.take(some)))
            report = QueryEncoderReport(
                model=encoder.name,
                fingerprint=encoder.fingerprint,
                out=str(target),
                texts=len(different),
                pieces=pieces,
                queries=len(extra),
                held_out=len(held_out),
                settings=settings.as_dict(),
                rows=len(vocabulary.tokens),
                grams=len(vocabulary.grams),
                pairs=len(vocabulary.pairs),
                size=(staged / TOKEN_ROWS).stat().st_size,
                seconds=round(time.monotonic() - started, 1),
                cosines=_cosines(fast, targets[held_out], settings.dims),
                metric="ndcg@10",
                teacher=quality.teacher,
                fast=quality.fast,
                refine_below=quality.refine_below,
                refined=quality.refined,
            )
            text = json.dumps(report.as_dict(), indent=2)
            (staged / REPORT_FILE).write_text(text + "\n", encoding="utf-8")
        run.remove()
    return report


def _different(
    texts: Iterable[str], vectors: ArrayLike | None, dim: int
) -> tuple[list[str], Floats | None]:
    """Returns the different texts that are not blank, and their vectors."""
    listed = list(texts)
    known = None if vectors is None else matrix(vectors, dim, "vectors")
    if known is not None and len(known) != len(listed):
        raise ArgumentError(f"{len(known)} vectors for {len(listed)} texts; give one per text")
    places: dict[str, int] = {}
    for place, text in enumerate(listed):
        if text.strip():
            places.setdefault(text, place)
    if len(places) < _FEWEST:
        raise CorpusError(
            f"{len(places)} different texts: a query encoder needs at least {_FEWEST}, and "
            "thousands are better"
        )
    return list(places), None if known is None else known[list(places.values())]


def _digest(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(json.dumps(text).encode())
    return digest.hexdigest()[:16]


def _data(texts: Sequence[str], queries: list[str], settings: QueryEncoderSettings) -> _Data:
    rng = np.random.default_rng(settings.seed)
    pieces, sources = cut(texts, settings.pieces, rng)
    cut_from = rng.permutation(np.unique(sources))
    held_out = np.isin(sources, cut_from[: min(settings.holdout, max(len(cut_from) // 20, 1))])
    if held_out.all():
        raise CorpusError(
            f"{len(texts)} texts give {len(pieces)} different pieces, of {len(cut_from)} texts: a "
            "query encoder learns from more; give other texts, or allow more pieces"
        )
    # The others of these texts are not used at all: they have the words of those that are measured.
    surplus = np.flatnonzero(held_out)[_MOST_HELD_OUT:]
    keep = np.ones(len(pieces), np.bool_)
    keep[surplus] = False
    known = set(pieces)
    added = [query for query in queries if query not in known]
    return _Data(
        [piece for piece, kept in zip(pieces, keep.tolist(), strict=True) if kept] + added,
        np.concatenate([sources[keep], np.full(len(added), -1)]),
        np.concatenate([held_out[keep], np.zeros(len(added), np.bool_)]),
    )


def _fit(
    encoder: Encoder,
    data: _Data,
    targets: Floats,
    settings: QueryEncoderSettings,
    folder: Path,
    progress: bool | None,
) -> tuple[RowFitter, Vocabulary, Bags]:
    """Trains the rows; returns them with the vocabulary, and all pieces as bags of its rows."""
    tokenizer = tokenizer_of(encoder)
    ids, _ = tokenizer.encode(data.pieces)
    trained = np.flatnonzero(~data.held_out)
    vocabulary = Vocabulary.of(
        [ids[i] for i in trained],
        tokenizer.vocabulary_size,
        settings.vocabulary,
        settings.pairs,
        frequent_grams([data.pieces[i] for i in trained], settings.grams),
    )

    def encode(tokens: Sequence[int], *, progress: bool) -> Floats:
        return encode_tokens(encoder, tokens)

    single = embed(folder, "tokens", vocabulary.tokens.tolist(), encode, progress=progress)
    single = normalise(single - single.mean(axis=0))
    start = np.zeros((vocabulary.rows, encoder.dim), np.float32)
    start[1 : 1 + len(single)] = single
    none = np.zeros(1, np.int64)  # a text without a token has the row that is zero
    bags = Bags.of([row if len(row) else none for row in vocabulary.rows_of(ids, data.pieces)])
    some = bags.take(trained)
    mean = targets[trained].mean(axis=0)
    differences = targets[trained] - mean
    length = np.linalg.norm(differences, axis=1).mean()
    offset = (mean / max(_STRETCH * length, _TINY)).astype(np.float32)
    counts = np.bincount(some.tokens, minlength=len(start))
    fitter = RowFitter(start, counts, settings, offset, vocabulary.extra)
    rng = np.random.default_rng(settings.seed)
    with ProgressBar("Training", total=settings.epochs, show=progress) as bar:
        for _ in range(settings.epochs):
            fitter.epoch(some, differences, rng)
            bar.advance()
    return fitter, vocabulary, bags


def _searched(
    encoder: Encoder,
    texts: Sequence[str],
    vectors: Floats | None,
    data: _Data,
    folder: Path,
    progress: bool | None,
) -> tuple[Ids, Floats]:
    """Returns the numbers of some texts in rising order, and their embeddings.

    The texts that the held-out pieces were cut from are among them.
    """
    if vectors is not None:
        return np.arange(len(texts)), vectors
    needed = np.unique(data.sources[data.held_out])
    others = np.setdiff1d(np.arange(len(texts)), needed)
    room = max(_MOST_SEARCHED - len(needed), 0)
    spaced = np.linspace(0, len(others) - 1, min(room, len(others))).astype(np.int64)
    chosen = np.sort(np.concatenate([needed, others[spaced]]))
    encoded = embed(folder, "texts", [texts[i] for i in chosen], encoder.encode, progress=progress)
    return chosen, encoded


def _with_texts(
    data: _Data,
    targets: Floats,
    texts: Sequence[str],
    searched: Ids,
    encoded: Floats,
    settings: QueryEncoderSettings,
) -> tuple[_Data, Floats]:
    """Adds whole texts to the pieces, at most one for ten: what is long is to be learnt, too."""
    usable = np.flatnonzero(~np.isin(searched, data.sources[data.held_out]))
    count = min(len(usable), settings.pieces // 10)
    usable = usable[np.linspace(0, len(usable) - 1, count).astype(np.int64)]
    chosen = searched[usable]
    return (
        _Data(
            data.pieces + [texts[i] for i in chosen.tolist()],
            np.concatenate([data.sources, chosen]),
            np.concatenate([data.held_out, np.zeros(len(chosen), np.bool_)]),
        ),
        np.concatenate([targets, encoded[usable]]),
    )


def _cosines(fast: Floats, exact: Floats, dims: Sequence[int]) -> dict[int, float]:
    return {
        dim: float((normalise(fast[:, :dim]) * normalise(exact[:, :dim])).sum(axis=1).mean())
        for dim in dims
    }


def _check(folder: Path, texts: list[str], expected: Floats) -> None:
    """Raises ModelError unless a folder gives embeddings near to the expected ones."""
    from nestling.encoder import Encoder

    found = Encoder(folder, threads=1).encode_queries(texts, progress=False)
    known = np.linalg.norm(expected, axis=1) > 0  # others have no token
    least = float((found * expected)[known].sum(axis=1).min(initial=1.0))
    if not least >= _LEAST_COSINE:
        raise ModelError(
            f"the query encoder that was written gives other embeddings than those that were "
            f"trained: a cosine of {least:.4f}, below {_LEAST_COSINE}"
        )
