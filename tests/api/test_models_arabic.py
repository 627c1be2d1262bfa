"""From a hub id to Arabic hits: a model with silma's layout, tiny and with random weights.

silma-embeddding-matryoshka-v0.1 is a BERT with AraBERT's tokenizer and without an ONNX graph; its
card gives the nesting dims.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import Run, end_of
from fake_hub import HubServer, Repository, files_of, serve_hub
from safetensors.numpy import save_file
from tiny_sources import bert_shapes, write_json
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from nestling import Collection
from nestling.encoder import Encoder

NAME = "someone/matryoshka-arabic"
DIM, LAYERS, WIDTH, POSITIONS = 768, 1, 32, 40
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[رابط]", "[بريد]", "[مستخدم]"]
DOCUMENTS = {
    "cairo": "القاهرة عاصمة مصر ويمر بها نهر النيل",
    "bread": "يصنع الخبز من الدقيق والماء والخميرة",
    "library": "مكتبة الإسكندرية من أقدم المكتبات",
    "moon": "يدور القمر حول الأرض كل شهر",
    "mail": "راسلنا على [بريد] أو زر [رابط]",
}
QUESTIONS = {
    "ما عاصمة مصر": "cairo",
    "من ماذا يصنع الخبز": "bread",
    "مكتبة الإسكندرية": "library",
    "القمر والأرض": "moon",
    "[بريد]": "mail",
}
CARD = """---
language:
- ar
- en
license: apache-2.0
library_name: sentence-transformers
tags:
- sentence-transformers
- loss:MatryoshkaLoss
---

# An Arabic model

#### Unnamed Dataset
* Loss: [<code>MatryoshkaLoss</code>](https://sbert.net/losses.html) with these parameters:
  ```json
  {
      "loss": "MultipleNegativesRankingLoss",
      "matryoshka_dims": [
          768,
          256,
          48,
          16,
          8
      ],
      "n_dims_per_step": -1
  }
  ```
"""


def save_tokenizer(folder: Path) -> int:
    """AraBERT's, without the segmenter that its older versions need; returns its size."""
    texts = [*DOCUMENTS.values(), *QUESTIONS]
    letters = sorted({letter for text in texts for letter in text if letter not in " []"})
    words = sorted({word for text in texts for word in text.split() if word not in SPECIAL})
    pieces = [*SPECIAL, "[", "]", *letters, *(f"##{letter}" for letter in letters), *words]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"))
    return len(vocabulary)


def save_weights(folder: Path, vocabulary: int) -> None:
    """Random ones, small but for those of the tokens, so that words decide what is near."""
    random, words = np.random.default_rng(0), "embeddings.word_embeddings.weight"
    shapes = bert_shapes(DIM, LAYERS, WIDTH) | {words: (vocabulary, DIM)}
    tensors = {}
    for name, shape in shapes.items():
        if len(shape) == 1:
            tensors[name] = np.full(shape, name.endswith("Norm.weight"), np.float32)
        else:
            scale = 1 if name == words else 0.02
            tensors[name] = random.standard_normal(shape).astype(np.float32) * scale
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def make_model(folder: Path) -> Path:
    folder.mkdir()
    vocabulary = save_tokenizer(folder)
    save_weights(folder, vocabulary)
    never_split = {"never_split": SPECIAL[5:], "do_basic_tokenize": True, "do_lower_case": False}
    bert = {"model_type": "bert", "architectures": ["BertModel"], "hidden_act": "gelu"}
    bert |= {"layer_norm_eps": 1e-12, "type_vocab_size": 2, "pad_token_id": 0}
    bert |= {"hidden_size": DIM, "num_hidden_layers": LAYERS, "num_attention_heads": 12}
    bert |= {"intermediate_size": WIDTH, "max_position_embeddings": POSITIONS}
    library = "sentence_transformers.models"
    files = {
        "config.json": bert | {"vocab_size": vocabulary},
        "tokenizer_config.json": never_split
        | {"model_max_length": POSITIONS, "tokenizer_class": "BertTokenizer", "pad_token": "[PAD]"},
        "special_tokens_map.json": {"pad_token": "[PAD]", "unk_token": "[UNK]"},
        "sentence_bert_config.json": {"max_seq_length": POSITIONS, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": f"{library}.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{library}.Pooling"},
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": DIM,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "include_prompt": True,
        },
    }
    for name, content in files.items():
        write_json(folder / name, content)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    (folder / "training_args.bin").write_bytes(b"a pickle")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("silma") / "model")


@pytest.fixture
def hub(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setenv("NESTLING_CACHE", str(tmp_path / "cache"))
    with serve_hub(monkeypatch, tmp_path / "hf") as server:
        server.repositories[NAME] = Repository(files_of(model), config={"model_type": "bert"})
        yield server


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return lambda *arguments: end_of(capsys, *arguments)


def test_an_arabic_corpus_is_indexed_and_searched_by_a_hub_id(
    hub: HubServer, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"id": id, "text": text}) for id, text in DOCUMENTS.items()]
    corpus.write_text("\n".join(lines), encoding="utf-8")
    folder = tmp_path / "maktaba"

    (listed,) = run("models", "search", "matryoshka", "--json").json
    assert (listed["name"], listed["loads"], listed["how"]) == (NAME, True, "converted once")

    made = run("index", corpus, "--model", NAME, "--out", folder, "--json")
    assert made.code == 0, made.err
    assert made.json["documents"] == len(DOCUMENTS)
    assert "training_args.bin" not in hub.fetched()
    assert {"model.safetensors", "README.md", "1_Pooling/config.json"} <= hub.fetched()

    facts = run("info", folder, "--json").json
    assert facts["funnel"] == "48@4:1000 > 256@8:200 > 768@16"
    assert (facts["model"], facts["dim"]) == (NAME, DIM)

    for question, expected in QUESTIONS.items():
        (hit,) = run("search", folder, question, "-k", 1, "--json").json["hits"]
        assert hit["id"] == expected

    cached = {entry["name"]: entry for entry in run("models", "--json").json}[NAME]
    assert (cached["dim"], cached["nesting"]) == (DIM, [8, 16, 48, 256, 768])
    assert (cached["licence"], cached["disk"] > 0) == ("apache-2.0", True)

    # Later, without a network: what was fetched and converted is enough.
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    requests = len(hub.requests)
    with Collection(folder) as maktaba:
        assert maktaba.search("عاصمة مصر", k=1)[0].id == "cairo"
    assert len(hub.requests) == requests


def test_it_nests_as_its_card_says_and_ignores_the_company_of_a_text(hub: HubServer) -> None:
    encoder = Encoder(NAME, precision="float32")
    assert encoder.name == NAME
    assert encoder.nesting == (8, 16, 48, 256, 768)
    assert encoder.max_length == POSITIONS
    texts = [*DOCUMENTS.values(), ""]
    together = encoder.encode(texts)
    alone = np.stack([encoder.encode(text) for text in texts])
    np.testing.assert_allclose(together, alone, atol=2e-6)
    prefix = together[:, :48] / np.linalg.norm(together[:, :48], axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(texts, dim=48), prefix, atol=2e-6)
    # Placeholders are one token each, and are not split at their brackets.
    rows, _ = encoder.embedder.tokenize(["[رابط]"])
    assert rows[0].tolist() == [2, SPECIAL.index("[رابط]"), 3]
