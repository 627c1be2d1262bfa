"""`nestling models`: what is built in, cached and known, and what a search of the hub finds."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import Run, end_of
from fake_hub import HubServer, Repository, files_of, serve_hub
from rich.console import Console
from tiny_models import token_graph

from nestling._util.console import print_records
from nestling.encoder import Encoder
from nestling.models.catalogue import list_models, loads, search_hub
from nestling.models.recipes import RECIPES

MakeFolder = Callable[..., Path]
TAGS = ("sentence-transformers", "loss:MatryoshkaLoss")
CARD = """---
license: cc0-1.0
matryoshka_dims: [16, 8]
---
# A model
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setenv("NESTLING_CACHE", str(tmp_path / "cache"))
    with serve_hub(monkeypatch, tmp_path / "hf") as server:
        yield server


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return lambda *arguments: end_of(capsys, *arguments)


def test_built_in_and_well_known_models_are_listed(hub: HubServer, run: Run) -> None:
    listed = run("models", "--json").json
    names = [entry["name"] for entry in listed]
    assert names[:5] == ["minilm", "e5", "wordllama", "minilm-fast", "e5-fast"]
    assert [entry["teacher"] for entry in listed[:5]] == ["", "", "", "minilm", "e5"]
    assert set(names[5:]) == {recipe.repository for recipe in RECIPES.values()}
    assert all(entry["disk"] == 0 for entry in listed)
    silma = listed[names.index("silma-ai/silma-embeddding-matryoshka-v0.1")]
    assert silma["dim"] == 768
    assert silma["nesting"] == [8, 16, 48, 256, 768]
    table = run("models").out
    assert "768/256/48/16/8" in table
    assert "Apache-2.0" in table
    assert hub.requests == []


def test_what_was_fetched_is_listed_as_cached(
    hub: HubServer, make_folder: MakeFolder, run: Run
) -> None:
    files = {
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
        "config.json": {"hidden_size": 16},
    }
    folder = make_folder(token_graph(), special=False, files=files)
    (folder / "README.md").write_text(CARD)
    hub.repositories["someone/tiny"] = Repository(files_of(folder))
    hub.repositories["intfloat/e5-small"] = Repository(files_of(folder))
    for name in hub.repositories:
        Encoder(name)
    entries = {entry.name: entry for entry in list_models()}
    tiny = entries["someone/tiny"]
    assert (tiny.dim, tiny.nesting, tiny.licence) == (16, (8, 16), "cc0-1.0")
    assert tiny.disk > 1000
    known = entries["intfloat/e5-small"]
    assert (known.dim, known.licence, known.languages) == (384, "MIT", "English")
    assert known.disk > 1000
    assert len(entries) == len(list_models())
    assert "someone/tiny" in run("models").out


@pytest.mark.parametrize(
    ("names", "config", "possible", "how"),
    [
        (["onnx/model.onnx"], {}, True, "ONNX graph, float32"),
        (["onnx/model_quantized.onnx"], {}, True, "ONNX graph, int8"),
        (["model.safetensors"], {"model_type": "bert"}, True, "converted once"),
        (["model.safetensors"], {"model_type": "t5"}, False, "a 't5' is not converted.*with torch"),
        (["onnx/model_q4.onnx"], {}, False, r"cannot be used: onnx/model_q4\.onnx \(4 bits"),
        (["pytorch_model.bin"], {"model_type": "bert"}, False, "pickle files"),
    ],
)
def test_a_search_says_what_loads_and_why_not(
    hub: HubServer, run: Run, names: list[str], config: dict[str, str], possible: bool, how: str
) -> None:
    files = dict.fromkeys((*names, "tokenizer.json"), b"")
    hub.repositories["someone/tiny-matryoshka"] = Repository(
        files,
        config=config,
        tags=("sentence-transformers", "loss:MatryoshkaLoss", "license:mit", "ar"),
    )
    (found,) = search_hub("matryoshka")
    assert found.loads == possible
    assert re.search(how, found.how)
    assert (found.nested, found.licence, found.languages) == (True, "mit", ("ar",))
    assert run("models", "search", "matryoshka", "--json").json == [found.as_dict()]
    row = run("models", "search", "matryoshka").out.splitlines()[-1]
    assert row.split()[:2] == ["someone/tiny-matryoshka", "yes" if possible else "no"]


def test_a_search_lists_the_most_downloaded_of_one_library(hub: HubServer, run: Run) -> None:
    files = {"onnx/model.onnx": b"", "tokenizer.json": b""}
    for number in range(5):
        hub.repositories[f"someone/model-{number}"] = Repository(files, downloads=number)
    hub.repositories["other/model-9"] = Repository(files, downloads=9, tags=("transformers.js",))
    hub.repositories["closed/model-8"] = Repository(files, downloads=8, gated=True)
    names = [model.name for model in search_hub("model", limit=3)]
    assert names == ["closed/model-8", "someone/model-4", "someone/model-3"]
    assert search_hub("MODEL-8")[0].how == "ONNX graph, float32, once its conditions are accepted"
    everything = run("models", "search", "model", "--every-library", "--json").json
    assert everything[0]["name"] == "other/model-9"
    nothing = run("models", "search", "absent")
    assert (nothing.code, nothing.out) == (0, "")
    assert "no such model: absent" in nothing.err


def test_a_search_needs_the_hub(hub: HubServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    ended = run("models", "search", "matryoshka")
    assert ended.code == 1
    assert "cannot be reached, or is switched off (HF_HUB_OFFLINE)" in ended.err
    assert run("models").code == 0


def test_static_models_are_converted() -> None:
    names = ["0_StaticEmbedding/model.safetensors", "0_StaticEmbedding/tokenizer.json"]
    assert loads([*names, "modules.json"], {}) == (True, "converted once")
    potion = ["model.safetensors", "tokenizer.json", "config.json"]
    assert loads(potion, {"model_type": "model2vec"}) == (True, "converted once")


def test_a_model_that_generates_text_is_not_an_encoder() -> None:
    names = ["model.safetensors", "tokenizer.json", "generation_config.json"]
    assert loads(names, {"model_type": "qwen3"}) == (
        False,
        "it generates text, and is not an encoder",
    )
    assert loads([*names, "modules.json"], {"model_type": "qwen3"})[0]
    graph = ["0_Transformer/onnx/model.onnx", "0_Transformer/tokenizer.json"]
    assert loads(graph, {}) == (True, "ONNX graph, float32")


def test_own_code_and_a_missing_tokenizer_are_reasons() -> None:
    weights = ["model.safetensors", "tokenizer.json"]
    possible, why = loads(weights, {"model_type": "mystery"}, own_code=True)
    assert not possible
    assert why.endswith("it comes with its own code, which is not run")
    assert loads(["model.safetensors"], {"model_type": "bert"}) == (False, "no tokenizer.json")


@pytest.mark.parametrize("width", [40, 200])
def test_a_narrow_terminal_shows_whole_names(width: int) -> None:
    names = ("someone/a-model-whose-name-is-long", "minilm")
    rows = [(name, "English, and others", "384") for name in names]
    screen = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    print_records(("model", "languages", "dims"), rows, screen, align="llr")
    lines = screen.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= width
    assert all(any(name in line for line in lines) for name in names)
    assert ("dims 384" in " ".join(" ".join(lines).split())) == (width == 40)
