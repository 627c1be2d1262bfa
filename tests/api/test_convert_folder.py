"""Folders with safetensors weights: converted once, into the cache or by the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import end_of
from safetensors.numpy import load_file, save_file
from tiny_sources import (
    DIM,
    NESTING,
    VOCABULARY,
    make_silma,
    make_static,
    save_word_pieces,
    write_json,
)
from tokenizers import Tokenizer

from nestling.encoder import Encoder
from nestling.errors import ModelError
from nestling.models import convert, store
from nestling.models.convert import conversion
from nestling.models.convert.weights import Weights

TEXTS = ["الخبز من الدقيق", "bread", "🙂 3,5", "خبز " * 100, ""]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("NESTLING_CACHE", str(folder))
    return folder / "converted"


@pytest.fixture
def silma(tmp_path: Path) -> Path:
    return make_silma(tmp_path / "silma")


def encode(source: Path, **options: Any) -> np.ndarray:
    with pytest.warns(match="truncated"):
        return Encoder(source, precision="float32", threads=1, **options).encode(TEXTS)


def converted(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if not path.name.startswith("."))


def test_a_folder_loads_by_itself_and_knows_its_nesting(silma: Path, cache: Path) -> None:
    encoder = Encoder(silma)
    assert (encoder.name, encoder.source) == ("silma", str(silma))
    assert (encoder.dim, encoder.nesting, encoder.precision) == (DIM, NESTING, "int8")
    assert encoder.max_length == 40
    exact = encode(silma)
    np.testing.assert_allclose(np.linalg.norm(exact, axis=1), 1, atol=1e-6)
    with pytest.warns(match="truncated"):
        rounded = encoder.encode(TEXTS)
    assert np.einsum("ij,ij->i", rounded, exact).min() > 0.98
    assert len(converted(cache)) == 2


def test_a_second_load_converts_nothing(silma: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = encode(silma)
    monkeypatch.setattr(conversion, "family_of", None)
    np.testing.assert_array_equal(encode(silma), first)


def test_a_second_load_imports_no_onnx(silma: Path) -> None:
    script = f"""
import sys
from nestling import Encoder
Encoder({str(silma)!r}, threads=1)
print(*(name for name in ("onnx", "safetensors") if name in sys.modules))
"""
    for _ in range(2):
        out = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert out.stdout.strip() == b""
    assert out.stderr == b""


def test_a_changed_file_is_converted_again(silma: Path, cache: Path) -> None:
    first, before = encode(silma), Encoder(silma, precision="float32").fingerprint
    tensors = load_file(silma / "model.safetensors")
    tensors["embeddings.LayerNorm.bias"] = tensors["embeddings.LayerNorm.bias"] + 1
    save_file(tensors, silma / "model.safetensors")
    assert np.abs(encode(silma) - first).max() > 0.01
    assert Encoder(silma, precision="float32").fingerprint != before
    assert len(converted(cache)) == 1  # what was made from the old file is gone


def test_the_fingerprint_is_of_the_sources(silma: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(silma, tmp_path / "elsewhere" / "silma")
    fingerprint = Encoder(silma).fingerprint
    assert Encoder(elsewhere).fingerprint == fingerprint
    (elsewhere / "README.md").write_text("Another description.", encoding="utf-8")
    assert Encoder(elsewhere).fingerprint == fingerprint
    assert Encoder(silma, precision="float32").fingerprint != fingerprint


def test_a_corrupted_file_of_the_cache_is_made_again(silma: Path, cache: Path) -> None:
    first = encode(silma)
    (path,) = cache.glob("*/onnx/model.onnx_data")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    np.testing.assert_array_equal(encode(silma), first)


def test_a_graph_in_the_folder_is_used_as_it_is(silma: Path, cache: Path) -> None:
    first = encode(silma)
    (made,) = (cache / name for name in converted(cache))
    shutil.copytree(made / "onnx", silma / "onnx")
    shutil.rmtree(cache)
    np.testing.assert_array_equal(encode(silma), first)
    assert not cache.exists()


@pytest.mark.parametrize("place", ["0_Transformer", ""])
def test_other_layouts_give_the_same(place: str, silma: Path, tmp_path: Path) -> None:
    other = make_silma(tmp_path / "other", place=place, listed=bool(place))
    np.testing.assert_array_equal(encode(other), encode(silma))


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_halves_become_float32(kind: str, silma: Path) -> None:
    exact = encode(silma)
    path = silma / "model.safetensors"
    tensors = load_file(path)
    if kind == "float16":
        save_file({name: t.astype(np.float16) for name, t in tensors.items()}, path)
        expected = {n: t.astype(np.float16).astype(np.float32) for n, t in tensors.items()}
    else:
        _save_bfloat16(tensors, path)
        expected = {
            n: (t.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
            for n, t in tensors.items()
        }
    read = Weights.open(silma)
    for name, tensor in expected.items():
        np.testing.assert_array_equal(read[name], tensor)
    halved = encode(silma)
    assert 0 < np.abs(halved - exact).max() < 0.05


def _save_bfloat16(tensors: dict[str, np.ndarray], path: Path) -> None:
    header: dict[str, Any] = {}
    parts = []
    start = 0
    for name, tensor in tensors.items():
        part = (tensor.view(np.uint32) >> 16).astype("<u2").tobytes()
        offsets = [start, start + len(part)]
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": offsets}
        parts.append(part)
        start += len(part)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(parts))


def shard(folder: Path) -> Path:
    """Cuts the weights of a folder into three files, and returns the index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = {name: f"model-0000{i % 3 + 1}-of-00003.safetensors" for i, name in enumerate(tensors)}
    for file in set(files.values()):
        save_file({n: t for n, t in tensors.items() if files[n] == file}, folder / file)
    index = folder / "model.safetensors.index.json"
    write_json(index, {"metadata": {}, "weight_map": files})
    return index


