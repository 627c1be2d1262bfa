"""The architectures that are converted without torch, by the model_type of their config.json."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from nestling.errors import ModelError
from nestling.models.convert import bert, decoder, gemma3, modernbert, mpnet, nomic_bert
from nestling.models.convert.config import Config
from nestling.models.convert.graph import GraphBuilder
from nestling.models.convert.weights import Weights
from nestling.models.source import refused

__all__ = ["FAMILIES", "Family", "family_of", "supported"]


# What gains and offsets of layer norms are called in the oldest checkpoints of BERT.
_OLD_GAIN: Final = (r"LayerNorm\.gamma$", "LayerNorm.weight")
_OLD_BIAS: Final = (r"LayerNorm\.beta$", "LayerNorm.bias")
_BUFFERS: Final = ("rotary_emb.inv_freq", "position_ids")  # constants that some checkpoints hold


@dataclass(frozen=True, slots=True)
class Family:
    """How one architecture becomes a graph.

    Attributes:
        read: Returns the hyperparameters in a config.json, and refuses those that the graph would
            not honour.
        add: Adds the network to a graph and returns its token embeddings, (batch, sequence, dim):
            the `last_hidden_state` of transformers.
        anchor: A tensor that every checkpoint of it has, whose prefix is that of all others.
        rename: Returns its tensors by the names that `add` expects.
        heads: Beginnings of the names of tensors that do not affect token embeddings.
        own_code: Whether models of it come with their own code, which `add` does the same as.
    """

    read: Callable[[Config], Any]
    add: Callable[[GraphBuilder, Weights, Any], str]
    anchor: str
    rename: Callable[[Weights], Weights] = lambda weights: weights
    heads: tuple[str, ...] = ()
    own_code: bool = False

    def weights(self, checkpoint: Weights) -> Weights:
        """Returns the tensors of the network in a checkpoint, by the names that `add` expects."""
        inside = checkpoint.below(self.anchor)
        return self.rename(
            inside.renamed(lambda name: re.sub(*_OLD_GAIN, re.sub(*_OLD_BIAS, name)))
        )

    def check_unused(self, weights: Weights) -> None:
        """Checks that only heads were left out; another tensor means that something differs.

        Raises:
            ModelError: A tensor is of no head; the message names it.
        """
        surplus = [
            name
            for name in weights.unused()
            if not (name.startswith(self.heads) or name.endswith(_BUFFERS))
        ]
        if surplus:
            named = ", ".join(map(repr, surplus[:5])) + (" …" if len(surplus) > 5 else "")
            raise refused(
                f"the checkpoint holds tensors that this architecture does not have: {named}"
            )


# Heads of pre-training and of classifiers. Those of a checkpoint without a prefix are beside the
# network itself.
_BERT_HEADS: Final = (
    *("pooler.", "cls.", "lm_head.", "classifier.", "qa_outputs.", "vocab_", "pre_classifier."),
    *("discriminator_", "generator_"),
)
_WORDS: Final = "embeddings.word_embeddings.weight"
_BERT: Final = Family(bert.read_bert, bert.add_bert, _WORDS, heads=_BERT_HEADS)
_ROBERTA: Final = Family(bert.read_roberta, bert.add_bert, _WORDS, heads=_BERT_HEADS)

_GTE: Final = Family(
    nomic_bert.read_gte,
    nomic_bert.add_nomic_bert,
    _WORDS,
    rename=nomic_bert.gte_names,
    heads=_BERT_HEADS,
    own_code=True,
)
_EMBED: Final = "embed_tokens.weight"
_DECODER_HEADS: Final = ("lm_head.", "score.")


def _decoder(read: Callable[[Config], Any], *, own_code: bool = False) -> Family:
    return Family(read, decoder.add_decoder, _EMBED, heads=_DECODER_HEADS, own_code=own_code)


FAMILIES: Final[Mapping[str, Family]] = MappingProxyType(
    {
        "bert": _BERT,
        "electra": _BERT,
        "roberta": _ROBERTA,
        "xlm-roberta": _ROBERTA,
        "camembert": _ROBERTA,
        "distilbert": Family(
            bert.read_distilbert,
            bert.add_bert,
            _WORDS,
            rename=bert.distilbert_names,
            heads=_BERT_HEADS,
        ),
        "mpnet": Family(mpnet.read_mpnet, mpnet.add_mpnet, _WORDS, heads=_BERT_HEADS),
        "modernbert": Family(
            modernbert.read_modernbert,
            modernbert.add_modernbert,
            "embeddings.tok_embeddings.weight",
            heads=("head.", "decoder.", "classifier."),
        ),
        "nomic_bert": Family(
            nomic_bert.read_nomic_bert,
            nomic_bert.add_nomic_bert,
            _WORDS,
            rename=nomic_bert.nomic_names,
            heads=_BERT_HEADS,
            own_code=True,
        ),
        "new": _GTE,
        "gte": _GTE,
        "llama": _decoder(decoder.read_llama),
        "mistral": _decoder(decoder.read_mistral),
        "qwen2": _decoder(decoder.read_qwen),
        "qwen3": _decoder(decoder.read_qwen),
        "eurobert": _decoder(decoder.read_eurobert, own_code=True),
        "gemma3_text": Family(gemma3.read_gemma3, gemma3.add_gemma3, _EMBED, heads=_DECODER_HEADS),
    }
)


# What the hub lists of a config.json, among other things that decide nothing.
_LISTED: Final = {
    *("model_type", "architectures", "auto_map", "tokenizer_config", "chat_template_jinja"),
    *("quantization_config", "additional_chat_templates", "processor_config"),
}


def family_of(values: Mapping[str, Any]) -> tuple[Family, Any]:
    """Returns the family of a config.json, and its hyperparameters.

    Raises:
        ModelError: The architecture is not converted without torch, or a setting of it is not; the
            message names it and says what to do.

    Example:
        >>> family_of({"model_type": "t5"})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        nestling.errors.ModelError: a 't5' is not converted without torch, only albert, ...
    """
    family = _known_family(values)
    return family, family.read(Config(values))


def supported(config: Mapping[str, Any]) -> str | None:
    """Returns why a model of this config.json is not converted without torch; None if it is.

    The hub lists little more of a config.json than its `model_type`; then that alone decides.

    Example:
        >>> supported({"model_type": "bert"})
        >>> supported({"model_type": "clip"})  # doctest: +ELLIPSIS
        "a 'clip' is not converted without torch, only bert, ..."
    """
    if config.get("model_type") == "model2vec":  # a table of token embeddings, no network
        return None
    try:
        family = _known_family(config)
        if config.keys() - _LISTED:
            family.read(Config(config))
    except ModelError as error:
        return str(error).partition(". `")[0]
    return None


def _known_family(values: Mapping[str, Any]) -> Family:
    config = Config(values)
    if "quantization_config" in values:
        method = (values["quantization_config"] or {}).get("quant_method")
        raise refused(
            f"the checkpoint is quantized ({method}), and its weights cannot be converted: use the "
            "model that it was made from"
        )
    family = FAMILIES.get(config.model_type)
    supported = f"only {', '.join(sorted(FAMILIES))}"
    if family is None:
        raise refused(f"a {config.model_type!r} is not converted without torch, {supported}")
    code = {"AutoModel", "AutoConfig"} & (values.get("auto_map") or {}).keys()
    if code and not family.own_code:
        raise refused(
            f"the model comes with its own code (auto_map in config.json), which is not run, so a "
            f"{config.model_type!r} may be something else here"
        )
    return family
