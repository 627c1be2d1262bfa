"""nestling within MTEB, the Massive Text Embedding Benchmark, 2.x. Needs the extra `mteb`.

```python
import mteb
from nestling import Encoder
from nestling.evaluation.mteb import MtebEncoder, search_model

tasks = mteb.get_tasks(tasks=["NFCorpus"])
mteb.evaluate(MtebEncoder(Encoder("minilm"), truncate_dim=192), tasks)  # a prefix, exact
mteb.evaluate(search_model(Encoder("minilm"), funnel="96@4:2000 > 384@16"), tasks)  # a funnel
```

MTEB asks for the best 1,000 documents of a question: a stage that keeps fewer is raised to that by
`nestling.Index`, as every stage keeps at least what is asked for.

Muennighoff et al. 2023, "MTEB: Massive Text Embedding Benchmark".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
    """An encoder as MTEB's `EncoderProtocol` has it, for tasks of every kind.

    Questions of retrieval tasks get the model's prompt for questions, their documents that for
    documents. Texts of other tasks, where neither is looked up, get that for questions, as models
    with two prompts (e5) advise.

    Args:
        encoder: For instance a `nestling.Encoder`.
        truncate_dim: Length of the prefix to use, re-normalised. None: the whole embedding.
        name: What results are filed under, as "owner/model". Default: "nestling/" and the encoder's
            name, and the prefix where there is one.

    Raises:
        PackageError: mteb is not installed.
        VectorError: `truncate_dim` is not 1 to the encoder's dimensions.
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

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """What MTEB files results under."""
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
            task_metadata: Not needed.
            hf_split: Not needed.
            hf_subset: Not needed.
            prompt_type: "query" or "document" in retrieval; None elsewhere.
            **kwargs: Not needed: nestling chooses its own batches.
        """
        texts = [text for batch in inputs for text in batch["text"]]
        document = prompt_type is not None and str(getattr(prompt_type, "value", prompt_type))
        work = self._encoder.encode if document == "document" else self._encoder.encode_queries
        vectors = work(texts)[:, : self.dim]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Returns the cosines of all pairs: (n, m)."""
        return require_mteb().similarity_functions.cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Returns the cosines of rows at the same place: (n,)."""
        return require_mteb().similarity_functions.pairwise_cos_sim(embeddings1, embeddings2)


class MtebIndex:
    """A funnel as MTEB's `IndexEncoderSearchProtocol` has it, for any of MTEB's own models.

    Args:
        funnel: The index's funnel. Default: that of the embeddings' dimension.
        threads: As for `nestling.Index`.

    Example:
        >>> from mteb.models import SearchEncoderWrapper  # doctest: +SKIP
        >>> SearchEncoderWrapper(model, index_backend=MtebIndex("64@4:2000 > 384@16"))  # doctest: +SKIP
    """  # noqa: E501 - an example is one line

    def __init__(self, funnel: str | Funnel | None = None, *, threads: int | None = None) -> None:
        self._funnel = None if funnel is None else Funnel.of(funnel)
        self._threads = threads
        self._index: Index | None = None
        self._places: dict[str, int] = {}

    def add_documents(self, embeddings: Any, idxs: Sequence[str]) -> None:
        """Adds (n, dim) embeddings, of numpy or torch, and their n ids.

        Raises:
            FunnelError: The funnel does not fit their dimension.
            VectorError: They hold NaN or infinity, or differ in dimension from those before.
        """
        vectors = _array(embeddings)
        if self._index is None:
            self._index = Index(vectors.shape[1], funnel=self._funnel, threads=self._threads)
        start = len(self._index)
        self._index.add(vectors)
        self._places.update((name, start + place) for place, name in enumerate(idxs))

    def search(
        self,
        embeddings: Any,
        top_k: int,
        similarity_fn: Callable[[Any, Any], Any],
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        query_idx_to_id: Mapping[int, str] | None = None,
    ) -> tuple[list[list[float]], list[list[int]]]:
        """Searches, or orders given candidates by the stored rows.

        Args:
            embeddings: (m, dim), of numpy or torch.
            top_k: Documents wanted a question.
            similarity_fn: Not needed: cosine.
            top_ranked: Ids of the candidates of each question, by its id; None searches all.
            query_idx_to_id: Ids of the questions, by their places; needed with `top_ranked`.

        Returns:
            Scores, and places among all documents, or among a question's candidates; best first.

        Raises:
            VectorError: There are no documents yet, or the embeddings do not fit them.
        """
        if self._index is None:
            raise VectorError("the index has no documents: call add_documents first")
        queries = _array(embeddings)
        if top_ranked is not None:
            names = query_idx_to_id or {}
            found = [
                self._order(query, top_ranked.get(names[place], ()), top_k)
                for place, query in enumerate(queries)
            ]
            return [scores for scores, _ in found], [places for _, places in found]
        hits = self._index.search(queries, k=min(top_k, len(self._index)))
        return hits.scores.tolist(), hits.ids.tolist()

    def clear(self) -> None:
        """Forgets all documents."""
        self._index = None
        self._places = {}

    def _order(
        self, query: Floats, candidates: Sequence[str], top_k: int
    ) -> tuple[list[float], list[int]]:
        if self._index is None or not candidates:
            return [], []
        rows = self._index.reconstruct([self._places[name] for name in candidates])
        lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
        scores = rows @ query / np.where(lengths > 0, lengths, 1)
        order = np.argsort(-scores, kind="stable")[:top_k]
        return scores[order].tolist(), order.tolist()


def search_model(
    encoder: TextEncoder,
    *,
    funnel: str | Funnel | None = None,
    truncate_dim: int | None = None,
    threads: int | None = None,
    name: str | None = None,
) -> SearchEncoderWrapper:
    """Makes the whole engine, encoder and funnel, a model for MTEB's retrieval tasks.

    Args:
        encoder: For instance a `nestling.Encoder`.
        funnel: Of the index. Default: that of the embeddings' dimension.
        truncate_dim: As for `MtebEncoder`.
        threads: Of the searches.
        name: As for `MtebEncoder`. Give another to each funnel, so that MTEB's cache of results
            tells them apart.

    Returns:
        MTEB's `SearchEncoderWrapper`, which is a `SearchProtocol`.

    Raises:
        PackageError: mteb is not installed.
        VectorError: As for `MtebEncoder`.
    """
    model = MtebEncoder(encoder, truncate_dim=truncate_dim, name=name)
    from mteb.models import SearchEncoderWrapper

    return SearchEncoderWrapper(model, index_backend=MtebIndex(funnel, threads=threads))


def _array(embeddings: Any) -> Floats:
    # A tensor that takes part in training, or lies on another device, does not convert by itself.
    if hasattr(embeddings, "detach"):
        embeddings = embeddings.detach().cpu().numpy()
    return np.asarray(embeddings, np.float32)


def _meta(name: str, encoder: TextEncoder, dim: int) -> ModelMeta:
    require_mteb()
    from mteb.models import ModelMeta
    from mteb.models.model_meta import ScoringFunction

    return ModelMeta(
        loader=None,
        name=name,
        revision=str(getattr(encoder, "fingerprint", None) or "1"),
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
