"""What the suites of the index share: rows that behave like embeddings, and the sizes.

Run with `pytest benchmarks/ --benchmark-only`. The sizes are small, so that the suites end within
minutes; `python -m nestling.bench` measures at full size, and the machine's limits beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from nestling.bench.generate import generate
from nestling.index import Index

DIM = 256
QUERIES = 256

Floats = np.ndarray


def pytest_configure(config: pytest.Config) -> None:
    """The suites are named bench_*.py, so that no run of the tests collects them."""
    config.addinivalue_line("python_files", "bench_*.py")


@pytest.fixture(params=[100_000], ids=lambda rows: f"{rows // 1000}k", scope="session")
def rows(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=[1], ids=lambda threads: f"threads={threads}", scope="session")
def threads(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="session")
def made(rows: int) -> tuple[Floats, Floats]:
    return generate(rows, DIM, queries=QUERIES)


@pytest.fixture(scope="session")
def vectors(made: tuple[Floats, Floats]) -> Floats:
    return made[0]


@pytest.fixture(scope="session")
def queries(made: tuple[Floats, Floats]) -> Floats:
    return made[1]


@pytest.fixture(scope="session")
def index_of(vectors: Floats, threads: int) -> Callable[[str | None], Index]:
    """Makes an index of all rows for a funnel; each is made once."""

    @cache
    def make(funnel: str | None) -> Index:
        index = Index(DIM, funnel=funnel, threads=threads)
        index.add(vectors)
        return index

    return make


@pytest.fixture(params=["single", "batch"])
def query_batch(request: pytest.FixtureRequest, queries: Floats) -> Floats:
    """One query, (dim,), or all of them, (m, dim)."""
    return queries[0] if request.param == "single" else queries
