"""Makes the golden files of a new version of the format: `python tests/golden/make.py`.

Each case is an index file and, beside it, a JSON file with queries and the hits that are due. Files
that exist are never rewritten: every later version of nestling must still read them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from nestling import Index

FOLDER = Path(__file__).parent / "v1"

# name: metric, funnel, rows, whether ids are given
CASES: dict[str, tuple[str, str, int, bool]] = {
    "cosine-4-16-16": ("cosine", "10@4:30 > 20@16:20 > 33@16", 70, False),
    "cosine-8-8-32": ("cosine", "9@8:30 > 20@8:20 > 33@32", 70, True),
    "cosine-32": ("cosine", "17@32", 33, True),
    "cosine-4": ("cosine", "17@4", 33, False),
    "ip-8-16": ("ip", "10@8:30 > 33@16", 70, True),
    "ip-16-16-32": ("ip", "10@16:30 > 20@16:20 > 33@32", 70, False),
    "cosine-1-16": ("cosine", "33@1:30 > 33@16", 70, False),
    "ip-2-8": ("ip", "20@2:30 > 33@8", 70, True),
    "empty": ("cosine", "4@4:30 > 8@16", 0, False),
}


def make(name: str) -> None:
    metric, funnel, n, with_ids = CASES[name]
    dim = int(funnel.rsplit(">", maxsplit=1)[-1].split("@")[0])
    rng = np.random.default_rng(len(name))
    rows = (rng.standard_normal((n, dim)) / np.sqrt(np.arange(1, dim + 1))).astype(np.float32)
    if n:
        rows[5], rows[8, :10], rows[20:23] = 0, 0, rows[19]
    queries = rng.standard_normal((4, dim)).astype(np.float32)
    index = Index(dim, funnel=funnel, metric=metric)  # type: ignore[arg-type]
    index.add(rows, ids=rng.permutation(n) * 1_000_003 if with_ids else None)
    index.save(FOLDER / f"{name}.nest")
    hits = index.search(queries, k=12)
    expected = {
        "sha256": hashlib.sha256((FOLDER / f"{name}.nest").read_bytes()).hexdigest(),
        "dim": dim,
        "metric": metric,
        "funnel": funnel,
        "rows": n,
        "queries": queries.tolist(),
        "ids": hits.ids.tolist(),
        "scores": [[None if np.isnan(s) else float(s) for s in row] for row in hits.scores],
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(expected, indent=1) + "\n")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in CASES:
        if (FOLDER / f"{name}.nest").exists():
            print(f"{name}: is there and stays as it is")
        else:
            make(name)
            print(f"{name}: made")


if __name__ == "__main__":
    main()