def test_weights_in_several_files(silma: Path) -> None:
    whole = encode(silma)
    index = shard(silma)
    np.testing.assert_array_equal(encode(silma), whole)
    files = json.loads(index.read_text())
    write_json(
        index,
        files
        | {"weight_map": files["weight_map"] | {"lost.weight": "model-00001-of-00003.safetensors"}},
    )
    with pytest.raises(ModelError, match=r"'lost\.weight', which no file holds"):
        Encoder(silma)
    write_json(index, {"weight_map": {"a": "../elsewhere.safetensors"}})
    with pytest.raises(ModelError, match="must be beside it"):
        Encoder(silma)
    write_json(index, files)
    (silma / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model-00002-of-00003\.safetensors: missing"):
        Encoder(silma)


def test_a_truncated_file_is_an_error(silma: Path, cache: Path) -> None:
    path = silma / "model.safetensors"
    content = path.read_bytes()
    for size in (0, 4, 100, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ModelError, match="not a complete safetensors file"):
            Encoder(silma)
    assert converted(cache) == []


def test_checkpoints_of_a_training_are_left_alone(silma: Path, cache: Path) -> None:
    shutil.copytree(silma, silma / "checkpoint-500")
    encode(silma)
    assert not list(cache.glob("*/checkpoint-500"))
    assert not list(cache.glob("**/*.safetensors"))


def test_names_of_the_oldest_checkpoints(silma: Path) -> None:
    expected = encode(silma)
    tensors = load_file(silma / "model.safetensors")
    renamed = {
        f"bert.{name}".replace("Norm.weight", "Norm.gamma").replace(
            "Norm.bias", "Norm.beta"
        ): tensor
        for name, tensor in tensors.items()
    }
    renamed["bert.embeddings.position_ids"] = np.arange(40)[None]
    renamed["cls.predictions.bias"] = np.zeros(3, np.float32)
    save_file(renamed, silma / "model.safetensors")
    np.testing.assert_array_equal(encode(silma), expected)


def _only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _adapter(folder: Path) -> None:
    write_json(folder / "adapter_config.json", {"peft_type": "LORA"})


def _own_module(folder: Path) -> None:
    write_json(folder / "modules.json", [{"path": "", "type": "custom_st.Transformer"}])


def _other_module(folder: Path) -> None:
    kind = "sentence_transformers.models.CLIPModel"
    write_json(folder / "modules.json", [{"path": "", "type": kind}])


def _outside(folder: Path) -> None:
    kind = "sentence_transformers.models.Transformer"
    write_json(folder / "modules.json", [{"path": "../other", "type": kind}])


def _classifier(folder: Path) -> None:
    (folder / "modules.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    write_json(
        folder / "config.json", config | {"architectures": ["BertForSequenceClassification"]}
    )


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _quantized(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = "encoder.layer.0.output.dense.weight"
    save_file(tensors | {name: tensors[name].astype(np.int8)}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_only_pickles, "is a pickle and could run any code, so it is never opened"),
        (_adapter, "holds an adapter"),
        (_own_module, "the module custom_st.Transformer is code of the model"),
        (_other_module, "the first module is a CLIPModel"),
        (_outside, "outside"),
        (_classifier, "a classifier or re-ranker"),
        (_no_config, "the architecture of the model is unknown"),
        (_quantized, "has the type I8"),
    ],
)
def test_what_cannot_be_converted_is_refused(
    change: Any, message: str, silma: Path, cache: Path
) -> None:
    change(silma)
    with pytest.raises(ModelError, match=message):
        Encoder(silma)
    assert not cache.exists() or converted(cache) == []


