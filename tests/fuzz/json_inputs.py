"""Inputs of the Python fuzzers: JSON documents, mutated as trees so that they stay readable.

A fuzzer is a module with a function `check(value)`, which raises whatever is wrong. `main` runs it
under atheris, which keeps inputs that reach new code: `python tests/fuzz/fuzz_filters.py CORPUS
-max_total_time=60`, with libFuzzer's options. `tests/fuzz/test_corpora.py` runs the kept inputs
without atheris.
"""

from __future__ import annotations

import copy
import json
import random
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

FOLDER = Path(__file__).parent
CORPORA = FOLDER / "corpus"
_LONGEST = 4096  # characters of an input that a mutation makes

sys.path[:0] = [str(FOLDER.parent), str(FOLDER.parent / "api")]  # what the checks import

# What JSON cannot write; {"!": 2} in an input stands for the one at 2.
ODD: list[Any] = [float("inf"), 10**30, b"x", object(), {1, 2}, (), (1, "a"), frozenset(), 1j]


def instrumented(running: bool) -> AbstractContextManager[object]:
    """Returns what imports of nestling stand within, so that atheris sees which lines run.

    Args:
        running: Whether the fuzzer is run, rather than imported.
    """
    if not running:
        return nullcontext()
    import atheris

    return cast("AbstractContextManager[object]", atheris.instrument_imports(include=["nestling"]))


class InvalidInputError(ValueError):
    """The bytes are not an input of the fuzzer."""


def decode(data: bytes) -> Any:
    """Returns the value that an input stands for.

    Raises:
        InvalidInputError: It is not JSON.
    """
    try:
        return _with_odd_values(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(str(error)) from None


def encode(value: Any) -> bytes:
    """Returns a JSON value as an input."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()


def _with_odd_values(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_odd_values(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"!"} and type(value["!"]) is int:
            return ODD[value["!"] % len(ODD)]
        return {key: _with_odd_values(item) for key, item in value.items()}
    return value


class Mutator:
    """Changes JSON values at random.

    Half of the names and leaves that it puts in are ones that the value has already, so that parts
    of an input meet: a filter names a field that a document has, and compares it with its value.
    """

    def __init__(self, rng: random.Random, keys: Sequence[str], scalars: Sequence[Any]) -> None:
        """Takes names that objects may get, and values that leaves may get."""
        self._rng = rng
        self._keys = keys
        self._scalars = scalars
        self._present_keys: list[str] = []
        self._present_leaves: list[Any] = []

    def mutated(self, value: Any) -> Any:
        """Returns a value with one or a few changes."""
        for _ in range(self._rng.choice([1, 1, 1, 2, 4])):
            # A copy without shared parts, so that the next change is of one place.
            value = json.loads(json.dumps(self._mutated_once(value)))
        return value

    def tree(self, depth: int) -> Any:
        """Returns a new value of at most so many levels."""
        kind = self._rng.randrange(4) if depth else 0
        if kind == 1:
            return [self.tree(depth - 1) for _ in range(self._rng.randrange(4))]
        if kind > 1:
            count = self._rng.choice([0, 1, 1, 2, 3])
            return {self._key(): self.tree(depth - 1) for _ in range(count)}
        return self._leaf()

    def _key(self) -> str:
        present = self._present_keys and self._rng.random() < 0.5
        return self._rng.choice(self._present_keys if present else self._keys)

    def _leaf(self) -> Any:
        rng = self._rng
        if self._present_leaves and rng.random() < 0.5:
            return rng.choice(self._present_leaves)
        kind = rng.randrange(8)
        if kind == 0:
            return "".join(rng.choices("\0$.Aa\u00e9\ud800\U0001f600", k=2))
        if kind == 1:
            return rng.choice([rng.randrange(-5, 6), rng.getrandbits(64) - 2**63, rng.random()])
        if kind == 2:
            return {"!": rng.randrange(len(ODD))} if rng.random() < 0.3 else None
        return rng.choice(self._scalars)

    def _containers(self, value: Any) -> list[Any]:
        """Returns every object and list of a value; notes its keys and leaves."""
        found, waiting = [], [value]
        self._present_keys, self._present_leaves = [], []
        while waiting:
            part = waiting.pop()
            if isinstance(part, dict):
                self._present_keys += part
                waiting += part.values()
                found.append(part)
            elif isinstance(part, list):
                waiting += part
                found.append(part)
            else:
                self._present_leaves.append(part)
        return found

    def _mutated_once(self, value: Any) -> Any:
        rng = self._rng
        containers = self._containers(value)
        if not containers:
            return self.tree(3)
        parent = rng.choice(containers)
        places = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        if not places or rng.random() < 0.2:  # one more entry
            if isinstance(parent, dict):
                parent[self._key()] = self.tree(2)
            else:
                parent.insert(rng.randrange(len(parent) + 1), self.tree(2))
            return value
        place = rng.choice(places)
        kind = rng.randrange(9)
        if kind == 0:
            del parent[place]
        elif kind == 1:
            parent[place] = self.tree(3)
        elif kind == 2:  # one level deeper
            inner = parent[place]
            parent[place] = rng.choice([{self._key(): inner}, [inner], [inner, inner]])
        elif kind == 3:  # one level less
            inner = parent[place]
            if isinstance(inner, dict | list) and inner:
                inner = list(inner.values()) if isinstance(inner, dict) else inner
                parent[place] = rng.choice(inner)
        elif kind == 4 and isinstance(parent, dict):  # another name
            parent[self._key()] = parent.pop(place)
        elif kind == 5:  # a copy of something else in the value
            parent[place] = json.loads(json.dumps(rng.choice(containers)))
        elif kind == 6 and isinstance(parent, list):
            parent[place:] *= rng.choice([2, 3, 50])
        else:
            parent[place] = self._leaf()
        return value


def main(
    check: Callable[[Any], None],
    keys: Sequence[str],
    scalars: Sequence[Any],
    make: Callable[[random.Random], Any] | None = None,
) -> None:
    """Runs a fuzzer under atheris with the options of the command line.

    Args:
        check: Raises what is wrong with a value.
        keys: Names that objects in inputs may get.
        scalars: Values that leaves may get.
        make: Returns a new input, most likely a well-formed one; some mutations start from it.
    """
    import atheris

    def test_one_input(data: bytes) -> None:
        try:
            value = decode(data)
        except InvalidInputError:
            return
        check(value)

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        mutator = Mutator(rng, keys, scalars)
        new = make is not None and rng.random() < 0.2
        try:
            value = make(rng) if make is not None and new else json.loads(data)
        except (ValueError, RecursionError):
            value = {}
        for _ in range(5):
            mutated = encode(mutator.mutated(copy.deepcopy(value)))
            if len(mutated) <= min(max_size, _LONGEST):
                return mutated
        return encode(mutator.tree(2))[:max_size]

    atheris.Setup(sys.argv, test_one_input, custom_mutator=mutator)
    atheris.Fuzz()
