"""Measures what the pictures of the concepts show, and writes it to figures.json beside this file.

    python docs/pictures/measure.py && python docs/pictures/draw.py

The rows are those of `nestling.bench.generate`, so that anybody gets the same figures: recalls and
counts of rows depend neither on the machine nor on its load, and no time is measured. It takes
about three minutes on two cores.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import nestling
from nestling.bench.generate import generate
from nestling.index.exact import exact_top, recall

FIGURES: Final = Path(__file__).with_name("figures.json")

ROWS, DIM, QUERIES, K = 200_000, 256, 500, 10
PREFIXES: Final = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
OFFSETS: Final = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
PROBES: Final = (4, 8, 16, 32, 64, 128, 256)
MARGIN: Final = "64@4:2000~1.3"

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


def main() -> None:
    """Measures everything."""
    rows, queries = generate(ROWS, DIM, queries=QUERIES)
    truth = exact_top([rows], queries, K).rows
    figures: dict[str, Any] = {
        "rows": ROWS,
        "dim": DIM,
        "queries": QUERIES,
        "k": K,
        "prefixes": prefixes(rows, queries, truth),
        "rotation": rotation(rows, queries, truth),
        "centring": centring(rows, queries),
        "margin": margin(rows, queries, truth),
        "cells": cells(rows, queries, truth),
        "stages": stages(rows, queries, truth),
    }
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def prefixes(rows: Floats, queries: Floats, truth: Ids) -> dict[str, Any]:
    """The share of the true top 10 among the best 10, 100 and 1,000 rows by an exact prefix."""
    found: dict[str, list[float]] = {"10": [], "100": [], "1000": []}
    for length in PREFIXES:
        index = nestling.Index(length, funnel=f"{length}@32")
        index.add(rows[:, :length])
        ids = index.search(queries[:, :length], k=1000).ids
        for keep, shares in found.items():
            shares.append(round(recall(ids[:, : int(keep)], truth), 4))
    return {"dims": PREFIXES, "found": found}


def rotation(rows: Floats, queries: Floats, truth: Ids) -> dict[str, Any]:
    """The same among the best 100, for rows that do not nest, before and after a rotation.

    A random rotation of the rows leaves every inner product as it is and spreads what each
    dimension carries evenly, as a model does that was not trained for prefixes.
    """
    mixed = np.linalg.qr(np.random.default_rng(1).standard_normal((DIM, DIM)))[0].astype(np.float32)
    turned, asked = rows @ mixed, queries @ mixed
    before, after = [], []
    for length in PREFIXES[:-1]:
        index = nestling.Index(DIM, funnel=f"{length}@32:1000 > {DIM}@32")
        index.add(turned)
        before.append(_first_stage(index, asked, truth, 100))
        index.rebuild(rotate=True)
        after.append(_first_stage(index, asked, truth, 100))
    return {"dims": PREFIXES[:-1], "before": before, "after": after}


def centring(rows: Floats, queries: Floats) -> dict[str, Any]:
    """The share of the true top 10 among the best 100 by 1 bit, as rows crowd about a mean.

    To every row and query the same vector is added, of a length relative to theirs.
    """
    towards = np.random.default_rng(2).standard_normal(DIM).astype(np.float32)
    towards /= np.linalg.norm(towards)
    crowding, plain, centred = [], [], []
    for offset in OFFSETS:
        moved = rows + np.float32(offset) * towards
        asked = queries + np.float32(offset) * towards
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        crowding.append(round(float(np.linalg.norm(moved.mean(axis=0)) ** 2), 4))
        truth = exact_top([moved], asked, K).rows
        index = nestling.Index(DIM, funnel=f"{DIM}@1:1000 > {DIM}@16")
        index.add(moved)
        plain.append(_first_stage(index, asked, truth, 100))
        index.rebuild(centre=True)
        centred.append(_first_stage(index, asked, truth, 100))
    return {"mean_cosine": crowding, "plain": plain, "centred": centred}


def margin(rows: Floats, queries: Floats, truth: Ids) -> dict[str, Any]:
    """How many rows a margin keeps of each query, and what a fixed number of rows would find."""
    index = nestling.Index(DIM, funnel=f"{MARGIN} > {DIM}@16")
    index.add(rows)
    kept = [index.search(query, k=K).stages[0].rows_kept for query in queries]
    mean = round(float(np.mean(kept)))
    first = MARGIN.split(":")[0]
    return {
        "stage": MARGIN,
        "kept": sorted(kept),
        "recall": round(recall(index.search(queries, k=K).ids, truth), 4),
        "fixed": mean,
        "fixed_recall": _searched(index, queries, truth, f"{first}:{mean} > {DIM}@16"),
    }


def cells(rows: Floats, queries: Floats, truth: Ids) -> dict[str, Any]:
    """Recall against the share of rows scored, with and without a second cell for each row."""
    count = round(4 * ROWS**0.5)
    found: dict[str, Any] = {"count": count}
    for name, spill in (("one", False), ("two", True)):
        index = nestling.Index(DIM, funnel=f"128@4:200 > {DIM}@16")
        index.add(rows)
        index.rebuild(cells=nestling.Cells(count, spill=spill))
        points = []
        for probes in PROBES:
            hits = index.search(queries, k=K, probes=probes)
            scored = hits.stages[0].rows_seen / QUERIES / ROWS
            points.append([probes, round(scored, 5), round(recall(hits.ids, truth), 4)])
        found[name] = points
        if spill:
            hits = index.search(queries, k=K, probes=0)
            found["all_rows"] = round(recall(hits.ids, truth), 4)
    return found


def stages(rows: Floats, queries: Floats, truth: Ids) -> dict[str, Any]:
    """What each stage of the default funnel reads, and what an exact search reads."""
    index = nestling.Index(DIM)
    index.add(rows)
    hits = index.search(queries, k=K)
    return {
        "funnel": str(index.funnel),
        "recall": round(recall(hits.ids, truth), 4),
        "rows_seen": [stage.rows_seen // QUERIES for stage in hits.stages],
        "rows_kept": [stage.rows_kept // QUERIES for stage in hits.stages],
        "bytes_read": [stage.bytes_read // QUERIES for stage in hits.stages],
        "exact_bytes": ROWS * DIM * 4,
    }


def _first_stage(index: nestling.Index, queries: Floats, truth: Ids, keep: int) -> float:
    stage = index.funnel.stages[0]
    ids = index.search(queries, k=keep, funnel=f"{stage.dims}@{stage.bits}").ids
    return round(recall(ids, truth), 4)


def _searched(index: nestling.Index, queries: Floats, truth: Ids, funnel: str) -> float:
    return round(recall(index.search(queries, k=K, funnel=funnel).ids, truth), 4)


if __name__ == "__main__":
    main()
