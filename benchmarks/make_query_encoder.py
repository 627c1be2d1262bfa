"""Makes a query encoder that comes with nestling: a .npz of `nestling.models.query_encoders`.

    python benchmarks/make_query_encoder.py minilm --texts english.jsonl --held-out pairs.jsonl \
        --cache made --out python/nestling/models/query_encoders/minilm-fast.npz

Texts are JSON strings, one a line, and are learnt from as they are: questions, sentences,
definitions, headings. Tokens have rows, the most frequent ones first, in these texts and in those
that are only counted; those of no text learnt from keep what they begin with, and other tokens have
none: they add nothing to a sum. Held-out pairs, {"query": …, "text": …} a line, decide the margin
of a search below which the model itself is asked.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nestling
from nestling.models.query_encoders import pack_rows, unpack_rows
from nestling.runtime.modules import normalise
from nestling.training import QueryEncoderSettings
from nestling.training.query_encoder.held_out import measure
from nestling.training.query_encoder.rows import Bags, RowFitter
from nestling.training.query_encoder.vocabulary import Vocabulary, encode_tokens, tokenizer_of

STRETCH = 1.5  # as `nestling.training.query_encoder.train`
NONE = np.zeros(1, np.int64)  # the row of a text without a token

Floats = NDArray[np.float32]


def main() -> None:
    options = parse()
    encoder = nestling.Encoder(options.model)
    texts = [line for path in options.texts for line in read(path)]
    texts = list(dict.fromkeys(text.strip() for text in texts if text.strip()))
    options.cache.mkdir(exist_ok=True)
    targets = cached(options.cache / "texts.npy", lambda: encoder.encode_queries(texts))
    tokenizer = tokenizer_of(encoder)
    ids, _ = tokenizer.encode(texts)
    counted, _ = tokenizer.encode([line for path in options.counted for line in read(path)])
    vocabulary = choose(ids, counted, tokenizer.vocabulary_size, options.tokens, options.pairs)
    tokens = vocabulary.tokens.tolist()
    single = cached(options.cache / "tokens.npy", lambda: encode_tokens(encoder, tokens))
    start = np.zeros((vocabulary.rows, encoder.dim), np.float32)
    start[1 : 1 + len(single)] = normalise(single - single.mean(axis=0))
    bags = Bags.of([row if len(row) else NONE for row in vocabulary.rows_of(ids, texts)])
    mean = targets.mean(axis=0)
    differences = targets - mean
    offset = mean / (STRETCH * np.linalg.norm(differences, axis=1).mean())
    settings = QueryEncoderSettings(
        epochs=options.epochs, batch_size=512, pairs=len(vocabulary.pairs), grams=0
    ).resolve(encoder.dim)
    often = np.bincount(bags.tokens, minlength=len(start))
    fitter = RowFitter(start, often, settings, offset, vocabulary.extra)
    rng = np.random.default_rng(settings.seed)
    for epoch in range(settings.epochs):
        print(f"epoch {epoch}: loss {fitter.epoch(bags, differences, rng):.4f}", flush=True)
    codes, scales = pack_rows(fitter.rows[1:])
    rows = np.concatenate([start[:1], unpack_rows(codes, scales)])

    def fast(queries: list[str]) -> Floats:
        found, _ = tokenizer.encode(queries)
        bag = Bags.of([row if len(row) else NONE for row in vocabulary.rows_of(found, queries)])
        sums = np.add.reduceat(rows[bag.tokens], bag.starts[:-1], axis=0)
        return normalise(normalise(sums) + offset)

    pairs = [json.loads(line) for line in options.held_out.read_text("utf-8").splitlines()]
    queries = [pair["query"] for pair in pairs]
    answers = list(dict.fromkeys(pair["text"] for pair in pairs))
    place = {text: number for number, text in enumerate(answers)}
    quality = measure(
        fast(queries),
        cached(options.cache / "queries.npy", lambda: encoder.encode_queries(queries)),
        cached(options.cache / "answers.npy", lambda: encoder.encode(answers)),
        np.array([place[pair["text"]] for pair in pairs]),
    )
    print(
        f"{len(texts):,} texts, {len(tokens):,} tokens, {len(vocabulary.pairs):,} pairs\n{quality}"
    )
    np.savez_compressed(
        options.out,
        codes=codes,
        scales=scales,
        tokens=vocabulary.tokens.astype(np.int32),
        pairs=vocabulary.pairs,
        vocabulary=np.int32(len(vocabulary.index)),
        offset=offset.astype(np.float32),
        refine_below=np.float64(quality.refine_below),
    )


def parse() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--counted", type=Path, nargs="*", default=[])
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=30_522)
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def read(path: Path) -> list[str]:
    """Returns the strings of a file that has one a line, as JSON."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def cached(path: Path, make: Callable[[], Floats]) -> Floats:
    if not path.exists():
        np.save(path, make())
    found: Floats = np.load(path).astype(np.float32)
    return found


def choose(
    ids: list[NDArray[np.int64]],
    counted: list[NDArray[np.int64]],
    size: int,
    tokens: int,
    pairs: int,
) -> Vocabulary:
    """Returns the most frequent tokens of all texts, and the pairs of those learnt from."""
    learnt = Vocabulary.of(ids, size, 1, pairs)
    frequent = Vocabulary.of([*ids, *counted], size, tokens)
    return Vocabulary(frequent.tokens, frequent.index, learnt.pairs)


if __name__ == "__main__":
    main()
