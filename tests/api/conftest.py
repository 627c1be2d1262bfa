"""Fixtures: model folders, collections, and a function that runs the command line."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from commands import Ended, Run, end_of


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Returns `tiny_models.make_folder` for the test's temporary folder."""
    import tiny_models  # here, so that other tests do not need onnx

    return partial(tiny_models.make_folder, tmp_path)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes collections flush after ten rows and never merge, so that small ones have segments."""
    from nestling.collection.storage import store
    from nestling.collection.upkeep import compaction

    monkeypatch.setattr(store, "PENDING_ROWS", 10)
    monkeypatch.setattr(compaction, "FAN", 99)


@pytest.fixture
def folder(tmp_path: Path, small: None) -> Path:
    """A closed collection with segments, pending rows and removed documents."""
    from collection_helpers import filled

    return filled(tmp_path / "c")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Returns a function that runs `nestling` in this process, with an encoder without a model."""
    from hashing_encoder import HashingEncoder

    monkeypatch.setattr("nestling.encoder.Encoder", HashingEncoder)

    def run(*arguments: object, stdin: str | bytes | None = None) -> Ended:
        if stdin is not None:
            raw = stdin.encode() if isinstance(stdin, str) else stdin
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))
        return end_of(capsys, *arguments)

    return run
