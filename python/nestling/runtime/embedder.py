"""A model folder, loaded: texts in, unit vectors out, in the thread of the caller."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nestling.errors import ModelError
from nestling.runtime.batches import pad
from nestling.runtime.folder import ModelFolder
from nestling.runtime.pooling import layer_norm, normalise
from nestling.runtime.session import Cancellation, Graph
from nestling.runtime.tokenizer import TextTokenizer

__all__ = ["Embedder", "Floats", "TokenIds"]

Floats = NDArray[np.float32]
TokenIds = NDArray[np.int64]


class Embedder:
    """The tokenizer, the graph and the pooling of one model folder. Threads may share it.

    It adds no prompt, plans no batches and starts no threads: `nestling.Encoder` does.

    Args:
        folder: What to load.
        max_length: Tokens of a text to read, special ones included. None: as many as the model can.

    Attributes:
        folder: As given.
        max_length: Tokens of a text that are read; None when there is no limit.
        dim: Dimensions of an embedding.
        tokenizer: Texts to token ids.
        graph: The model itself.

    Raises:
        ModelError: The folder cannot be used, or `max_length` is more than the model reads.
    """

    def __init__(self, folder: ModelFolder, *, max_length: int | None = None) -> None:
        known = folder.max_length
        if max_length is not None and known is not None and max_length > known:
            raise ModelError(
                f"max_length={max_length} is more than the {known} tokens that the model reads"
            )
        self.folder = folder
        self.max_length = known if max_length is None else max_length
        self.tokenizer = TextTokenizer(folder, max_length=self.max_length)
        self.graph = Graph(folder)
        probe, _ = self.tokenize(["nestling"])
        self.dim = int(self.graph.run(*self._padded(probe)).shape[1])

    @property
    def one_by_one(self) -> bool:
        """Whether texts must not share a run of the graph (see `Graph`)."""
        return self.graph.one_by_one

    def tokenize(self, texts: Sequence[str]) -> tuple[list[TokenIds], int]:
        """Returns the token ids of each text, and how many texts were truncated."""
        return self.tokenizer.encode(texts)

    def embed_tokens(
        self,
        rows: list[TokenIds],
        dim: int | None = None,
        cancellation: Cancellation | None = None,
    ) -> Floats:
        """Runs the model once.

        Args:
            rows: The token ids of each text; none may be empty.
            dim: Length of the prefix to return, re-normalised. None: the whole embedding.
            cancellation: What can end the run early, from another thread.

        Returns:
            (n, dim) float32 at unit length.
        """
        return self.finish(self.graph.run(*self._padded(rows), cancellation), dim)

    def finish(self, vectors: Floats, dim: int | None) -> Floats:
        """Returns unit prefixes of the graph's output, layer-normalised first where needed."""
        if self.folder.layer_norm:
            vectors = layer_norm(vectors)
        return normalise(vectors[:, :dim])

    def embed(self, texts: Sequence[str]) -> Floats:
        """Returns (n, dim) float32 from a run of the model per text; zeros without tokens."""
        rows, _ = self.tokenize(texts)
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for i, row in enumerate(rows):
            if len(row):
                vectors[i] = self.embed_tokens([row])[0]
        return vectors

    def _padded(self, rows: list[TokenIds]) -> tuple[TokenIds, TokenIds]:
        return pad(rows, self.tokenizer.pad_id)
