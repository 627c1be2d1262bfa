"""The adaptors that come with the package, read from wherever it is installed."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest

from nestling.models import BUILT_IN, card
from nestling.models.adaptors import bundled_adaptor

ADAPTED = ["e5", "minilm"]


@pytest.mark.parametrize("name", ADAPTED)
def test_an_adaptor_is_a_small_rotation_with_its_card(name: str) -> None:
    adaptor = bundled_adaptor(name)
    assert adaptor is not None
    dim = card(name).dim
    assert adaptor.nesting == card(name).adaptor
    assert adaptor.nesting[-1] == dim
    # Of float16: 384 products of numbers about 0.05, each off by up to a 2,000th of itself.
    np.testing.assert_allclose(adaptor.matrix @ adaptor.matrix.T, np.eye(dim), atol=1e-3)
    files = resources.files("nestling.models.adaptors")
    assert len(files.joinpath(f"{name}.npz").read_bytes()) < 300_000
    about = json.loads(files.joinpath(f"{name}.json").read_text("utf-8"))
    assert about.keys() >= {"model", "data", "command", "settings", "figures", "licence"}
    assert tuple(about["settings"]["dims"]) == adaptor.nesting


def test_only_models_that_are_not_nested_have_one() -> None:
    for name, model in BUILT_IN.items():
        assert (bundled_adaptor(name) is not None) == bool(model.adaptor) == (not model.nesting), (
            name
        )
    assert bundled_adaptor("nonsense") is None


def test_two_adaptors_have_two_digests() -> None:
    assert len({bundled_adaptor(name).digest for name in ADAPTED}) == len(ADAPTED)
