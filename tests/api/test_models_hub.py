"""Models from the hub: which files are fetched, and what is said where that is impossible."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_hub import HubServer, Repository, files_of, serve_hub, use_hub
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import token_graph

from nestling.encoder import Encoder
from nestling.errors import (
    ArgumentError,
    DownloadError,
    ModelError,
    ModelNotFoundError,
    StorageError,
)
from nestling.models.hub import choose_files, hub_folder
from nestling.runtime.graph_files import choose_graph, unusable_graphs

NAME = "someone/something"
MakeFolder = Callable[..., Path]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with serve_hub(monkeypatch, tmp_path / "hf") as server:
        yield server


@pytest.fixture
def closed() -> str:
    """An address on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


def publish(hub: HubServer, folder: Path, **extra: bytes | str) -> Repository:
    files = files_of(folder) | {
        name: text.encode() if isinstance(text, str) else text for name, text in extra.items()
    }
    hub.repositories[NAME] = Repository(files)
    return hub.repositories[NAME]


def published(make_folder: MakeFolder, **files: Any) -> Path:
    return make_folder(token_graph(), special=False, files={**POOLING, **files})


POOLING = {"1_Pooling/config.json": {"pooling_mode_mean_tokens": True}}

# Which files


SENTENCE_TRANSFORMERS = [
    *("onnx/model.onnx", "onnx/model_O1.onnx", "onnx/model_O2.onnx", "onnx/model_O3.onnx"),
    *("onnx/model_O4.onnx", "onnx/model_qint8_arm64.onnx", "onnx/model_qint8_avx512.onnx"),
    *("onnx/model_qint8_avx512_vnni.onnx", "onnx/model_quint8_avx2.onnx"),
]
TRANSFORMERS_JS = [
    f"onnx/model{kind}.onnx"
    for kind in ("", "_quantized", "_int8", "_uint8", "_fp16", "_q4", "_q4f16", "_bnb4")
]


@pytest.mark.parametrize(
    ("names", "cpu", "int8", "float32"),
    [
        (SENTENCE_TRANSFORMERS, "x86-vnni", "_qint8_avx512_vnni", ""),
        (SENTENCE_TRANSFORMERS, "x86", "_quint8_avx2", ""),
        (SENTENCE_TRANSFORMERS, "arm64", "_qint8_arm64", ""),
        (SENTENCE_TRANSFORMERS[6:7], "x86-vnni", "_qint8_avx512", "_qint8_avx512"),
        (SENTENCE_TRANSFORMERS[1:5], "x86-vnni", "_O1", "_O1"),
        (TRANSFORMERS_JS, "x86-vnni", "_int8", ""),
        (TRANSFORMERS_JS, "x86", "_uint8", ""),
        (TRANSFORMERS_JS, "arm64", "_int8", ""),
        (TRANSFORMERS_JS[1:2], "arm64", "_quantized", "_quantized"),
    ],
)
def test_the_graph_of_the_precision_and_for_the_cpu_is_chosen(
    names: list[str], cpu: Any, int8: str, float32: str
) -> None:
    for precision, kind in (("int8", int8), ("float32", float32)):
        chosen = choose_graph(names, precision, cpu)
        assert chosen is not None
        assert chosen.graph == f"onnx/model{kind}.onnx"


@pytest.mark.parametrize(
    "data",
    [
        ["_data"],
        [".data"],
        ["_data", "_data_1", "_data_2"],
        ["_data-00001-of-00002", "_data-00002-of-00002"],
    ],
)
def test_a_graph_comes_with_its_data_alone(data: list[str]) -> None:
    own = [f"onnx/model.onnx{suffix}" for suffix in data]
    others = ["onnx/model_fp16.onnx_data", "model.onnx_data", "onnx/model_int8.onnx.data"]
    chosen = choose_graph(["onnx/model.onnx", *own, *others])
    assert chosen is not None
    assert list(chosen.data) == sorted(own)


KINDS = ("", "_O1", "_O4", "_fp16", "_q4", "_int8", "_quantized", "_qint8_arm64", "_quint8_avx2")
GRAPHS = st.builds(
    "{}model{}.onnx{}".format,
    st.sampled_from(["", "onnx/", "openvino/"]),
    st.sampled_from(KINDS),
    st.sampled_from(["", "", "_data", ".data", "_data_1"]),
)
OTHERS = st.sampled_from(
    [
        *("model.safetensors", "model-00001-of-00002.safetensors", "2_Dense/model.safetensors"),
        *("model.safetensors.index.json", "pytorch_model.bin", "modeling.py", "config.json"),
        *("tokenizer.json", "vocab.txt", "1_Pooling/config.json", "checkpoint-5/model.safetensors"),
        *("2_Dense/pytorch_model.bin", "onnx/decoder.onnx", "README.md", "runs/events.json"),
    ]
)


