"""A maker of model folders for the tests of the text half."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Returns `tiny_models.make_folder` for the test's own folder."""
    import tiny_models  # here, so that tests of the other half do without onnx

    return partial(tiny_models.make_folder, tmp_path)
