"""Settings in place of those of a folder: by argument, by recipe, and from a model card."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_hub import HubServer, Repository, files_of, serve_hub
from hashing_encoder import HashingEncoder
from tiny_models import DIM, WORDS, table, token_graph

from nestling import Collection, default_funnel
from nestling.encoder import Encoder
from nestling.errors import (
    ArgumentError,
    ArgumentTypeError,
    EncoderMismatchError,
    NestingWarning,
)
from nestling.models.recipes import RECIPES, recipe_for
from nestling.runtime.card import nesting_of_card
from nestling.runtime.folder import ModelFolder
from nestling.runtime.overrides import Overrides

MakeFolder = Callable[..., Path]
MEAN = {"1_Pooling/config.json": {"pooling_mode_mean_tokens": True}}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with serve_hub(monkeypatch, tmp_path / "hf") as server:
        yield server


def mean(*words: str) -> np.ndarray:
    row = table()[[WORDS.index(word) for word in words]].mean(axis=0)
    return row / np.linalg.norm(row)


def folder_with(make_folder: MakeFolder, **files: Any) -> Path:
    return make_folder(token_graph(), special=False, files={**MEAN, **files})


def with_prompts(make_folder: MakeFolder) -> Path:
    prompts = {"prompts": {"query": "query: ", "passage": "passage: "}}
    return folder_with(make_folder, **{"config_sentence_transformers.json": prompts})


# By argument


def test_prompts_of_an_argument_stand_in_for_those_of_the_folder(make_folder: MakeFolder) -> None:
    encoder = Encoder(with_prompts(make_folder), query_prompt="sun ", document_prompt="")
    np.testing.assert_allclose(encoder.encode_queries("cat"), mean("sun", "cat"), atol=1e-6)
    np.testing.assert_allclose(encoder.encode("cat"), mean("cat"), atol=1e-6)
    assert (encoder.query_prompt, encoder.document_prompt) == ("sun ", "")


def test_layer_norm_of_an_argument_is_applied(make_folder: MakeFolder) -> None:
    folder = folder_with(make_folder)
    row = table()[WORDS.index("cat")]
    centred = (row - row.mean())[:6]
    expected = centred / np.linalg.norm(centred)
    found = Encoder(folder, layer_norm=True).encode("cat", dim=6)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    normed = folder_with(make_folder, **{"nestling.json": {"layer_norm": True}})
    plain = Encoder(normed, layer_norm=False).encode("cat")
    np.testing.assert_allclose(plain, mean("cat"), atol=1e-6)


def test_arguments_are_in_the_fingerprint_the_pickle_and_the_repr(make_folder: MakeFolder) -> None:
    folder = with_prompts(make_folder)
    given = {"query_prompt": "sun ", "document_prompt": "moon ", "layer_norm": True}
    encoder = Encoder(folder, **given, nesting=[8, 4])
    for copied in (pickle.loads(pickle.dumps(encoder)), copy.deepcopy(encoder)):
        assert copied.overrides == encoder.overrides
        assert copied.fingerprint == encoder.fingerprint
        assert copied.nesting == (4, 8)
    assert "query_prompt='sun ', document_prompt='moon ', layer_norm=True" in repr(encoder)
    prints = {Encoder(folder).fingerprint, encoder.fingerprint}
    prints |= {Encoder(folder, **{name: value}).fingerprint for name, value in given.items()}
    assert len(prints) == 5
    # It names no other vectors.
    assert Encoder(folder, nesting=[4]).fingerprint == Encoder(folder).fingerprint
    with pytest.raises(AttributeError):
        encoder.query_prompt = "other "


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"query_prompt": 3}, ArgumentTypeError, "query_prompt must be a string, not int"),
        ({"document_prompt": b"a"}, ArgumentTypeError, "document_prompt must be a string"),
        ({"layer_norm": 1}, ArgumentTypeError, "layer_norm must be True or False"),
        ({"nesting": "64"}, ArgumentTypeError, "nesting must be a list of whole numbers"),
        ({"nesting": [6.4]}, ArgumentTypeError, "nesting must be a list of whole numbers"),
        ({"nesting": [0, 8]}, ArgumentError, "at least 1, not 0"),
        ({"revision": "v1"}, ArgumentError, "revision='v1' is for a model of the hub"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(
    make_folder: MakeFolder, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Encoder(folder_with(make_folder), **given)


def test_a_collection_remembers_the_arguments_of_its_encoder(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    folder = with_prompts(make_folder)
    given = Encoder(folder, query_prompt="sun ", nesting=[4, 8])
    with Collection(tmp_path / "notes", given) as notes:
        notes.add(["cat", "dog", "moon"])
        assert notes.encoder is not None
        expected = [hit.score for hit in notes.search("cat", k=3)]
    with Collection(tmp_path / "notes") as notes:
        assert notes.encoder is not None
        assert notes.encoder.overrides == {"query_prompt": "sun ", "nesting": [4, 8]}
        assert [hit.score for hit in notes.search("cat", k=3)] == expected
    with pytest.raises(EncoderMismatchError, match="was made with"):
        Collection(tmp_path / "notes", Encoder(folder))
    Collection(tmp_path / "notes", Encoder(folder, query_prompt="sun ")).close()


def test_a_prefix_outside_the_nesting_warns_once(make_folder: MakeFolder) -> None:
    encoder = Encoder(folder_with(make_folder), nesting=[4, 8])
    with pytest.warns(
        NestingWarning, match=r"of 5 dimensions, but for 4, 8; .* shorter ones"
    ) as seen:
        encoder.encode("cat", dim=5)
    assert seen[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for dim in (5, 4, 8, DIM, None):
            encoder.encode(["cat", "dog"], dim=dim)
            encoder.encode_queries("cat", dim=dim)
        Encoder(folder_with(make_folder)).encode("cat", dim=5)  # whose nesting is unknown
    with pytest.warns(NestingWarning, match="of 6 dimensions"):
        encoder.encode_queries(["cat", "dog"], dim=6)


def test_a_new_collection_has_the_funnel_of_the_nesting_dims(tmp_path: Path) -> None:
    encoder = HashingEncoder(dim=768)
    encoder.nesting = (8, 16, 48, 256, 768)
    with Collection(tmp_path / "nested", encoder) as nested:
        assert str(nested.funnel) == "48@4:1000 > 256@8:200 > 768@16"
    with Collection(tmp_path / "chosen", encoder, funnel="64@4:10 > 768@16") as chosen:
        assert str(chosen.funnel) == "64@4:10 > 768@16"


# By recipe


@pytest.fixture
def nomic(make_folder: MakeFolder, hub: HubServer) -> str:
    hub.repositories["nomic-ai/nomic-embed-text-v1.5"] = Repository(
        files_of(folder_with(make_folder))
    )
    return "nomic-ai/nomic-embed-text-v1.5"


def test_a_recipe_fills_in_what_the_repository_does_not_say(nomic: str) -> None:
    encoder = Encoder(nomic)
    assert encoder.query_prompt == "search_query: "
    assert encoder.document_prompt == "search_document: "
    assert encoder.embedder.folder.layer_norm
    assert encoder.embedder.folder.nesting == (64, 128, 256, 512, 768)
    assert "with the recipe of nomic-ai/nomic-embed-text-v1.5: query_prompt=" in repr(encoder)
    assert encoder.recipe.given().keys() == {
        *("query_prompt", "document_prompt", "layer_norm", "nesting")
    }


def test_an_argument_has_priority_over_a_recipe(nomic: str) -> None:
    encoder = Encoder(nomic, query_prompt="sun ", layer_norm=False, nesting=[8])
    assert (encoder.query_prompt, encoder.document_prompt) == ("sun ", "search_document: ")
    assert not encoder.embedder.folder.layer_norm
    assert encoder.nesting == (8,)


def test_the_files_of_a_repository_have_priority_over_a_recipe(
    make_folder: MakeFolder, hub: HubServer
) -> None:
    prompts = {"prompts": {"query": "sun "}}
    files = {"config_sentence_transformers.json": prompts, "nestling.json": {"nesting": [4]}}
    folder = folder_with(make_folder, **files)
    hub.repositories["Intfloat/Multilingual-E5-Small"] = Repository(files_of(folder))
    encoder = Encoder("Intfloat/Multilingual-E5-Small")
    assert (encoder.query_prompt, encoder.document_prompt) == ("sun ", "")
    assert encoder.recipe == Overrides()
    assert encoder.nesting == (4,)


@pytest.mark.parametrize("prompts", [{"query": "", "document": ""}, {"clustering": "cluster: "}])
def test_prompts_that_say_nothing_leave_a_recipe_in_place(
    make_folder: MakeFolder, hub: HubServer, prompts: dict[str, str]
) -> None:
    files = {"config_sentence_transformers.json": {"prompts": prompts}}
    hub.repositories["intfloat/e5-small"] = Repository(files_of(folder_with(make_folder, **files)))
    encoder = Encoder("intfloat/e5-small")
    assert (encoder.query_prompt, encoder.document_prompt) == ("query: ", "passage: ")


def test_a_recipe_follows_a_renamed_repository() -> None:
    three = "silma-ai/silma-embed" + "dding-matryoshka-v0.1"
    assert recipe_for(three.replace("ddd", "dd")) is recipe_for(three) is not None


def test_a_folder_has_no_recipe(make_folder: MakeFolder) -> None:
    assert Encoder(folder_with(make_folder)).recipe == Overrides()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.repository)
def test_recipes_are_consistent(recipe: Any) -> None:
    assert recipe_for(recipe.repository) is recipe
    assert recipe.dim > 0
    assert recipe.parameters > 0
    assert list(recipe.nesting) == sorted(set(recipe.nesting))
    assert not recipe.nesting or recipe.nesting[-1] == recipe.dim
    assert all(recipe.repository.partition("/"))
    assert recipe.licence
    assert recipe.languages
    funnel = default_funnel(recipe.dim, recipe.nesting)
    assert funnel.stages[-1].dims == recipe.dim


def test_the_guide_shows_every_prompt() -> None:
    guide = Path(__file__).parents[2] / "docs" / "guides" / "encoders.md"
    shown = guide.read_text(encoding="utf-8").replace("&#124;", "|")
    for recipe in RECIPES.values():
        for prompt in (recipe.query_prompt, recipe.document_prompt):
            assert all(line.strip() in shown for line in prompt.splitlines()), prompt


# From a model card


LOSS = """
* Loss: [<code>MatryoshkaLoss</code>](https://sbert.net/losses.html) with these parameters:
  ```json
  {
      "loss": "MultipleNegativesRankingLoss",
      "matryoshka_dims": [
          768,
          512,
          256
      ],
      "matryoshka_weights": [
          1,
          1,
          1
      ],
      "n_dims_per_step": -1
  }
  ```
"""


@pytest.mark.parametrize(
    ("card", "nesting"),
    [
        ("---\nmatryoshka_dims: [768, 256, 48]\n---\n", (48, 256, 768)),
        ("---\nmatryoshka_dims:\n- 768\n- 256\nlicense: mit\n---\n", (256, 768)),
        ("---\nlicense: mit\nmatryoshka_dims:\n  - 768\n  - 48\n---\n", (48, 768)),
        ("---\nmatryoshka_dims:\n- 768 # of 1024\n- 48\n---\n", (48, 768)),
        ("---\r\nmatryoshka_dims:\r\n- 768\r\n- 48\r\n---\r\n", (48, 768)),
        ("---\nmatryoshka_dimensions: [8]\n---\n" + LOSS, (8,)),
        ("---\nlicense: mit\n---\n" + LOSS, (256, 512, 768)),
        ("    {'loss': Loss(), 'matryoshka_dims': (256, 64)}", (64, 256)),
        ("  'loss': MatryoshkaLoss(loss=Loss(), matryoshka_dims=[256, 64])", (64, 256)),
        (LOSS + LOSS.replace("512", "128"), (256, 768)),
        ("---\nlicense: mit\n---\nmatryoshka_dims: [3]\n", ()),
        ("---\nmatryoshka_dims: many\n---\n", ()),
        ("---\nmatryoshka_dims: [0]\n---\n", ()),
        ("no front matter", ()),
        ("", ()),
    ],
)
def test_nesting_dims_are_read_from_a_card(
    tmp_path: Path, card: str, nesting: tuple[int, ...]
) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(card.encode())
    assert nesting_of_card(path) == nesting


def test_a_card_that_is_not_text_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(b"\xff\xfe---\x00\n")
    assert nesting_of_card(path) == ()
    assert nesting_of_card(tmp_path / "absent.md") == ()


def test_a_folder_nests_as_its_card_says(make_folder: MakeFolder) -> None:
    folder = folder_with(make_folder)
    (folder / "README.md").write_text("---\nmatryoshka_dims: [16, 8]\n---\n")
    assert Encoder(folder).nesting == (8, 16)
    named = folder_with(make_folder, **{"nestling.json": {"nesting": [4]}})
    assert ModelFolder.read(named).nesting == (4,)