@given(
    names=st.sets(st.one_of(GRAPHS, OTHERS), max_size=14),
    precision=st.sampled_from(["int8", "float32"]),
)
def test_any_repository_gives_one_graph_with_its_data_or_its_weights_or_a_refusal(
    names: set[str], precision: Any
) -> None:
    files, refusal = None, ""
    try:
        files = choose_files(names, precision)
    except ModelError as error:
        refusal = str(error)
    if files is None:
        assert choose_graph(names) is None
        assert "model.safetensors" not in names
        assert all(name in refusal for name in names if name.endswith(".onnx"))
        return
    fetched = [*files.small, *files.graph, *files.weights]
    assert len(set(fetched)) == len(fetched)
    assert set(fetched) <= names
    graphs = [name for name in fetched if name.endswith(".onnx")]
    assert len(graphs) == (not files.weights)
    for graph in graphs:
        data = {name for name in names if name.startswith(f"{graph}_d")}
        assert data | {n for n in names if n.startswith(f"{graph}.d")} == set(files.graph[1:])
        usable = {n for n in names if n.endswith(".onnx") and choose_graph([n]) is not None}
        wanted = {n for n in usable if choose_graph([n]).precision == precision}  # type: ignore[union-attr]
        assert graph in (wanted or usable)
    assert not [name for name in fetched if name.endswith((".bin", ".py"))]
    assert {"config.json", "tokenizer.json", "vocab.txt", "README.md"} & names <= set(fetched)
    assert {"1_Pooling/config.json", "2_Dense/model.safetensors"} & names <= set(fetched)
    assert not [name for name in fetched if name.startswith(("checkpoint", "runs", "openvino"))]


def test_of_other_files_only_those_of_a_tokenizer_are_chosen() -> None:
    tokenizer = ["merges.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model"]
    others = ["train.txt", "lid.176.model", "requirements.txt", "pytorch_model.bin.index.json"]
    files = choose_files(["onnx/model.onnx", *tokenizer, *others, "docs/README.md"])
    assert sorted(files.small) == tokenizer


def test_shards_come_with_their_index() -> None:
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = "model.safetensors.index.json"
    files = choose_files([*shards, index, "pytorch_model.bin", "config.json"])
    assert sorted(files.weights) == sorted([*shards, index])


