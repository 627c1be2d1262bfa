"""Random metadata and filters, whole and malformed, against a plain reading of the dialect.

Run: `python tests/fuzz/collection_filters.py --seconds 300`.
"""

from __future__ import annotations

import random
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from pool import main  # isort: skip - it finds the modules below

from collection_helpers import opened
from filter_oracle import CONTAINERS, NAMES, NUMBERS, OPERATORS, STRINGS, matches

from nestling import FilterError, MetadataError

ODD: list[Any] = [float("nan"), 10**30, b"x", object(), {1, 2}, "\0", "\ud800", None, (), {}]


def scalar(rng: random.Random) -> Any:
    return rng.choice([*STRINGS, *NUMBERS, True, False])


def metadata(rng: random.Random) -> dict[str, Any]:
    values = [scalar(rng), scalar(rng), None, rng.choice(CONTAINERS), {"a": scalar(rng)}]
    return {rng.choice(NAMES): rng.choice(values) for _ in range(rng.randrange(5))}


def where(rng: random.Random, depth: int, odd: float) -> Any:
    if rng.random() < odd:
        return rng.choice(ODD)
    if depth and rng.random() < 0.5:
        group = rng.choice(["$and", "$or", "$nor", "$not"])
        if group == "$not":
            return {group: where(rng, depth - 1, odd)}
        return {group: [where(rng, depth - 1, odd) for _ in range(rng.randrange(4))]}
    name = rng.choice(NAMES)
    if rng.random() < 0.3:
        return {name: rng.choice([scalar(rng), None])}
    return {name: {k: operand(rng, k, odd) for k in rng.sample(sorted(OPERATORS), 2)}}


def operand(rng: random.Random, operator: str, odd: float) -> Any:
    if rng.random() < odd:
        return rng.choice(ODD)
    if operator in ("$in", "$nin"):
        return [scalar(rng) for _ in range(rng.choice([0, 1, 3, 200]))]
    if operator == "$exists":
        return rng.random() < 0.5
    if operator == "$not":
        return {"$gt": scalar(rng)}
    return scalar(rng)


def case(seed: int) -> str | None:
    rng = random.Random(seed)
    asked: Any = None
    try:
        with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "c") as collection:
            documents = {f"d{i}": metadata(rng) for i in range(12)}
            collection.add([f"apple {id}" for id in documents], documents, documents.values())
            collection.declare(*rng.sample(NAMES, 5))
            with suppress(MetadataError):
                collection.add(["bread"], ["odd"], [{"a": rng.choice(ODD)}])
            collection.delete("odd")
            for number in range(150):
                odd = 0.2 if number % 5 == 0 else 0.0
                asked = where(rng, 3, odd)
                try:
                    found = {document.id for document in collection.documents(asked)}
                except FilterError:
                    if not odd:
                        raise
                    continue
                assert collection.count(asked) == len(found)
                hits = collection.search("apple", 99, asked) if asked is not None else ()
                assert asked is None or {hit.id for hit in hits} == found
                if not odd:
                    wanted = {id for id, data in documents.items() if matches(data, asked)}
                    assert found == wanted
    except Exception:
        return f"{asked!r}: {traceback.format_exc()}"
    return None


if __name__ == "__main__":
    main(case, __doc__)
