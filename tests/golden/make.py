"""Makes the golden files of the present version of the format: `python tests/golden/make.py`.

Each case is an index file and, beside it, a JSON file with queries and the hits that they must
have. The script never writes over a file: every later version of nestling must still read what is
there. Values that depend on the machine, such as a rotation, are in the file once and for all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from nestling import Index, _core
from nestling.index.cells import Cells

FOLDER = Path(__file__).parent / f"v{_core.FORMAT_VERSION}"
STEP = 1_000_003  # ids that are given are multiples of it


@dataclasses.dataclass(frozen=True)
class Case:
    """What happens to an index before it is saved: rows are added, rebuilt, added and removed."""

    metric: str
    funnel: str
    rows: int
    with_ids: bool
    rebuild: dict[str, Any] = dataclasses.field(default_factory=dict)
    later: int = 0  # rows added after the rebuild
    remove: tuple[int, ...] = ()  # by position
    replace: tuple[int, ...] = ()  # by position


CASES: dict[str, Case] = {
    "cosine-4-16-16": Case("cosine", "10@4:30 > 20@16:20 > 33@16", 70, False),
    "cosine-8-8-32": Case("cosine", "9@8:30 > 20@8:20 > 33@32", 70, True),
    "cosine-32": Case("cosine", "17@32", 33, True),
    "cosine-4": Case("cosine", "17@4", 33, False),
    "ip-8-16": Case("ip", "10@8:30 > 33@16", 70, True),
    "ip-16-16-32": Case("ip", "10@16:30 > 20@16:20 > 33@32", 70, False),
    "cosine-1-16": Case("cosine", "33@1:30 > 33@16", 70, False),
    "ip-2-8": Case("ip", "20@2:30 > 33@8", 70, True),
    "empty": Case("cosine", "4@4:30 > 8@16", 0, False),
    "removed": Case(
        "cosine", "10@4:30 > 20@16:20 > 33@16", 70, False, remove=(0, 31, 32, 69), replace=(3,)
    ),
    "removed-ids": Case("ip", "20@2:30 > 33@8", 70, True, remove=(7, 8, 40), replace=(2, 64)),
    "removed-all": Case("cosine", "17@32", 33, True, remove=tuple(range(33))),
    "margins": Case("cosine", "10@8:60~1.5 > 20@16:20~2 > 33@32", 70, False),
    "centred": Case("cosine", "33@1:30 > 33@16", 70, False, {"centre": True}),
    "centred-8": Case("cosine", "10@8:30 > 33@8", 70, True, {"centre": True}, later=5),
    "cosine-1-4-8": Case("cosine", "33@1:60 > 33@4:30 > 33@8", 70, False),
    "ip-4-4-8": Case("ip", "20@4:60 > 33@4:30 > 33@8", 70, True),
    "rotated": Case("cosine", "10@8:30 > 33@32", 70, False, {"rotate": True}),
    "rotated-ip": Case("ip", "10@4:30 > 33@16", 70, True, {"rotate": True}, later=5),
    "cells": Case("cosine", "20@4:60 > 33@16", 200, False, {"cells": Cells(6, probes=2)}),
    "cells-ip-no-spill": Case(
        "ip",
        "20@8:60 > 33@32",
        150,
        True,
        {"cells": Cells(5, probes=1, adaptive=True, spill=False, dims=20)},
        later=9,
        remove=(0, 149, 155),
    ),
    "everything": Case(
        "cosine",
        "20@2:90~4 > 25@8:60~2 > 33@16",
        200,
        True,
        {"cells": Cells(40, probes=3), "rotate": True, "centre": True},
        later=70,
        remove=(1, 50, 201),
        replace=(2, 220),
    ),
}


def make(name: str, case: Case, path: Path) -> None:
    """Writes the index of a case and what it must answer."""
    dim = int(case.funnel.rsplit(">", maxsplit=1)[-1].split("@")[0])
    n = case.rows + case.later
    rng = np.random.default_rng(len(name))
    rows = (rng.standard_normal((n, dim)) / np.sqrt(np.arange(1, dim + 1))).astype(np.float32)
    if n:
        rows[5], rows[8, :10], rows[20:23] = 0, 0, rows[19]
    queries = rng.standard_normal((4, dim)).astype(np.float32)
    index = Index(dim, funnel=case.funnel, metric=case.metric)  # type: ignore[arg-type]
    ids = rng.permutation(n) * STEP if case.with_ids else np.arange(n)
    index.add(rows[: case.rows], ids=ids[: case.rows])
    if case.rebuild:
        index.rebuild(**case.rebuild)
    index.add(rows[case.rows :], ids=ids[case.rows :])
    index.remove(ids[list(case.remove)])
    index.add(-rows[list(case.replace)], ids=ids[list(case.replace)], replace=True)
    # All cells are probed: what fewer of them find may become better in a later version.
    cells = index.cells
    hits = index.search(queries, k=12, probes=cells and cells.count)
    index.save(path)
    expected = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "dim": dim,
        "metric": case.metric,
        "funnel": case.funnel,
        "rows": len(index),
        "rotated": index.rotated,
        "centred": index.centred,
        "cells": cells and dataclasses.asdict(cells),
        "row ids": index.ids.tolist(),
        "queries": queries.tolist(),
        "ids": hits.ids.tolist(),
        "scores": [[None if np.isnan(s) else float(s) for s in row] for row in hits.scores],
    }
    path.with_suffix(".json").write_text(json.dumps(expected, indent=1) + "\n")


def main(folder: Path = FOLDER) -> None:
    folder.mkdir(exist_ok=True)
    for name, case in CASES.items():
        path = folder / f"{name}.nest"
        if path.exists() or path.with_suffix(".json").exists():
            print(f"{name}: exists and stays as it is")
        else:
            make(name, case, path)
            print(f"{name}: written")


if __name__ == "__main__":
    main()