def test_the_weights_of_the_first_module_are_those_of_its_folder() -> None:
    names = ["0_Transformer/model.safetensors", "0_Transformer/config.json", "2_Dense/config.json"]
    names += ["2_Dense/model.safetensors", "2_Dense/pytorch_model.bin"]
    files = choose_files(names, modules=["0_Transformer", "1_Pooling", "2_Dense"])
    assert files.weights == ("0_Transformer/model.safetensors",)
    assert set(files.small) == set(names[1:4])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["onnx/model_fp16.onnx"], r"cannot be used: onnx/model_fp16\.onnx \(16-bit floats\)"),
        (["model_q4.onnx", "model_O4.onnx"], r"model_O4.* \(16-bit.*model_q4.* \(4 bits or fewer"),
        (["model_bnb4.onnx"], r"model_bnb4\.onnx \(4 bits or fewer\)"),
        (
            ["pytorch_model.bin"],
            r"no ONNX graph.*pickle files such as pytorch_model\.bin are",
        ),
        (["config.json"], r"no ONNX graph, and no model\.safetensors to convert$"),
    ],
)
def test_a_repository_without_a_usable_graph_says_what_it_has(
    names: list[str], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        choose_files(names)


def test_a_folder_names_the_graphs_that_it_cannot_use(make_folder: MakeFolder) -> None:
    folder = make_folder(place="onnx/model_fp16.onnx")
    with pytest.raises(ModelError, match=r"cannot be used: onnx/model_fp16\.onnx \(16-bit floats"):
        Encoder(folder)
    assert unusable_graphs(["onnx/model.onnx"]) == ""


# From the hub


def test_a_hub_id_fetches_one_graph_and_the_small_files(
    make_folder: MakeFolder, hub: HubServer
) -> None:
    folder = published(make_folder)
    expected = Encoder(folder).encode("cat dog")
    graph = (folder / "onnx/model.onnx").read_bytes()
    others = {"onnx/model_fp16.onnx": b"half", "onnx/model_q4.onnx": b"four"}
    others |= {"pytorch_model.bin": b"pickle", "model.safetensors": b"weights", "run.py": b"1"}
    publish(hub, folder, **others)
    encoder = Encoder(NAME)
    np.testing.assert_array_equal(encoder.encode("cat dog"), expected)
    assert encoder.name == encoder.source == NAME
    assert (encoder.path / "onnx/model.onnx").read_bytes() == graph
    small = {"tokenizer.json", "modules.json", "1_Pooling/config.json"}
    assert hub.fetched() == {"onnx/model.onnx", *small} == set(files_of(encoder.path))
    before = len(hub.requests)
    assert Encoder(NAME).fingerprint == encoder.fingerprint
    assert not [
        line for line in hub.requests[before:] if line.startswith("GET") and "/resolve/" in line
    ]


def test_external_data_of_any_name_is_fetched(make_folder: MakeFolder, hub: HubServer) -> None:
    onnx = pytest.importorskip("onnx")
    folder = published(make_folder)
    expected = Encoder(folder).encode("cat dog")
    path = folder / "onnx/model.onnx"
    model = onnx.load(str(path))
    onnx.save(
        model,
        str(path),
        save_as_external_data=True,
        all_tensors_to_one_file=False,
        size_threshold=0,
    )
    assert (folder / "onnx/table").is_file()
    publish(hub, folder, **{"onnx/notes": b"of no use"})
    np.testing.assert_array_equal(Encoder(NAME).encode("cat dog"), expected)
    assert "onnx/table" in hub.fetched()
    assert "onnx/notes" not in hub.fetched()


def test_modules_json_names_the_folders_to_fetch(make_folder: MakeFolder, hub: HubServer) -> None:
    modules = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"}
        for path, kind in (("", "Transformer"), ("pool", "Pooling"))
    ]
    files = {"modules.json": modules, "pool/config.json": {"pooling_mode_cls_token": True}}
    folder = make_folder(token_graph(), special=False, files=files)
    publish(hub, folder, **{"other/config.json": b"{}"})
    np.testing.assert_array_equal(Encoder(NAME).encode("cat dog"), Encoder(folder).encode("cat"))
    assert "pool/config.json" in hub.fetched()
    assert "other/config.json" not in hub.fetched()


def test_a_revision_is_fetched_and_remembered(make_folder: MakeFolder, hub: HubServer) -> None:
    repository = publish(hub, published(make_folder))
    repository.branches = ("main", "v2")
    for revision in ("v2", repository.commit):
        encoder = Encoder(NAME, revision=revision)
        assert encoder.overrides.given() == {"revision": revision}
        assert f"revision={revision!r}" in repr(encoder)
    with pytest.raises(ModelNotFoundError, match=r"someone/something has no revision 'v3'"):
        Encoder(NAME, revision="v3")
    for other in ("minilm", published(make_folder)):
        with pytest.raises(ArgumentError, match="is for a model of the hub"):
            Encoder(other, revision="v2")


