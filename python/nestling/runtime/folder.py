"""Reads a model folder in the layout of Hugging Face and sentence-transformers.

```
modules.json                         the modules, in their order, and the folders of their files
model.onnx, onnx/model*.onnx         the graph of the transformer, or of the whole model
tokenizer.json                       the tokenizer
tokenizer_config.json, config.json   how texts are tokenized (see `nestling.runtime.text_settings`)
sentence_bert_config.json            max_seq_length, do_lower_case
1_Pooling/config.json, 2_Dense/…     the modules' own settings and weights
config_sentence_transformers.json    prompts, truncate_dim
README.md                            nesting dims, in the model card
nestling.json                        what no other file contains; every key is optional:
    name            str              the name of the model
    nesting         list[int]        prefix lengths that it was trained for
    layer_norm      bool             normalise the mean and variance of each embedding before a
                                     prefix is taken, as nomic-embed-text-v1.5 requires
    special_tokens  bool             whether texts get the tokenizer's special tokens (default true)
    max_characters  int              characters of a text that are read, for a static table
    source_digest   str              of what the graph and the modules were converted from, which
                                     counts in place of their bytes
    teacher         object           the encoder whose embeddings of queries this one gives:
                                     `name` and `fingerprint`
    refine_below    float            margin of a search below which the teacher should be used
token_rows.safetensors               in place of a graph (see `nestling.runtime.token_rows`)
```

The files of the transformer may be in a folder that modules.json names, such as 0_Transformer.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, Final

from nestling._util.checksum import sha256_of
from nestling._util.value import Value
from nestling.errors import ModelError
from nestling.runtime.card import nesting_of_card
from nestling.runtime.config import read_json
from nestling.runtime.graph_files import Precision, choose_graph, unusable_graphs
from nestling.runtime.modules import Module, Pooling, read_module, read_pooling
from nestling.runtime.text_settings import TextSettings, read_text_settings
from nestling.runtime.token_rows import FILE as TOKEN_ROWS

__all__ = [
    "ModelFolder",
    "Precision",
    "Teacher",
    "external_data",
    "external_names",
    "has_graph",
    "read_listing",
]

# sentence-transformers knows the first name of either list, and "passage" and "corpus"; the others
# are what published models call the same.
_QUERY_PROMPTS: Final = (
    *("query", "search_query", "retrieval.query", "retrieval_query", "Retrieval-query"),
    *("s2p_query", "web_search_query"),
)
_DOCUMENT_PROMPTS: Final = (
    *("document", "passage", "corpus", "search_document", "retrieval.passage"),
    *("retrieval_passage", "retrieval.document", "retrieval_document", "Retrieval-document"),
)
_INPUTS: Final = ("Transformer", "StaticEmbedding")
_SENTENCE_MODEL: Final = "SentenceTransformer"
_NESTING_KEYS: Final = ("matryoshka_dimensions", "matryoshka_dims")
# Where a graph's weights are beside it, as protobuf encodes it: a pair of "location" and a path.
_LOCATION: Final = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])")


@dataclass(frozen=True, slots=True)
class Teacher:
    """The encoder that a query encoder was trained to imitate.

    Attributes:
        name: What it was opened by.
        fingerprint: Its fingerprint.

    Example:
        >>> Teacher("minilm", "0123456789abcdef").name
        'minilm'
    """

    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ModelFolder(Value):
    """The contents of a model folder.

    Attributes:
        name: The folder's name, or the one in nestling.json.
        graph: Path of the ONNX file.
        tokenizer: Path of tokenizer.json.
        precision: "int8" or "float32", of that graph.
        modules: What follows the transformer, in its order.
        listed: Whether modules.json lists the modules; otherwise a graph that pools knows better.
        static: Whether the first module is a table of token embeddings, whose graph pools.
        text: How texts are tokenized.
        position_padding: The padding id after which positions are counted; None if from 0.
        prompts: Every prompt by its name.
        document_prompt: The text to put before a document; empty for none.
        query_prompt: The text to put before a query; empty for none.
        nesting: Prefix lengths that the model was trained for, in ascending order.
        truncate_dim: Dimensions to keep of an embedding; None for all.
        layer_norm: Whether embeddings are layer-normalised before a prefix is taken.
        digest: Of what the graph and the modules were converted from; None where unknown.
        teacher: Whose embeddings of queries it gives; None for a model of its own.
        refine_below: Margin of a search below which the teacher should be used; None if unknown.

    Example:
        >>> from nestling.models import ensure_model
        >>> ModelFolder.read(ensure_model("wordllama")).nesting  # doctest: +MODEL
        (64, 128, 256)
    """

    name: str
    graph: Path
    tokenizer: Path
    precision: Precision
    modules: tuple[Module, ...] = (Pooling(),)
    listed: bool = False
    static: bool = False
    text: TextSettings = field(default_factory=TextSettings)
    position_padding: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    document_prompt: str = ""
    query_prompt: str = ""
    nesting: tuple[int, ...] = ()
    truncate_dim: int | None = None
    layer_norm: bool = False
    digest: str | None = None
    teacher: Teacher | None = None
    refine_below: float | None = None

    @classmethod
    def read(cls, folder: Path, *, precision: Precision = "int8") -> ModelFolder:
        """Reads a folder; falls back to a graph of the other precision where one is absent.

        Raises:
            ModelError: A required file is absent or malformed, or a setting cannot be honoured; the
                message names it.

        Example:
            >>> ModelFolder.read(Path("nowhere"))
            Traceback (most recent call last):
            nestling.errors.ModelError: nowhere has no model.onnx, ...
        """
        own = read_json(folder / "nestling.json")
        sentence = read_json(folder / "config_sentence_transformers.json")
        listing = read_listing(folder)
        place, modules = _read_modules(folder, listing)
        graph, found = _find_graph(folder, place, precision)
        tokenizer = _find_tokenizer(folder, place)
        config = read_json(place / "config.json")
        static = bool(listing) and _name(listing[0][0]) == "StaticEmbedding"
        padding = None
        if static or config.get("model_type") == "model2vec":
            text = TextSettings(
                max_characters=own.get("max_characters"), special_tokens=False, static=True
            )
        else:
            text, padding = read_text_settings(
                place,
                listed=bool(listing) or graph.name == TOKEN_ROWS,
                special_tokens=bool(own.get("special_tokens", True)),
            )
        if (kind := sentence.get("model_type", _SENTENCE_MODEL)) != _SENTENCE_MODEL:
            raise ModelError(
                f"{folder} holds a {kind}, which is not a model of one embedding for each text"
            )
        prompts = _read_prompts(sentence)
        default = _default_prompt(sentence, prompts)
        dim = sentence.get("truncate_dim")
        return cls(
            name=str(own.get("name") or folder.resolve().name),
            graph=graph,
            tokenizer=tokenizer,
            precision=found,
            modules=modules,
            listed=bool(listing),
            static=static,
            text=text,
            position_padding=padding,
            prompts=prompts,
            document_prompt=_prompt(prompts, _DOCUMENT_PROMPTS, _QUERY_PROMPTS, default),
            query_prompt=_prompt(prompts, _QUERY_PROMPTS, _DOCUMENT_PROMPTS, default),
            nesting=_nesting(own, sentence, config) or nesting_of_card(folder / "README.md"),
            truncate_dim=dim if isinstance(dim, int) else None,
            layer_norm=bool(own.get("layer_norm", False)),
            digest=own.get("source_digest"),
            teacher=_teacher(own, folder),
            refine_below=_refine_below(own, folder),
        )

    def fingerprint(self) -> str:
        """Returns 16 hexadecimal digits: a digest of all that decides the embedding of a text.

        That are the graph and its weights, the tokenizer and its settings, the modules with their
        weights, and the prompts. Where the files are, and other files beside them, do not count.

        Example:
            >>> from nestling.models import ensure_model
            >>> folder = ModelFolder.read(ensure_model("wordllama"))  # doctest: +MODEL
            >>> len(folder.fingerprint())  # doctest: +MODEL
            16
        """
        parts: list[object] = [sha256_of(self.tokenizer), _plain(self.text)]
        parts += [self.document_prompt, self.query_prompt, self.layer_norm, self.truncate_dim]
        parts += [self.listed, self.position_padding]
        if self.digest is not None:
            parts += [self.digest, self.precision]
        else:
            parts += [sha256_of(self.graph), *map(sha256_of, external_data(self.graph))]
            parts += [_plain(module) for module in self.modules]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _teacher(own: Mapping[str, Any], folder: Path) -> Teacher | None:
    named = own.get("teacher")
    if named is None:
        return None
    name, fingerprint = None, None
    if isinstance(named, dict):
        name, fingerprint = named.get("name"), named.get("fingerprint")
    if not (isinstance(name, str) and isinstance(fingerprint, str)):
        raise ModelError(
            f"{folder / 'nestling.json'}: the teacher should be an object of name and fingerprint, "
            f"not {named!r}"
        )
    return Teacher(name, fingerprint)


def _refine_below(own: Mapping[str, Any], folder: Path) -> float | None:
    margin = own.get("refine_below")
    if margin is None:
        return None
    if isinstance(margin, bool) or not isinstance(margin, (int, float)) or not margin >= 0:
        raise ModelError(
            f"{folder / 'nestling.json'}: refine_below should be a number of at least 0, not "
            f"{margin!r}"
        )
    return float(margin)


def _plain(value: object) -> object:
    """Returns a setting as what JSON can hold: a file becomes the digest of its content."""
    if isinstance(value, Value):
        compared = [entry.name for entry in fields(value) if entry.compare]  # type: ignore[arg-type]
        return [type(value).__name__, {name: _plain(getattr(value, name)) for name in compared}]
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return list(map(_plain, value))
    return sha256_of(value) if isinstance(value, Path) else value


def external_data(graph: Path) -> list[Path]:
    """Returns the files that hold weights of a graph outside of it, without parsing it."""
    paths = (graph.parent / name for name in external_names(graph))
    return sorted(path for path in paths if path.is_file())


def external_names(graph: Path) -> set[str]:
    """Returns what a graph calls the files of its weights, whether they are there or not."""
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return {
            content[match.end() : match.end() + match[1][0]].decode("utf-8", "replace")
            for match in _LOCATION.finditer(content)
        }


def has_graph(folder: Path) -> bool:
    """Whether a folder holds a graph of either precision that can be used.

    Example:
        >>> has_graph(Path("nowhere"))
        False
    """
    listing = read_listing(folder)
    return bool(_graphs(folder, folder / listing[0][1] if listing else folder, "int8"))


def _graphs(folder: Path, place: Path, precision: Precision) -> list[tuple[Path, Precision]]:
    """Returns graphs of a folder and of its transformer's folder, those of `precision` first.

    A table of token rows, in int8, is in place of any graph.
    """
    if (rows := folder / TOKEN_ROWS).is_file():
        return [(rows, "int8")]
    found = [
        (base / chosen.graph, chosen.precision)
        for base in dict.fromkeys((place, folder))
        if (chosen := choose_graph(_names(base), precision))
    ]
    return sorted(found, key=lambda graph: graph[1] != precision)


def _names(folder: Path) -> list[str]:
    """Returns the paths in a folder, and in its folder onnx, relative to it."""
    return [
        path.relative_to(folder).as_posix()
        for place in (folder, folder / "onnx")
        if place.is_dir()
        for path in place.iterdir()
    ]


def _find_graph(folder: Path, place: Path, precision: Precision) -> tuple[Path, Precision]:
    if found := _graphs(folder, place, precision):
        return found[0]
    unusable = unusable_graphs(_names(folder))
    raise ModelError(
        f"{folder} has no model.onnx, onnx/model.onnx or onnx/model_quantized.onnx"
        + (f", and these cannot be used: {unusable}" if unusable else "")
        + ", nor model.safetensors to convert"
    )


def _find_tokenizer(folder: Path, place: Path) -> Path:
    for where in (place, folder):
        if (path := where / "tokenizer.json").is_file():
            return path
    raise ModelError(
        f"{folder} has no tokenizer.json: save the model's fast tokenizer there "
        "(transformers: AutoTokenizer.from_pretrained(…).save_pretrained(folder))"
    )


def read_listing(folder: Path) -> list[tuple[str, str]]:
    """Returns the types and the paths in modules.json; none where it is absent.

    Raises:
        ModelError: It is malformed, or names a folder outside of the model's.

    Example:
        >>> read_listing(Path("nowhere"))
        []
    """
    path = folder / "modules.json"
    if not path.is_file():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        listing = [(str(entry["type"]), str(entry.get("path", ""))) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"cannot read {path}: {error!r}") from error
    for _, place in listing:
        if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
            raise ModelError(f"{path} names the folder {place!r}, which is outside of the model's")
    return listing


def _read_modules(
    folder: Path, listing: Sequence[tuple[str, str]]
) -> tuple[Path, tuple[Module, ...]]:
    """Returns the folder of the transformer, and the modules after it."""
    if not listing:
        return folder, (_default_pooling(folder),)
    (kind, first), *others = listing
    if not kind.startswith("sentence_transformers.") or _name(kind) not in _INPUTS:
        raise ModelError(
            f"{folder / 'modules.json'} begins with a {kind}, which is not supported; a model "
            f"begins with one of {', '.join(_INPUTS)} of sentence_transformers"
        )
    modules = [read_module(kind, folder / place) for kind, place in others]
    return folder / first, tuple(module for module in modules if module is not None)


def _name(kind: str) -> str:
    return kind.rsplit(".", 1)[-1]


def _default_pooling(folder: Path) -> Pooling:
    """Returns the pooling that sentence-transformers gives to a model without modules."""
    config = read_json(folder / "config.json")
    architectures = config.get("architectures") or [""]
    causal = str(architectures[0]).endswith("ForCausalLM") and config.get("is_causal", True)
    modes = ("lasttoken",) if causal else ("mean",)
    if (place := folder / "1_Pooling").is_dir() and (named := read_pooling(place).modes) != modes:
        raise ModelError(
            f"{place} specifies the pooling {', '.join(named)}, but {folder} has no modules.json "
            f"that lists it, and sentence-transformers pools by {modes[0]} then: add a "
            f"modules.json, or remove {place}"
        )
    return Pooling(modes)


def _read_prompts(sentence: Mapping[str, Any]) -> dict[str, str]:
    prompts = sentence.get("prompts") or {}
    if isinstance(prompts, dict):
        prompts = {name: "" if text is None else text for name, text in prompts.items()}
    if not isinstance(prompts, dict) or not all(isinstance(p, str) for p in prompts.values()):
        raise ModelError("config_sentence_transformers.json: prompts should map names to strings")
    return prompts


def _default_prompt(sentence: Mapping[str, Any], prompts: Mapping[str, str]) -> str | None:
    name = sentence.get("default_prompt_name")
    if name is not None and name not in prompts and name not in ("query", "document"):
        raise ModelError(
            f"config_sentence_transformers.json: the default prompt is {name!r}, and the prompts "
            f"are {', '.join(prompts) or 'none'}"
        )
    return name


def _prompt(
    prompts: Mapping[str, str], names: Sequence[str], others: Sequence[str], default: str | None
) -> str:
    """Returns the first prompt of these names, else the default one if it is not of the others."""
    for name in names:
        if name in prompts:
            return prompts[name]
    return "" if default is None or default in others else prompts.get(default, "")


def _nesting(*sources: Mapping[str, Any]) -> tuple[int, ...]:
    named = [own["nesting"] for own in sources[:1] if own.get("nesting")]
    named += [source[key] for source in sources for key in _NESTING_KEYS if source.get(key)]
    if not named:
        return ()
    dims = named[0]
    if not isinstance(dims, list) or not all(isinstance(d, int) and d > 0 for d in dims):
        raise ModelError(f"the nesting dims should be a list of positive integers, not {dims!r}")
    return tuple(sorted(set(dims)))
