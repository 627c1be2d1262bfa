"""A model folder, loaded: texts in, unit vectors out, in the thread of the caller."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nestling.errors import ModelError
from nestling.runtime.batches import pad
from nestling.runtime.folder import ModelFolder
from nestling.runtime.modules import Tail, layer_norm, normalise
from nestling.runtime.session import Cancellation, Graph
from nestling.runtime.token_rows import FILE as TOKEN_ROWS
from nestling.runtime.token_rows import TokenRows
from nestling.runtime.tokenizer import TextTokenizer

__all__ = ["Embedder", "Floats", "TokenIds"]

Floats = NDArray[np.float32]
TokenIds = NDArray[np.int64]


class Embedder:
    """The tokenizer, the graph and the modules of one model folder. Threads may share it.

    It adds no prompt, plans no batches and starts no threads: `nestling.Encoder` does.

    Args:
        folder: What to load.
        max_length: Tokens of a text to read, special ones included. None: as many as the model can.

    Attributes:
        folder: As given.
        max_length: Tokens of a text that are read; None when there is no limit.
        dim: Dimensions of an embedding.
        width: Dimensions before the folder's `truncate_dim` cuts some off.
        tokenizer: Texts to token ids.
        graph: The model itself: a graph, or the rows of tokens.
        tail: What follows the graph.

    Raises:
        ModelError: The folder cannot be used, or `max_length` is more than the model reads.
    """

    def __init__(self, folder: ModelFolder, *, max_length: int | None = None) -> None:
        self.folder = folder
        self.tokenizer = TextTokenizer(folder.tokenizer, folder.text, max_length=max_length)
        self.max_length = self.tokenizer.max_length
        self.graph: Graph | TokenRows
        if folder.graph.name == TOKEN_ROWS:
            self.graph = TokenRows(folder.graph)
        else:
            self.graph = Graph(folder)
        self._grams = self.graph.grams if isinstance(self.graph, TokenRows) else None
        self.tail = Tail(self.graph.modules, pooled=self.graph.pooled)
        if "token_type_ids" in self.graph.inputs and self.tokenizer.has_types:
            raise ModelError(
                f"{folder.tokenizer} gives tokens of several types, which are not supported"
            )
        self._empty = self._nothing()
        self.width = self._empty.shape[1]
        self.dim = min(self.width, folder.truncate_dim or self.width)

    @property
    def one_by_one(self) -> bool:
        """Whether texts must not share a run of the graph (see `Graph`)."""
        return self.graph.one_by_one

    @property
    def padding(self) -> bool:
        """Whether a text may share a run of the graph with longer ones (see `Graph`)."""
        return self.graph.padding

    def tokenize(self, texts: Sequence[str]) -> tuple[list[TokenIds], int]:
        """Returns the token ids of each text, and how many texts were truncated.

        Ids of runs of letters follow, where the rows of tokens have such (`TokenRows.grams`).
        """
        rows, truncated = self.tokenizer.encode(texts)
        grams = self._grams
        if grams is not None:
            rows = [
                np.concatenate((row, np.array(grams.ids(text), np.int64)))
                for row, text in zip(rows, texts, strict=True)
            ]
        return rows, truncated

    def count_tokens(self, row: TokenIds) -> int:
        """Returns how many of the ids that `tokenize` gave are of tokens."""
        if self._grams is None:
            return len(row)
        return int(np.count_nonzero(row < self._grams.first))

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Returns the share of the tokens of each text that have no row, (n,); 0 of a graph."""
        if not isinstance(self.graph, TokenRows):
            return np.zeros(len(texts))
        rows, _ = self.tokenizer.encode(texts)
        return np.array([self.graph.unknown_share(row) for row in rows])

    def prompt_length(self, prompt: str) -> int:
        """Returns how many tokens at the start of a prompted text `embed_tokens` is to leave out.

        None, unless the folder's pooling says so.
        """
        return 0 if self.tail.include_prompt else self.tokenizer.prompt_length(prompt)

    def embed_tokens(
        self,
        rows: list[TokenIds],
        dim: int | None = None,
        cancellation: Cancellation | None = None,
        *,
        skip: int = 0,
    ) -> Floats:
        """Runs the model once.

        Args:
            rows: The token ids of each text; none may be empty.
            dim: Length of the prefix to return, re-normalised. None: the whole embedding.
            cancellation: What can end the run early, from another thread.
            skip: The `prompt_length` of the texts' prompt.

        Returns:
            (n, dim) float32 at unit length.
        """
        if isinstance(self.graph, TokenRows):
            if self.folder.layer_norm:
                return self._finish(self.graph.run(rows), dim)
            return self.graph.run(rows, dim or self.dim)
        ids, mask = pad(rows, self.tokenizer.pad_id)
        vectors = self.tail.run(self.graph.run(ids, mask, cancellation), mask, skip)
        return self._finish(vectors, dim)

    def embed_nothing(self, texts: int, dim: int | None = None) -> Floats:
        """Returns (texts, dim) float32: what texts without tokens become, mostly zeros."""
        return np.repeat(self._finish(self._empty, dim), texts, axis=0)

    def embed(self, texts: Sequence[str], prompt: str = "") -> Floats:
        """Returns (n, dim) float32 from a run of the model per text."""
        rows, _ = self.tokenize([prompt + text for text in texts])
        skip = self.prompt_length(prompt)
        vectors = self.embed_nothing(len(texts))
        for i, row in enumerate(rows):
            if len(row):
                vectors[i] = self.embed_tokens([row], skip=skip)[0]
        return vectors

    def _nothing(self) -> Floats:
        """Returns (1, width) float32: what a text without tokens becomes before it is finished."""
        if isinstance(self.graph, TokenRows):
            return np.zeros((1, self.graph.dim), np.float32)
        ids, mask = pad([self.tokenizer.probe()], self.tokenizer.pad_id)
        output = self.graph.run(ids, mask)
        width = self.tail.run(output, mask).shape[1]
        if self.graph.pooled:  # a table gives zeros, of which its modules may make something else
            return self.tail.run(np.zeros_like(output), mask)
        return np.zeros((1, width), np.float32)

    def _finish(self, vectors: Floats, dim: int | None) -> Floats:
        if self.folder.layer_norm:
            vectors = layer_norm(vectors)
        return normalise(vectors[:, : dim or self.dim])
