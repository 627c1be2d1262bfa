"""nestling within MTEB, the Massive Text Embedding Benchmark, 2.x. Needs the extra `mteb`.

```python
import mteb
from nestling import Encoder
from nestling.evaluation.mteb import MtebEncoder, search_model

tasks = mteb.get_tasks(tasks=["NFCorpus"])
mteb.evaluate(MtebEncoder(Encoder("minilm"), truncate_dim=192), tasks)  # a prefix, exact
mteb.evaluate(search_model(Encoder("minilm"), funnel="96@4:2000 > 384@16"), tasks)  # a funnel
```

MTEB retrieves the best 1,000 documents per query, so every stage keeps at least 1,000 rows.

Muennighoff et al. 2023, "MTEB: Massive Text Embedding Benchmark".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nestling._util.value import short_repr
from nestling.collection import EncoderIdentity
from nestling.errors import VectorError
from nestling.evaluation.tasks import require_mteb
from nestling.index import Index
from nestling.index.funnel import Funnel
from nestling.runtime.text_encoder import TextEncoder, encoder_name

if TYPE_CHECKING:
    from mteb.models import ModelMeta, SearchEncoderWrapper

__all__ = ["MtebEncoder", "MtebIndex", "search_model"]

Floats = NDArray[np.float32]


class MtebEncoder:
    """An encoder with the interface of MTEB's `EncoderProtocol`, for tasks of every kind.

    Queries of retrieval tasks get the model's query prompt, their documents the document prompt.
    Texts of symmetric tasks get the query prompt, as models with two prompts (e5) recommend.

    Args:
        encoder: For instance a `nestling.Encoder`.
        truncate_dim: Length of the prefix to use; it is re-normalised. None: the whole embedding.
        name: The name of the results, as "organisation/model". Default: "nestling/", the encoder's
            name, and the length of the prefix if there is one.

    Raises:
        PackageError: mteb is not installed.
        VectorError: `truncate_dim` is out of range.

    Example:
        >>> MtebEncoder(nestling.Encoder("minilm"), truncate_dim=64).dim  # doctest: +SKIP
        64
    """

    def __init__(
        self, encoder: TextEncoder, *, truncate_dim: int | None = None, name: str | None = None
    ) -> None:
        if truncate_dim is not None and not 1 <= truncate_dim <= encoder.dim:
            raise VectorError(f"truncate_dim must be 1 to {encoder.dim}, not {truncate_dim}")
        self._encoder = encoder
        self.dim = truncate_dim or encoder.dim
        whole = "" if truncate_dim is None else f"-{truncate_dim}"
        chosen = name or f"nestling/{encoder_name(encoder).replace('/', '--')}{whole}"
        self._meta = _meta(chosen, encoder, self.dim)

    def __repr__(self) -> str:
        return f"MtebEncoder({short_repr(self._encoder)}, dim={self.dim})"

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """The metadata under which MTEB stores results."""
        return self._meta

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any = None,
        hf_split: str = "",
        hf_subset: str = "",
        prompt_type: Any = None,
        **kwargs: Any,
    ) -> Floats:
        """Encodes the texts of a data loader: (n, dim) float32 at unit length.

        Args:
            inputs: Batches, each with a list `text`.
            task_metadata: Ignored.
            hf_split: Ignored.
            hf_subset: Ignored.
            prompt_type: "query" or "document" in retrieval; None in other tasks.
            **kwargs: Ignored: nestling chooses the batches.

        Example:
            >>> model = MtebEncoder(nestling.Encoder("minilm"))  # doctest: +SKIP
            >>> model.encode([{"text": ["one", "two"]}]).shape  # doctest: +SKIP
            (2, 384)
        """
        texts = [text for batch in inputs for text in batch["text"]]
        document = prompt_type is not None and str(getattr(prompt_type, "value", prompt_type))
        work = self._encoder.encode if document == "document" else self._encoder.encode_queries
        vectors = work(texts)[:, : self.dim]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Returns the cosines of all pairs of rows, (n, m).

        Example:
            >>> model.similarity(rows, queries).shape  # doctest: +SKIP
            (1000, 10)
        """
        return require_mteb().similarity_functions.cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Returns the cosines of rows at the same position, (n,).

        Example:
            >>> model.similarity_pairwise(rows, rows).shape  # doctest: +SKIP
            (1000,)
        """
        return require_mteb().similarity_functions.pairwise_cos_sim(embeddings1, embeddings2)


class MtebIndex:
    """A funnel with the interface of MTEB's `IndexEncoderSearchProtocol`, for any model of MTEB.

    Args:
        funnel: The index's funnel. Default: that of the embeddings' dimension.
        threads: As for `nestling.Index`.

    Example:
        >>> index = MtebIndex("8@32")
        >>> index.add_documents(np.eye(3, 8), ["a", "b", "c"])
        >>> index.search(np.eye(1, 8), 1, np.dot)
        ([[1.0]], [[0]])
    """

    def __init__(self, funnel: str | Funnel | None = None, *, threads: int | None = None) -> None:
        self._funnel = None if funnel is None else Funnel.of(funnel)
        self._threads = threads
        self._index: Index | None = None
        self._positions: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"MtebIndex({self._funnel if self._index is None else self._index})"

    def add_documents(self, embeddings: Any, idxs: Sequence[str]) -> None:
        """Adds (n, dim) embeddings, of numpy or torch, and their n ids.

        Raises:
            FunnelError: The funnel does not fit their dimension.
            VectorError: They hold NaN or infinity, or have another dimension than those before.

        Example:
            >>> index = MtebIndex()
            >>> index.add_documents(np.eye(3, 8), ["a", "b", "c"])
            >>> index.search(np.eye(1, 8), 1, np.dot)[1]
            [[0]]
        """
        vectors = _array(embeddings)
        if self._index is None:
            self._index = Index(vectors.shape[1], funnel=self._funnel, threads=self._threads)
        start = len(self._index)
        self._index.add(vectors)
        self._positions.update((name, start + position) for position, name in enumerate(idxs))

    def search(
        self,
        embeddings: Any,
        top_k: int,
        similarity_fn: Callable[[Any, Any], Any],
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        query_idx_to_id: Mapping[int, str] | None = None,
    ) -> tuple[list[list[float]], list[list[int]]]:
        """Searches, or ranks given candidates by the stored rows.

        Args:
            embeddings: (m, dim), of numpy or torch.
            top_k: Documents per query.
            similarity_fn: Ignored: scores are cosines.
            top_ranked: Ids of the candidates of each query, by its id; None searches all.
            query_idx_to_id: Ids of the queries, by position; needed with `top_ranked`.

        Returns:
            Scores, and positions among all documents, or among a query's candidates; best first.

        Raises:
            VectorError: There are no documents yet, or the embeddings do not fit them.

        Example:
            >>> index = MtebIndex()
            >>> index.add_documents(np.eye(3, 8), ["a", "b", "c"])
            >>> index.search(np.eye(1, 8), 1, np.dot, {"q": ["b", "a"]}, {0: "q"})[1]
            [[1]]
        """
        if self._index is None:
            raise VectorError("the index has no documents: call add_documents first")
        queries = _array(embeddings)
        if top_ranked is not None:
            names = query_idx_to_id or {}
            found = [
                self._order(query, top_ranked.get(names[position], ()), top_k)
                for position, query in enumerate(queries)
            ]
            return [scores for scores, _ in found], [positions for _, positions in found]
        hits = self._index.search(queries, k=min(top_k, len(self._index)))
        return hits.scores.tolist(), hits.ids.tolist()

    def clear(self) -> None:
        """Removes all documents.

        Example:
            >>> index = MtebIndex()
            >>> index.add_documents(np.eye(3, 8), ["a", "b", "c"])
            >>> index.clear()
        """
        self._index = None
        self._positions = {}

    def _order(
        self, query: Floats, candidates: Sequence[str], top_k: int
    ) -> tuple[list[float], list[int]]:
        if self._index is None or not candidates:
            return [], []
        rows = self._index.reconstruct([self._positions[name] for name in candidates])
        lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
        scores = rows @ query / np.where(lengths > 0, lengths, 1)
        order = np.argsort(-scores, kind="stable")[:top_k]
        return np.clip(scores[order], -1, 1).tolist(), order.tolist()


def search_model(
    encoder: TextEncoder,
    *,
    funnel: str | Funnel | None = None,
    truncate_dim: int | None = None,
    threads: int | None = None,
    name: str | None = None,
) -> SearchEncoderWrapper:
    """Returns an encoder and a funnel as one model for MTEB's retrieval tasks.

    Args:
        encoder: For instance a `nestling.Encoder`.
        funnel: The index's funnel. Default: that of the embeddings' dimension.
        truncate_dim: As for `MtebEncoder`.
        threads: Threads of the searches.
        name: As for `MtebEncoder`. Give each funnel another name, because MTEB caches results by
            name.

    Returns:
        MTEB's `SearchEncoderWrapper`, which is a `SearchProtocol`.

    Raises:
        PackageError: mteb is not installed.
        VectorError: As for `MtebEncoder`.

    Example:
        >>> search_model(nestling.Encoder("minilm"), funnel="96@4:2000 > 384@16")  # doctest: +SKIP
    """
    model = MtebEncoder(encoder, truncate_dim=truncate_dim, name=name)
    from mteb.models import SearchEncoderWrapper

    return SearchEncoderWrapper(model, index_backend=MtebIndex(funnel, threads=threads))


def _array(embeddings: Any) -> Floats:
    # A tensor that requires gradients, or is on another device, does not convert by itself.
    if hasattr(embeddings, "detach"):
        embeddings = embeddings.detach().cpu().numpy()
    return np.asarray(embeddings, np.float32)


def _meta(name: str, encoder: TextEncoder, dim: int) -> ModelMeta:
    require_mteb()
    from mteb.models import ModelMeta
    from mteb.models.model_meta import ScoringFunction

    # MTEB keeps results by name and revision: another encoder must not get those of this one.
    identity = EncoderIdentity.of(encoder)
    return ModelMeta(
        loader=None,
        name=name,
        revision=identity.fingerprint or hashlib.sha256(identity.key.encode()).hexdigest()[:16],
        release_date=None,
        languages=None,
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=getattr(encoder, "max_length", None),
        embed_dim=dim,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["ONNX"],
        similarity_fn_name=ScoringFunction.COSINE,
        use_instructions=bool(getattr(encoder, "prompts", None)),
        training_datasets=None,
    )