def test_without_a_network_the_cache_is_used(
    make_folder: MakeFolder, hub: HubServer, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    publish(hub, published(make_folder))
    expected = Encoder(NAME).fingerprint
    asked = len(hub.requests)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert Encoder(NAME).fingerprint == expected
    with pytest.raises(DownloadError, match=r"HF_HUB_OFFLINE is set, and the cache .* lacks it"):
        Encoder("someone/else")
    with pytest.raises(DownloadError, match=r"lacks it at revision 'v2'\.\n.*give its folder"):
        Encoder(NAME, revision="v2")
    assert len(hub.requests) == asked
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", closed)
    assert Encoder(NAME).fingerprint == expected
    with pytest.raises(DownloadError, match=f"{re.escape(closed)}: it cannot be reached"):
        Encoder("someone/else")


def test_where_the_hub_answers_with_an_error_the_cache_is_used(
    make_folder: MakeFolder, hub: HubServer
) -> None:
    publish(hub, published(make_folder))
    expected = Encoder(NAME).fingerprint
    hub.broken = True
    assert Encoder(NAME).fingerprint == expected
    with pytest.raises(DownloadError, match=r"cannot fetch 'someone/else' .*500"):
        Encoder("someone/else")


def test_an_unknown_or_private_repository_is_named(
    make_folder: MakeFolder, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no repository 'someone/something'.*HF_TOKEN"):
        Encoder(NAME)
    publish(hub, published(make_folder)).private = True
    with pytest.raises(ModelNotFoundError, match=r"for a private one give a token"):
        Encoder(NAME)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert Encoder(NAME).name == NAME


@pytest.mark.parametrize("offline", [False, True])
def test_a_name_that_the_hub_does_not_allow_is_refused(
    hub: HubServer, offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    for name in ("a..b/c", "a/b--c", f"a/{'b' * 200}"):
        with pytest.raises(ModelNotFoundError, match=f"'{name}' is not a hub id: "):
            Encoder(name)
    assert hub.requests == []


def test_a_gated_repository_needs_a_token(
    make_folder: MakeFolder, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hub, published(make_folder)).gated = True
    with pytest.raises(ModelError, match=r"^someone/something is gated: accept .*HF_TOKEN\)$"):
        Encoder(NAME)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert Encoder(NAME).name == NAME


def test_a_repository_that_cannot_run_is_refused_before_it_is_fetched(hub: HubServer) -> None:
    hub.repositories[NAME] = Repository(
        {"onnx/model_fp16.onnx": b"x", "pytorch_model.bin": b"x", "config.json": b"{}"}
    )
    with pytest.raises(ModelError, match=r"something cannot be run: .*model_fp16.*pytorch_model"):
        Encoder(NAME)
    assert hub.fetched() == set()


def test_the_mirror_and_the_home_of_the_environment_are_used(
    make_folder: MakeFolder, hub: HubServer, tmp_path: Path
) -> None:
    publish(hub, published(make_folder))
    script = f"from nestling import Encoder; print(Encoder({NAME!r}).path)"
    home = tmp_path / "home"
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.strip()).is_relative_to(home)


def test_a_hub_id_without_huggingface_hub_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DownloadError, match=r"pip install 'nestling\[hub\]', or give a folder"):
        Encoder(NAME)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (OSError("500: out of order\nmore"), DownloadError, "out of order\\.\nCheck the network"),
        (OSError(errno.ENOSPC, "No space"), StorageError, "disk is full while fetching someone/"),
    ],
)
def test_what_the_hub_answers_is_reported(
    error: Exception, kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Api:
        def __init__(self, **_: Any) -> None:
            pass

        def model_info(self, *_: Any, **__: Any) -> Any:
            raise error

    nothing_cached: Any = lambda *_, **__: None  # noqa: E731
    use_hub(monkeypatch, HfApi=Api, try_to_load_from_cache=nothing_cached)  # type: ignore[arg-type]
    with pytest.raises(kind, match=message):
        Encoder(NAME)


def test_a_network_that_swallows_everything_is_not_waited_for(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, answered = threading.Event(), threading.Event()

    def swallow(*_: Any, **__: Any) -> Any:
        ended.wait(60)
        answered.set()
        raise OSError("timed out")

    monkeypatch.setattr(socket, "getaddrinfo", swallow)
    with pytest.raises(DownloadError, match="cannot be reached"):
        hub_folder(NAME)
    assert not answered.is_set()
    ended.set()


def test_a_hub_whose_name_is_unknown_cannot_be_reached(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "https://hub.example")
    with pytest.raises(DownloadError, match=r"https://hub\.example: it cannot be reached"):
        hub_folder(NAME)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_behind_a_proxy_the_library_is_trusted_to_reach_the_hub(
    hub: HubServer, variable: str, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    calls: list[str] = []

    def model_info(*_: Any, **__: Any) -> Any:
        calls.append("asked")
        raise OSError("it was asked")

    monkeypatch.setenv(variable, "http://proxy.example:3128")
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", closed)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    with pytest.raises(DownloadError, match="it was asked"):
        hub_folder(NAME)
    assert calls == ["asked"]


def test_a_graph_in_the_folder_of_the_transformer_is_found() -> None:
    names = ["0_Transformer/onnx/model.onnx", "0_Transformer/onnx/model.onnx_data"]
    names += ["0_Transformer/tokenizer.json", "onnx/model_fp16.onnx"]
    files = choose_files(names, modules=["0_Transformer", "1_Pooling"])
    assert files.graph == tuple(names[:2])
    assert files.small == tuple(names[2:3])
