"""The inputs that the fuzzers kept, run once each without a fuzzer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fuzz_collection_files
import fuzz_filters
import fuzz_metadata
import json_inputs
import numpy as np
import pytest

from nestling import FormatError, Index


def kept(name: str) -> list[Any]:
    paths = sorted(path for path in (json_inputs.CORPORA / name).iterdir())
    assert paths
    return [pytest.param(path, id=path.name[:12]) for path in paths]


def run(check: Callable[[Any], None], path: Path) -> None:
    check(json_inputs.decode(path.read_bytes()))


@pytest.mark.parametrize("path", kept("filters"))
def test_filters(path: Path) -> None:
    run(fuzz_filters.check, path)


@pytest.mark.parametrize("path", kept("metadata"))
def test_metadata(path: Path) -> None:
    run(fuzz_metadata.check, path)


@pytest.mark.parametrize("path", kept("collection_files"))
def test_collection_files(path: Path) -> None:
    run(fuzz_collection_files.check, path)


@pytest.mark.parametrize("path", kept("index_file"))
def test_index_files(path: Path) -> None:
    try:
        index = Index.load(path)
    except FormatError:
        return
    hits = index.search(np.ones(index.dim), k=5)
    assert set(hits.ids.tolist()) <= {-1, *index.ids.tolist()}
