"""Encoders as torch networks: the built-in ones, folders of sentence-transformers, hub ids."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling.errors import ModelError, ModelNotFoundError
from nestling.models.cards import BUILT_IN, ModelCard, card
from nestling.models.fetch import fetch
from nestling.models.hub import hub_unreachable
from nestling.training.packages import require_sentence_transformers

__all__ = ["TorchEncoder", "blend_weights", "digest_of", "load_network", "prompt_of"]

_TOKENS: Final = {
    "[PAD]": {
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "unk_token": "[UNK]",
        "mask_token": "[MASK]",
    },
    "<pad>": {
        "pad_token": "<pad>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    },
}


def blend_weights(network: Any, first: Mapping[str, Any], share: float) -> None:
    """Sets each weight of a network to a mean of its value and its original value.

    The mean of the weights before and after keeps most of what was learnt, and what was known of
    other fields (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").

    Args:
        network: A `SentenceTransformer`.
        first: Its state before the training, on the CPU.
        share: Share of the present value, 0 to 1.
    """
    import torch

    trained = network.state_dict()
    mixed = {
        name: torch.lerp(first[name].to(value.device), value, share)
        for name, value in trained.items()
        if value.is_floating_point()
    }
    network.load_state_dict(trained | mixed)


def load_network(name_or_folder: str | os.PathLike[str]) -> Any:
    """Returns an encoder as a `SentenceTransformer`, on a GPU where there is one.

    Args:
        name_or_folder: A built-in name whose model is a BERT, a folder in the layout of
            sentence-transformers with torch weights, or the hub id of one.

    Raises:
        PackageError: The extra `train` is not installed.
        ModelNotFoundError: It is not one of the three.
        ModelError: It has no weights that torch can train.
        DownloadError: A built-in model could not be fetched.
    """
    require_sentence_transformers()
    import torch

    with torch.random.fork_rng(devices=[]):
        # Weights that a folder lacks, such as those of BERT's pooler, are drawn: always the same.
        torch.manual_seed(0)
        return _network(name_or_folder)


def _network(name_or_folder: str | os.PathLike[str]) -> Any:
    sentence_transformers = require_sentence_transformers()
    name = os.fspath(name_or_folder)
    if isinstance(name_or_folder, str) and name in BUILT_IN:
        return _built_in(card(name))
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
            raise ModelError(
                f"{folder} has no config.json and no modules.json: torch weights in the layout of "
                "sentence-transformers are needed, an ONNX graph cannot be trained"
            )
        return _load(sentence_transformers, str(folder), local=True)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelNotFoundError(
            f"{name!r} is not a built-in model ({', '.join(BUILT_IN)}), an existing folder, or a "
            "hub id (owner/name)"
        )
    # Otherwise its library gives up only after a minute of retries.
    return _load(sentence_transformers, name, local=hub_unreachable())


def digest_of(network: Any) -> str:
    """Returns 16 hexadecimal digits that the weights of a network determine."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().float().numpy()).data)
    return digest.hexdigest()[:16]


class TorchEncoder:
    """A network as an encoder for evaluations (`nestling.runtime.text_encoder.TextEncoder`).

    Args:
        network: A `SentenceTransformer`.
        name: Its name in tables.
        nesting: Its prefix lengths.
        batch_size: Texts encoded at once.
    """

    def __init__(
        self, network: Any, *, name: str, nesting: Iterable[int] = (), batch_size: int = 32
    ) -> None:
        self._network = network
        self._batch_size = batch_size
        self.name = name
        self.nesting = tuple(sorted(nesting))
        self.dim = int(network.get_embedding_dimension())

    def encode(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Encodes documents: (n, dim) float32 at unit length."""
        return self._encode(texts, prompt_of(self._network, ("document", "passage", "corpus")))

    def encode_queries(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Encodes questions: (m, dim) float32 at unit length."""
        return self._encode(texts, prompt_of(self._network, ("query",)))

    def _encode(self, texts: Iterable[str], prompt: str) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = self._network.encode(
            [prompt + text for text in texts],
            prompt="",
            batch_size=self._batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )
        return vectors


def prompt_of(network: Any, names: Iterable[str]) -> str:
    """Returns the prompt that `nestling.Encoder` puts before texts of a kind, the first known."""
    prompts: Mapping[str, str] = network.prompts
    for name in (*names, network.default_prompt_name):
        if name is not None and name in prompts:
            return prompts[name]
    return ""


def _load(package: Any, name: str, *, local: bool) -> Any:
    try:
        return package.SentenceTransformer(name, local_files_only=local)
    except Exception as error:  # of many kinds: files, hub, configuration
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"cannot load the torch model {name!r}: {reason[0]}") from error


def _built_in(model: ModelCard) -> Any:
    """Builds the network of a built-in BERT from the weights that its card names."""
    package = require_sentence_transformers()
    # Imported here because both take seconds to import.
    import torch
    import transformers

    from nestling.models.convert import BERTS, bert_weights

    if model.name not in BERTS:
        raise ModelError(
            f"{model.name} is not a BERT and cannot be trained; {', '.join(BERTS)} can"
        )
    with tempfile.TemporaryDirectory(prefix="nestling-") as scratch:
        source, target = Path(scratch, "source"), Path(scratch, "target")
        source.mkdir()
        target.mkdir()
        fetch(model, source)
        weights, config = bert_weights(model, source, target)
        words = weights["embeddings.word_embeddings.weight"]
        bert = transformers.BertModel(
            transformers.BertConfig(
                vocab_size=words.shape[0],
                hidden_size=words.shape[1],
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=len(weights["encoder.layer.0.intermediate.dense.bias"]),
                max_position_embeddings=len(weights["embeddings.position_embeddings.weight"]),
                type_vocab_size=len(weights["embeddings.token_type_embeddings.weight"]),
                layer_norm_eps=config.epsilon,
            )
        )
        # BERT's pooler plays no part in the embedding, and not every source has it.
        drawn = {k: v for k, v in bert.state_dict().items() if k.startswith("pooler.")}
        known = {k: v for k, v in weights.items() if k in bert.state_dict()}
        bert.load_state_dict(drawn | {k: torch.tensor(v) for k, v in known.items()})
        bert.save_pretrained(target)
        vocabulary = json.loads((target / "tokenizer.json").read_text("utf-8"))
        padding = next(t["content"] for t in vocabulary["added_tokens"] if t["content"] in _TOKENS)
        transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(target / "tokenizer.json"),
            model_max_length=model.max_length,
            **_TOKENS[padding],
        ).save_pretrained(target)
        modules = package.sentence_transformer.modules
        transformer = modules.Transformer(str(target))
        pooling = modules.Pooling(model.dim, pooling_mode="mean")
        return package.SentenceTransformer(
            modules=[transformer, pooling, modules.Normalize()],
            prompts={
                "query": model.prompts.get("query", ""),
                "document": model.prompts.get("passage", ""),
            },
        )
