"""Model cards as the installed sentence-transformers writes them, read for their nesting dims."""

from __future__ import annotations

from pathlib import Path

import pytest

from nestling.runtime.card import nesting_of_card

pytest.importorskip("torch")
pytest.importorskip("datasets")
pytest.importorskip("sentence_transformers")

import datasets
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from tiny_bert import make_bert

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch and transformers


@pytest.mark.parametrize("kind", [losses.MatryoshkaLoss, losses.Matryoshka2dLoss])
def test_the_dims_of_a_training_are_read_from_its_card(tmp_path: Path, kind: type) -> None:
    network = SentenceTransformer(str(make_bert(tmp_path)))
    inner = losses.MultipleNegativesRankingLoss(network)
    card = network.model_card_data
    pairs = datasets.Dataset.from_dict({"anchor": ["w1 w2"] * 4, "positive": ["w1"] * 4})
    for loss, nesting in ((inner, ()), (kind(network, inner, [32, 16, 8]), (8, 16, 32))):
        card.train_datasets = card.extract_dataset_metadata(pairs, [], loss, "train")
        card.set_losses([loss])
        folder = tmp_path / f"trained-{len(nesting)}"
        network.save_pretrained(str(folder))
        assert nesting_of_card(folder / "README.md") == nesting