def test_a_conversion_that_gives_nonsense_is_not_installed(silma: Path, cache: Path) -> None:
    tensors = load_file(silma / "model.safetensors")
    tensors["embeddings.LayerNorm.bias"] = np.full(DIM, np.nan, np.float32)
    save_file(tensors, silma / "model.safetensors")
    with pytest.raises(ModelError, match="NaN"):
        Encoder(silma, precision="float32")
    assert converted(cache) == []


def test_a_conversion_that_was_killed_leaves_no_trace(silma: Path, cache: Path) -> None:
    script = f"""
import time
from nestling import Encoder
from nestling.models.convert import conversion
def check(target):
    print("now", flush=True)
    time.sleep(600)
conversion._check = check
Encoder({str(silma)!r})
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"now\n"
        child.send_signal(signal.SIGKILL)
    assert len(list(cache.glob(".*.partial"))) == 1
    assert converted(cache) == []
    assert Encoder(silma).dim == DIM
    assert len(converted(cache)) == 1
    assert not list(cache.glob(".*.partial"))


def test_a_hub_snapshot_is_known_by_its_commit(silma: Path, cache: Path) -> None:
    first = store.ensure_converted(silma, source="owner/name@abc")
    os.utime(silma / "config.json", (1, 1))
    assert store.ensure_converted(silma, source="owner/name@abc") == first
    assert store.ensure_converted(silma, source="owner/name@def") != first
    assert first.name.startswith("name-int8-")


def token_rows(text: str) -> list[int]:
    path = Path(os.environ["NESTLING_CACHE"]) / "tokenizer.json"
    save_word_pieces(path)
    return Tokenizer.from_file(str(path)).encode(text, add_special_tokens=False).ids


def test_a_static_table(tmp_path: Path) -> None:
    table = np.random.default_rng(0).standard_normal((len(VOCABULARY), 12)).astype(np.float32)
    folder = make_static(tmp_path / "static", {"embedding.weight": table})
    text = "الخبز bread ☃"  # the last one is unknown, and counts
    for precision, tolerance in (("float32", 1e-6), ("int8", 1e-3)):
        encoder = Encoder(folder, precision=precision)
        expected = table[token_rows(text)].mean(axis=0)
        expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(encoder.encode(text), expected, atol=tolerance)
        assert not encoder.encode("").any()


def test_a_model2vec_folder(tmp_path: Path) -> None:
    """A table of fewer rows than tokens, with weights; unknown tokens and special ones are out."""
    random = np.random.default_rng(0)
    size = len(VOCABULARY)
    rows = random.standard_normal((50, 12)).astype(np.float32)
    mapping = random.integers(0, 50, size)
    weights = random.random(size)  # float64, as it is published
    folder = tmp_path / "potion"
    save_word_pieces(folder / "tokenizer.json")
    save_file(
        {"embeddings": rows, "mapping": mapping, "weights": weights}, folder / "model.safetensors"
    )
    write_json(
        folder / "config.json", {"model_type": "model2vec", "normalize": True, "max_length": 6}
    )
    encoder = Encoder(folder, precision="float32")

    def expected(text: str) -> np.ndarray:
        ids = [i for i in token_rows(text)[:6] if i != VOCABULARY.index("[UNK]")]
        mean = (rows[mapping[ids]] * weights[ids][:, None]).mean(axis=0)
        return mean / np.linalg.norm(mean)

    for text in ("خبز", "خبز ☃ ab"):
        np.testing.assert_allclose(encoder.encode(text), expected(text), atol=1e-6)
    # Six times the median length of a token is 18 characters: a text is cut there, then to tokens.
    for text in ("abcdefghij klm", " " * 16 + "abcdef"):
        with pytest.warns(match="1 of 1 texts were longer than the 6 tokens"):
            np.testing.assert_allclose(encoder.encode(text), expected(text[:18]), atol=1e-6)
    assert not encoder.encode("☃").any()


def test_a_table_with_tensors_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    table = np.ones((len(VOCABULARY), 4), np.float32)
    folder = make_static(tmp_path / "static", {"embedding.weight": table, "bias": table[0]})
    with pytest.raises(ModelError, match=r"other tensors too: \['bias'\]"):
        Encoder(folder)


# --- The command line


def test_the_command_writes_both_graphs(
    silma: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    ended = end_of(capsys, "convert", silma, "--out", out, "--json")
    assert ended.code == 0
    facts = ended.json
    assert facts.pop("seconds") > 0
    assert facts.pop("bytes") == sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    assert facts == {
        "out": str(out),
        "model": "silma",
        "precisions": ["float32", "int8"],
        "with": "weights",
        "nesting": list(NESTING),
    }
    assert sorted(path.name for path in (out / "onnx").iterdir()) == [
        "model.onnx",
        "model.onnx_data",
        "model_int8.onnx",
    ]
    assert (out / "README.md").is_file()
    assert not list(out.rglob("*.safetensors"))
    np.testing.assert_array_equal(encode(out), encode(silma))
    assert Encoder(out).fingerprint == Encoder(silma).fingerprint


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_the_command_writes_one_graph(
    precision: str, silma: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = end_of(capsys, "convert", silma, "-o", tmp_path / "out", "--precision", precision)
    assert (ended.code, ended.out.startswith(f"{tmp_path / 'out'}: silma as {precision}")) == (
        0,
        True,
    )
    assert Encoder(tmp_path / "out").precision == precision


def test_the_command_replaces_only_what_it_wrote(
    silma: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert end_of(capsys, "convert", silma, "--out", out, "--precision", "float32").code == 0
    again = end_of(capsys, "convert", silma, "--out", out)
    assert again.code == 1
    assert "--force" in again.err
    assert end_of(capsys, "convert", silma, "--out", out, "--force").code == 0
    assert Encoder(out).precision == "int8"
    taken = end_of(capsys, "convert", silma, "--out", silma, "--force")
    assert taken.code == 1
    assert (silma / "model.safetensors").is_file()


def test_the_command_says_what_it_cannot_do(
    silma: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    config = json.loads((silma / "config.json").read_text())
    write_json(silma / "config.json", config | {"model_type": "deberta-v2"})
    ended = end_of(capsys, "convert", silma, "--out", out)
    assert ended.code == 1
    assert "a 'deberta-v2' is not converted without torch, only bert, " in ended.err
    assert "--with torch" in ended.err
    assert not out.exists()
    nowhere = end_of(capsys, "convert", tmp_path / "nowhere", "--out", out)
    assert nowhere.code == 1
    assert "neither an existing folder nor a hub id" in nowhere.err
    assert end_of(capsys, "convert", silma).code == 2


def test_torch_is_asked_for_by_name(
    silma: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    ended = end_of(capsys, "convert", silma, "--out", tmp_path / "out", "--with", "torch")
    assert ended.code == 1
    assert "pip install 'nestling[export]'" in " ".join(ended.err.split())


def test_arabic_is_found_in_an_index_of_such_a_model(
    silma: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus.jsonl"
    texts = ["الخبز يصنع من الدقيق", "الماء يغلي عند مئة درجة", "القطة تنام على السجادة"]
    lines = [json.dumps({"id": str(i), "text": text}) for i, text in enumerate(texts)]
    corpus.write_text("\n".join(lines), encoding="utf-8")
    index = end_of(capsys, "index", corpus, "--out", tmp_path / "c", "--model", silma)
    assert index.code == 0, index.err
    for i, text in enumerate(texts):
        found = end_of(capsys, "search", tmp_path / "c", text, "--mode", "dense", "--json")
        assert found.code == 0, found.err
        assert found.json["hits"][0]["id"] == str(i)


def test_the_package_exports_its_entry() -> None:
    assert convert.convert_folder is conversion.convert_folder
