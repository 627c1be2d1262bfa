"""What well-known models need that their repositories say in prose only, if at all.

A recipe holds facts and no weights. It applies to a hub id, and only where the files of the
repository do not say; an argument of `Encoder` has priority over both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from nestling._util.value import Value
from nestling.runtime.folder import ModelFolder
from nestling.runtime.overrides import Overrides

__all__ = ["RECIPES", "Recipe", "recipe_for"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Recipe(Value):
    """One well-known model of the hub.

    Attributes:
        repository: Its hub id.
        languages: Languages that it was trained for.
        dim: Dimensions of an embedding.
        parameters: Millions of parameters.
        licence: The licence of the weights.
        nesting: Prefix lengths that it was trained for; empty where it was not, or where its maker
            does not list them.
        query_prompt: Text put before a query.
        document_prompt: Text put before a document.
        layer_norm: Whether an embedding is layer-normalised before a prefix is taken.

    Example:
        >>> recipe_for("nomic-ai/nomic-embed-text-v1.5").layer_norm
        True
    """

    repository: str
    languages: str
    dim: int
    parameters: float
    licence: str
    nesting: tuple[int, ...] = ()
    query_prompt: str = ""
    document_prompt: str = ""
    layer_norm: bool = False

    def missing(self, folder: ModelFolder) -> Overrides:
        """Returns what this recipe knows and the files of the repository do not say.

        The two prompts count as one: a repository that gives one of them says that the other is
        none. Empty ones say nothing, as sentence-transformers writes them for every model.
        """
        silent = not (folder.query_prompt or folder.document_prompt)
        return Overrides(
            query_prompt=self.query_prompt if silent and self.query_prompt else None,
            document_prompt=self.document_prompt if silent and self.document_prompt else None,
            layer_norm=True if self.layer_norm and not folder.layer_norm else None,
            nesting=self.nesting if self.nesting and not folder.nesting else None,
        )


def recipe_for(repository: str) -> Recipe | None:
    """Returns the recipe of a hub id, or None; ids compare without regard to case.

    Example:
        >>> recipe_for("intfloat/multilingual-e5-base").query_prompt
        'query: '
        >>> recipe_for("someone/something") is None
        True
    """
    name = repository.lower()
    return RECIPES.get(_RENAMED.get(name, name))


_MIT, _APACHE, _NC = "MIT", "Apache-2.0", "CC-BY-NC-4.0"
_EN, _AR = "English", "Arabic"
_BGE: Final = "Represent this sentence for searching relevant passages: "
_WEB_SEARCH: Final = (
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
)
_HALVES: Final = (64, 128, 256, 512, 768)


def _nomic(
    name: str, languages: str, parameters: float, nesting: tuple[int, ...] = (), norm: bool = False
) -> Recipe:
    return Recipe(
        f"nomic-ai/{name}",
        languages,
        768,
        parameters,
        _APACHE,
        nesting,
        query_prompt="search_query: ",
        document_prompt="search_document: ",
        layer_norm=norm,
    )


def _e5(name: str, languages: str, dim: int, parameters: float) -> Recipe:
    return Recipe(
        f"intfloat/{name}",
        languages,
        dim,
        parameters,
        _MIT,
        query_prompt="query: ",
        document_prompt="passage: ",
    )


def _arctic(
    name: str,
    dim: int,
    parameters: float,
    nesting: tuple[int, ...] = (),
    languages: str = _EN,
    prompt: str = _BGE,
) -> Recipe:
    repository = f"Snowflake/snowflake-arctic-embed-{name}"
    return Recipe(repository, languages, dim, parameters, _APACHE, nesting, query_prompt=prompt)


def _qwen(name: str, dim: int, parameters: float) -> Recipe:
    # Any length from 32 to all dimensions, as its maker says.
    lengths = (32, 64, 128, 256, 512, 1024, 2048)
    return Recipe(
        f"Qwen/Qwen3-Embedding-{name}",
        "more than 100",
        dim,
        parameters,
        _APACHE,
        nesting=(*(length for length in lengths if length < dim), dim),
        query_prompt=_WEB_SEARCH,
    )


_ALL: Final = (
    # Arabic
    Recipe(
        "silma-ai/silma-embeddding-matryoshka-v0.1",
        "Arabic, English",
        768,
        135,
        _APACHE,
        nesting=(8, 16, 48, 256, 768),
    ),
    Recipe(
        "Omartificial-Intelligence-Space/Arabic-Triplet-Matryoshka-V2",
        _AR,
        768,
        135,
        _APACHE,
        nesting=_HALVES,
    ),
    Recipe("Omartificial-Intelligence-Space/GATE-AraBert-v1", _AR, 768, 135, _APACHE),
    # Trained to nest
    _nomic("nomic-embed-text-v1.5", _EN, 137, _HALVES, norm=True),
    _nomic("nomic-embed-text-v2-moe", "about 100", 475, (256, 768)),
    Recipe(
        "google/embeddinggemma-300m",
        "more than 100",
        768,
        308,
        "Gemma",
        nesting=(128, 256, 512, 768),
        query_prompt="task: search result | query: ",
        document_prompt="title: none | text: ",
    ),
    _qwen("0.6B", 1024, 596),
    _qwen("4B", 2560, 4020),
    _qwen("8B", 4096, 7570),
    _arctic("m-v1.5", 768, 109, (256, 768)),
    _arctic("m-v2.0", 768, 305, (256, 768), "74", "query: "),
    _arctic("l-v2.0", 1024, 568, (256, 1024), "74", "query: "),
    Recipe(
        "mixedbread-ai/mxbai-embed-large-v1",
        _EN,
        1024,
        335,
        _APACHE,
        nesting=(512, 1024),
        query_prompt=_BGE,
    ),
    Recipe("mixedbread-ai/mxbai-embed-2d-large-v1", _EN, 1024, 335, _APACHE, query_prompt=_BGE),
    Recipe("mixedbread-ai/mxbai-embed-xsmall-v1", _EN, 384, 22.7, _APACHE),
    Recipe(
        "jinaai/jina-embeddings-v3",
        "about 100",
        1024,
        572,
        _NC,
        nesting=(32, 64, 128, 256, 512, 768, 1024),
        query_prompt="Represent the query for retrieving evidence documents: ",
        document_prompt="Represent the document for retrieval: ",
    ),
    Recipe(
        "sentence-transformers/static-retrieval-mrl-en-v1",
        _EN,
        1024,
        31.3,
        _APACHE,
        nesting=(32, 64, 128, 256, 512, 1024),
    ),
    Recipe(
        "sentence-transformers/static-similarity-mrl-multilingual-v1",
        "many",
        1024,
        108,
        _APACHE,
        nesting=(32, 64, 128, 256, 512, 1024),
    ),
    # Others
    _nomic("nomic-embed-text-v1", _EN, 137),
    _e5("multilingual-e5-small", "about 100", 384, 118),
    _e5("multilingual-e5-base", "about 100", 768, 278),
    _e5("multilingual-e5-large", "about 100", 1024, 560),
    Recipe(
        "intfloat/multilingual-e5-large-instruct",
        "about 100",
        1024,
        560,
        _MIT,
        query_prompt=f"{_WEB_SEARCH} ",
    ),
    _e5("e5-small", _EN, 384, 33.4),
    _e5("e5-base", _EN, 768, 109),
    _e5("e5-large", _EN, 1024, 335),
    _e5("e5-small-v2", _EN, 384, 33.4),
    _e5("e5-base-v2", _EN, 768, 109),
    _e5("e5-large-v2", _EN, 1024, 335),
    _arctic("xs", 384, 22.6),
    _arctic("s", 384, 33),
    _arctic("m", 768, 109),
    _arctic("m-long", 768, 137),
    _arctic("l", 1024, 335),
    Recipe("BAAI/bge-small-en-v1.5", _EN, 384, 33.4, _MIT, query_prompt=_BGE),
    Recipe("BAAI/bge-base-en-v1.5", _EN, 768, 109, _MIT, query_prompt=_BGE),
    Recipe("BAAI/bge-large-en-v1.5", _EN, 1024, 335, _MIT, query_prompt=_BGE),
    Recipe("BAAI/bge-m3", "more than 100", 1024, 568, _MIT),
    Recipe("thenlper/gte-small", _EN, 384, 33.4, _MIT),
    Recipe("thenlper/gte-base", _EN, 768, 109, _MIT),
    Recipe("thenlper/gte-large", _EN, 1024, 335, _MIT),
    Recipe("Alibaba-NLP/gte-base-en-v1.5", _EN, 768, 137, _APACHE),
    Recipe("Alibaba-NLP/gte-large-en-v1.5", _EN, 1024, 434, _APACHE),
    Recipe("Alibaba-NLP/gte-modernbert-base", _EN, 768, 149, _APACHE),
    # Any length from 128 to 768, as its maker says.
    Recipe(
        "Alibaba-NLP/gte-multilingual-base",
        "more than 70",
        768,
        305,
        _APACHE,
        nesting=(128, 256, 512, 768),
    ),
    Recipe("jinaai/jina-embeddings-v2-small-en", _EN, 512, 33, _APACHE),
    Recipe("jinaai/jina-embeddings-v2-base-en", _EN, 768, 137, _APACHE),
    Recipe("sentence-transformers/all-MiniLM-L6-v2", _EN, 384, 22.7, _APACHE),
    Recipe("sentence-transformers/all-MiniLM-L12-v2", _EN, 384, 33.4, _APACHE),
    Recipe("sentence-transformers/all-mpnet-base-v2", _EN, 768, 109, _APACHE),
    Recipe("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", "50", 384, 118, _APACHE),
    Recipe("sentence-transformers/paraphrase-multilingual-mpnet-base-v2", "50", 768, 278, _APACHE),
    Recipe("sentence-transformers/LaBSE", "109", 768, 471, _APACHE),
    Recipe("minishlab/potion-base-2M", _EN, 64, 1.9, _MIT),
    Recipe("minishlab/potion-base-4M", _EN, 128, 3.8, _MIT),
    Recipe("minishlab/potion-base-8M", _EN, 256, 7.6, _MIT),
    Recipe("minishlab/potion-base-32M", _EN, 512, 32.3, _MIT),
    Recipe("minishlab/potion-retrieval-32M", _EN, 512, 32.3, _MIT),
    Recipe("minishlab/potion-multilingual-128M", "101", 256, 128, _MIT),
)

# Names of the same repository; the hub leads from one to the other.
_RENAMED: Final = {
    "silma-ai/silma-embedding-matryoshka-v0.1": "silma-ai/silma-embeddding-matryoshka-v0.1"
}

#: The recipes by hub id, in lower case.
RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType(
    {recipe.repository.lower(): recipe for recipe in _ALL}
)
