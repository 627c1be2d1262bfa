"""Texts and tokens a second of `Encoder.encode`, and of the same model run in other ways.

The naive run takes the texts in their order, in batches of 64, each padded to its longest, as a
loop around ONNX Runtime does. In float32 both give the same vectors, which is asserted. "dynamic"
is int8 as most models are published in it: by ONNX Runtime's `quantize_dynamic`, which scales
activations by the extremes of a batch, so that each text has a run of its own. The cosine with the
float32 vectors is recorded for all.
"""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tokenizers
from onnxruntime.quantization import quantize_dynamic

from nestling.encoder import Encoder, TruncationWarning
from nestling.models import ModelFolder, locate

MODEL = os.environ.get("NESTLING_BENCH_MODEL", "minilm")
TEXTS = int(os.environ.get("NESTLING_BENCH_TEXTS", "256"))
BATCH = 64


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Runs of 2 to 150 words from this package's own source, most of them short."""
    import nestling.encoder

    package = Path(nestling.encoder.__file__).parent
    words = " ".join(p.read_text(encoding="utf-8") for p in sorted(package.rglob("*.py"))).split()
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.lognormal(3.2, 0.9, TEXTS), 2, 150).astype(int)
    starts = generator.integers(0, len(words) - 150, TEXTS)
    return [" ".join(words[a : a + n]) for a, n in zip(starts, lengths, strict=True)]


@pytest.fixture(scope="module")
def exact(texts: list[str]) -> np.ndarray:
    """The float32 vectors, that the others are compared with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        return Encoder(MODEL, precision="float32").encode(texts)


class Naive:
    """The model's own tokenizer and graph, with no thought for lengths."""

    def __init__(self, precision: Any, threads: int, max_length: int) -> None:
        folder = ModelFolder.read(locate(MODEL, precision=precision), precision=precision)
        self.prompt = folder.prompts.get("passage", "")
        self.special = folder.text.special_tokens
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder.tokenizer))
        self.tokenizer.enable_truncation(max_length)
        self.tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            str(folder.graph), options, providers=["CPUExecutionProvider"]
        )

    def encode(self, texts: list[str]) -> np.ndarray:
        vectors = []
        for start in range(0, len(texts), BATCH):
            batch = [self.prompt + text for text in texts[start : start + BATCH]]
            encodings = self.tokenizer.encode_batch(batch, add_special_tokens=self.special)
            mask = np.array([e.attention_mask for e in encodings], np.int64)
            feeds = {"input_ids": np.array([e.ids for e in encodings]), "attention_mask": mask}
            vectors.append(self.session.run(["sentence_embedding"], feeds)[0])
        return np.concatenate(vectors)


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's folder, with a graph made by `quantize_dynamic`."""
    source = locate(MODEL, precision="float32")
    folder = tmp_path_factory.mktemp("dynamic")
    for path in source.glob("*.json"):
        shutil.copyfile(path, folder / path.name)
    (folder / "onnx").mkdir()
    quantize_dynamic(
        ModelFolder.read(source, precision="float32").graph,
        folder / "onnx" / "model_int8.onnx",
        per_channel=True,
        op_types_to_quantize=["MatMul"],
        extra_options={"MatMulConstBOnly": True},
    )
    return folder


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", ["int8", "float32"])
@pytest.mark.parametrize("way", ["nestling", "naive", "dynamic"])
def test_encode(
    benchmark: Any,
    texts: list[str],
    exact: np.ndarray,
    dynamic: Path,
    way: str,
    precision: Any,
    threads: int,
) -> None:
    if way == "dynamic" and precision != "int8":
        pytest.skip("it is int8")
    model = dynamic if way == "dynamic" else MODEL
    encoder = Encoder(model, precision=precision, threads=threads)
    naive = Naive(precision, threads, encoder.max_length or 512)
    benchmark.group = f"encode {MODEL} {precision}, {threads} threads"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        if way != "naive":
            got = benchmark.pedantic(encoder.encode, (texts,), rounds=3, warmup_rounds=1)
        else:
            got = benchmark.pedantic(naive.encode, (texts,), rounds=3, warmup_rounds=1)
    cosines = np.einsum("ij,ij->i", got, exact)
    if precision == "float32":
        np.testing.assert_allclose(got, exact, atol=1e-5)
    assert cosines.min() > (0.95 if precision == "int8" else 0.9999)
    tokens = sum(
        len(e.ids) - e.attention_mask.count(0) for e in naive.tokenizer.encode_batch(texts)
    )
    seconds = benchmark.stats.stats.min
    benchmark.extra_info |= {
        "texts_per_s": round(len(texts) / seconds, 1),
        "tokens_per_s": round(tokens / seconds),
        "tokens_per_text": round(tokens / len(texts), 1),
        "cosine_with_float32": f"mean {cosines.mean():.4f}, least {cosines.min():.4f}",
    }
