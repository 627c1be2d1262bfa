"""A maker of model folders for the tests of the text half, and a runner of the command line."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from commands import Ended, Run, end_of


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Returns `tiny_models.make_folder` for the test's own folder."""
    import tiny_models  # here, so that tests of the other half do without onnx

    return partial(tiny_models.make_folder, tmp_path)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collections of several segments of few rows."""
    from nestling.collection.storage import store
    from nestling.collection.upkeep import compaction

    monkeypatch.setattr(store, "PENDING_ROWS", 10)
    monkeypatch.setattr(compaction, "FAN", 99)


@pytest.fixture
def folder(tmp_path: Path, small: None) -> Path:
    """A collection with some of everything."""
    from collection_helpers import filled

    return filled(tmp_path / "c")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Returns what runs `nestling` in process, with an encoder that needs no model."""
    from hashing_encoder import HashingEncoder

    monkeypatch.setattr("nestling.encoder.Encoder", HashingEncoder)

    def run(*arguments: object, stdin: str | bytes | None = None) -> Ended:
        if stdin is not None:
            raw = stdin.encode() if isinstance(stdin, str) else stdin
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))
        return end_of(capsys, *arguments)

    return run
