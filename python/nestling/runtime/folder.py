"""Reads a model folder in the layout of Hugging Face and sentence-transformers.

```
model.onnx, onnx/model*.onnx         the graph
tokenizer.json                       the tokenizer
modules.json, 1_Pooling/config.json  how tokens become one embedding, unless the graph does it
config_sentence_transformers.json    prompts
sentence_bert_config.json            max_seq_length
tokenizer_config.json, config.json   pad_token, model_max_length, max_position_embeddings
README.md                            nesting dims, in the model card
nestling.json                        what no other file contains; every key is optional:
    name            str              the name of the model
    nesting         list[int]        prefix lengths that it was trained for
    layer_norm      bool             normalise the mean and variance of each embedding before a
                                     prefix is taken, as nomic-embed-text-v1.5 requires
    special_tokens  bool             whether texts get the tokenizer's special tokens (default true)
```
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nestling._util.checksum import sha256_of
from nestling._util.value import Value
from nestling.errors import ModelError
from nestling.runtime.card import nesting_of_card
from nestling.runtime.graph_files import Precision, choose_graph, unusable_graphs

__all__ = ["ModelFolder", "Precision", "has_graph"]

_POOLING: Final = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean",  # equal after normalisation
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
_QUERY_PROMPTS: Final = ("query",)
_DOCUMENT_PROMPTS: Final = ("document", "passage", "corpus")
_KNOWN_MODULES: Final = {"Transformer", "Pooling", "Normalize"}
_NESTING_KEYS: Final = ("matryoshka_dimensions", "matryoshka_dims")
_ROBERTA_LIKE: Final = {"roberta", "xlm-roberta", "camembert", "mpnet"}
_NO_LIMIT: Final = 1_000_000  # tokenizers without a limit have an astronomical number there


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ModelFolder(Value):
    """The contents of a model folder.

    Attributes:
        name: The folder's name, or the one in nestling.json.
        graph: Path of the ONNX file.
        tokenizer: Path of tokenizer.json.
        precision: "int8" or "float32", of that graph.
        pooling: "mean", "cls", "lasttoken", or another name in the pooling config; None without a
            pooling config.
        modules: Types of the modules after the transformer other than pooling and normalisation.
        prompts: Every prompt by its name.
        default_prompt: Name of the prompt for texts without a more specific one, or None.
        max_length: Tokens that the model reads, special ones included; None where unknown.
        nesting: Prefix lengths that the model was trained for, in ascending order.
        layer_norm: Whether embeddings are layer-normalised before a prefix is taken.
        special_tokens: Whether texts get the tokenizer's special tokens.
        pad_token: The token that pads a batch, or None.

    Example:
        >>> from nestling.models import ensure_model
        >>> ModelFolder.read(ensure_model("wordllama")).nesting  # doctest: +MODEL
        (64, 128, 256)
    """

    name: str
    graph: Path
    tokenizer: Path
    precision: Precision
    pooling: str | None
    modules: tuple[str, ...]
    prompts: Mapping[str, str]
    default_prompt: str | None
    max_length: int | None
    nesting: tuple[int, ...]
    layer_norm: bool
    special_tokens: bool
    pad_token: str | None

    @classmethod
    def read(cls, folder: Path, *, precision: Precision = "int8") -> ModelFolder:
        """Reads a folder; falls back to a graph of the other precision where one is absent.

        Raises:
            ModelError: A required file is absent or malformed; the message names it.

        Example:
            >>> ModelFolder.read(Path("nowhere"))
            Traceback (most recent call last):
            nestling.errors.ModelError: nowhere has no model.onnx, ...
        """
        graph, found = _find_graph(folder, precision)
        tokenizer = folder / "tokenizer.json"
        if not tokenizer.is_file():
            raise ModelError(
                f"{folder} has no tokenizer.json: save the model's fast tokenizer there "
                "(transformers: AutoTokenizer.from_pretrained(…).save_pretrained(folder))"
            )
        own = _read_json(folder / "nestling.json")
        sentence = _read_json(folder / "config_sentence_transformers.json")
        config = _read_json(folder / "config.json")
        tokens = _read_json(folder / "tokenizer_config.json")
        pooling, modules = _read_modules(folder)
        return cls(
            name=str(own.get("name") or folder.resolve().name),
            graph=graph,
            tokenizer=tokenizer,
            precision=found,
            pooling=pooling,
            modules=modules,
            prompts=_read_prompts(sentence),
            default_prompt=sentence.get("default_prompt_name"),
            max_length=_max_length(
                _read_json(folder / "sentence_bert_config.json"), tokens, config
            ),
            nesting=_nesting(own, sentence, config) or nesting_of_card(folder / "README.md"),
            layer_norm=bool(own.get("layer_norm", False)),
            special_tokens=bool(own.get("special_tokens", True)),
            pad_token=_token(tokens.get("pad_token")),
        )

    @property
    def document_prompt(self) -> str:
        """The text to put before a document; empty for none."""
        return self._prompt(_DOCUMENT_PROMPTS)

    @property
    def query_prompt(self) -> str:
        """The text to put before a query; empty for none."""
        return self._prompt(_QUERY_PROMPTS)

    def _prompt(self, names: Sequence[str]) -> str:
        """Returns the first prompt of these names, else the default one, else an empty string."""
        for name in (*names, self.default_prompt):
            if name is not None and name in self.prompts:
                return self.prompts[name]
        return ""

    def fingerprint(self) -> str:
        """Returns 16 hexadecimal digits: a digest of all that decides the embedding of a text.

        That are the graph, its weights, the tokenizer, the pooling and the prompts.

        Example:
            >>> from nestling.models import ensure_model
            >>> folder = ModelFolder.read(ensure_model("wordllama"))  # doctest: +MODEL
            >>> len(folder.fingerprint())  # doctest: +MODEL
            16
        """
        digest = hashlib.sha256()
        # Weights too large for the graph file are beside it: model.onnx_data, model.onnx.data.
        parts = [p for p in self.graph.parent.iterdir() if p.name.startswith(self.graph.name)]
        for path in (*sorted(parts), self.tokenizer):
            digest.update(bytes.fromhex(sha256_of(path)))
        settings = (
            self.pooling,
            self.layer_norm,
            self.special_tokens,
            self.document_prompt,
            self.query_prompt,
        )
        digest.update(json.dumps(settings).encode())
        return digest.hexdigest()[:16]


def has_graph(folder: Path) -> bool:
    """Whether a folder holds a graph of either precision that can be used.

    Example:
        >>> has_graph(Path("nowhere"))
        False
    """
    return choose_graph(_names(folder)) is not None


def _names(folder: Path) -> list[str]:
    """Returns the paths in a folder, and in its folder onnx, relative to it."""
    return [
        path.relative_to(folder).as_posix()
        for place in (folder, folder / "onnx")
        if place.is_dir()
        for path in place.iterdir()
    ]


def _find_graph(folder: Path, precision: Precision) -> tuple[Path, Precision]:
    names = _names(folder)
    chosen = choose_graph(names, precision)
    if chosen is not None:
        return folder / chosen.graph, chosen.precision
    unusable = unusable_graphs(names)
    raise ModelError(
        f"{folder} has no model.onnx, onnx/model.onnx or onnx/model_quantized.onnx"
        + (f", and these cannot be used: {unusable}" if unusable else "")
        + ": export the model to ONNX (optimum-cli export onnx --task feature-extraction) into it"
    )


def _read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file; an empty one when the file is absent."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} should hold a JSON object, not {type(content).__name__}")
    return content


def _read_modules(folder: Path) -> tuple[str | None, tuple[str, ...]]:
    """Returns the pooling, and the types of other modules that change an embedding."""
    where, extra = "1_Pooling", []
    listing = folder / "modules.json"
    if listing.is_file():
        try:
            modules = json.loads(listing.read_text(encoding="utf-8"))
            kinds = [(m["type"].rsplit(".", 1)[-1], m.get("path", "")) for m in modules]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"cannot read {listing}: {error!r}") from error
        where = next((path for kind, path in kinds if kind == "Pooling"), where)
        extra = [kind for kind, _ in kinds if kind not in _KNOWN_MODULES]
    path = folder / where / "config.json"
    pooling = _read_json(path)
    if not pooling:
        return None, tuple(extra)
    modes = {mode for key, mode in _POOLING.items() if pooling.get(key)}
    modes |= {mode for mode in [pooling.get("pooling_mode")] if isinstance(mode, str)}
    if len(modes) != 1:
        raise ModelError(f"{path} should switch on one pooling mode, not {sorted(modes) or 'none'}")
    if pooling.get("include_prompt") is False:
        extra.append("Pooling(include_prompt=False)")
    return modes.pop(), tuple(extra)


def _read_prompts(sentence: Mapping[str, Any]) -> dict[str, str]:
    prompts = sentence.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(p, str) for p in prompts.values()):
        raise ModelError("config_sentence_transformers.json: prompts should map names to strings")
    return prompts


def _max_length(
    sentence: Mapping[str, Any], tokens: Mapping[str, Any], config: Mapping[str, Any]
) -> int | None:
    limit = sentence.get("max_seq_length")
    if isinstance(limit, int):
        return limit
    limits = []
    if isinstance(most := tokens.get("model_max_length"), (int, float)) and most < _NO_LIMIT:
        limits.append(int(most))
    if isinstance(positions := config.get("max_position_embeddings"), int):
        # These count positions from the padding id, so two are never used.
        limits.append(positions - 2 if config.get("model_type") in _ROBERTA_LIKE else positions)
    return min(limits, default=None)


def _nesting(*sources: Mapping[str, Any]) -> tuple[int, ...]:
    named = [own["nesting"] for own in sources[:1] if own.get("nesting")]
    named += [source[key] for source in sources for key in _NESTING_KEYS if source.get(key)]
    if not named:
        return ()
    dims = named[0]
    if not isinstance(dims, list) or not all(isinstance(d, int) and d > 0 for d in dims):
        raise ModelError(f"the nesting dims should be a list of positive integers, not {dims!r}")
    return tuple(sorted(set(dims)))


def _token(entry: object) -> str | None:
    """Returns a token that tokenizer_config.json gives as a string or as an object."""
    if isinstance(entry, dict):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else None
