#!/usr/bin/env python3
"""Filters of documents, well formed and malformed, against a plain reading of the dialect.

An input is `{"documents": [metadata, ...], "where": filter}`. A filter is refused with a
FilterError, or finds exactly the documents that the reading finds, whether fields are declared or
not.
"""

from __future__ import annotations

import math
import random
from contextlib import suppress
from itertools import pairwise
from typing import Any

import json_inputs

with json_inputs.instrumented(__name__ == "__main__"):
    from filter_oracle import CONTAINERS, KEYS, NAMES, NUMBERS, OPERATORS, STRINGS, find, matches

    from nestling import FilterError, MetadataError
    from nestling.collection.query.filters import compile_filter
    from nestling.inputs.metadata import check_metadata

GROUPS = ("$and", "$or", "$nor", "$not")


def numbers(value: Any) -> list[float]:
    """All fractions in a value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, float) and math.isfinite(value) else []


def comparable(value: Any) -> bool:
    """Whether no two fractions are so close that SQLite may take them for equal."""
    found = sorted(set(numbers(value)))
    return not any(math.isclose(a, b, rel_tol=1e-9) for a, b in pairwise(found)) and not any(
        0 < abs(number) < 1e-25 or abs(number) > 1e25 for number in found
    )


class Maker:
    """Makes documents and filters that name their fields and compare them with their values."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._names = rng.sample(NAMES, 3)
        self._scalars = [*rng.choices([*STRINGS, *NUMBERS], k=4), True, False]

    def problem(self) -> dict[str, Any]:
        documents = [self._metadata() for _ in range(self._rng.randrange(1, 6))]
        return {"documents": documents, "where": self._where(3)}

    def _metadata(self) -> dict[str, Any]:
        nested = {"a": self._scalar()}
        values = [*self._scalars, None, nested, self._rng.choice(CONTAINERS)]
        return {name: self._rng.choice(values) for name in self._names if self._rng.random() < 0.8}

    def _scalar(self) -> Any:
        return self._rng.choice(self._scalars)

    def _where(self, depth: int) -> Any:
        if depth and self._rng.random() < 0.5:
            group = self._rng.choice(GROUPS)
            if group == "$not":
                return {group: self._where(depth - 1)}
            return {group: [self._where(depth - 1) for _ in range(self._rng.randrange(4))]}
        name = self._rng.choice(self._names)
        if self._rng.random() < 0.3:
            return {name: self._rng.choice([self._scalar(), None])}
        operators = self._rng.sample(sorted(OPERATORS), self._rng.choice([1, 1, 2, 3]))
        return {name: {operator: self._operand(operator) for operator in operators}}

    def _operand(self, operator: str) -> Any:
        if operator in ("$in", "$nin"):
            return [self._scalar() for _ in range(self._rng.choice([0, 1, 3, 200]))]
        if operator == "$exists":
            return self._rng.random() < 0.5
        return {"$gt": self._scalar()} if operator == "$not" else self._scalar()


def check(value: Any) -> None:
    match value:
        case {"documents": list(metadatas), "where": where}:
            pass
        case _:
            return
    documents: list[dict[str, Any]] = []
    for metadata in metadatas:
        with suppress(MetadataError):
            documents.append(check_metadata(metadata))
    try:
        compile_filter(where, {})
    except FilterError:
        return
    declared = sorted({key for document in documents for key in document})[:20]
    found = find(documents, where, declared)
    if comparable([documents, where]):
        assert found == [i for i, document in enumerate(documents) if matches(document, where)]


if __name__ == "__main__":
    json_inputs.main(
        check,
        keys=[*NAMES, *KEYS, *GROUPS * 4, *sorted(OPERATORS) * 4],
        scalars=[*STRINGS, *NUMBERS, True, False, None, *CONTAINERS],
        make=lambda rng: Maker(rng).problem(),
    )
