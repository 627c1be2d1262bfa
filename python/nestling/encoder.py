"""Text in, unit vectors out: ONNX models on the CPU."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray

from nestling._util.lease import locked
from nestling._util.progress import ProgressBar
from nestling._util.threads import thread_count
from nestling.errors import (
    ArgumentError,
    ArgumentTypeError,
    EncoderMismatchError,
    ModelError,
    NestingWarning,
    TruncationWarning,
    VectorError,
)
from nestling.models.locate import canonical_source, locate, source_kind
from nestling.models.recipes import recipe_for
from nestling.runtime.batches import plan
from nestling.runtime.embedder import Embedder, Floats, TokenIds
from nestling.runtime.folder import ModelFolder, Precision, Teacher
from nestling.runtime.overrides import Overrides
from nestling.runtime.session import Cancellation

__all__ = ["Encoder"]

_WINDOW: Final = 8192  # texts that are tokenized and sorted by length at a time
_CHUNK: Final = 256  # texts that one thread tokenizes at a time
# Tokens of a batch, padding included: more would not fit the caches and save no time.
_BATCH_TOKENS: Final = 512
# Tokens times bytes of weights of a run of some 0.1 s: Ctrl-C must end those that are longer.
_LONG_RUN: Final = 100_000_000_000

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


class Encoder:
    """Turns texts into embeddings.

    Safe to use from several threads and after a fork. The embedding of a text depends neither on
    the texts encoded with it nor on the number of threads, beyond rounding (1e-6).

    Args:
        name_or_folder: A built-in name ("minilm", "e5", "wordllama"), a folder in the layout of
            Hugging Face or sentence-transformers (see `nestling.runtime.folder`), or a hub id.
        precision: "int8" or "float32": which graph of the model to use. A folder with only one of
            them uses that one.
        threads: Threads to encode with. None: `NESTLING_THREADS`, else every core that this process
            may use.
        max_length: Tokens of a text to read, special ones included. None: as many as the model
            allows.
        nested: Whether to use the adaptor of a built-in model that was not trained for prefixes: an
            orthogonal map that moves the most informative directions to the first dimensions.
            Scores of whole embeddings stay the same, those of prefixes improve. It has no effect on
            "wordllama", folders and hub ids.
        query_prompt: What `encode_queries` puts before a text, "" for nothing. None: as the model's
            files say, else as is known of a well-known model (`nestling models`).
        document_prompt: What `encode` puts before a text, likewise.
        layer_norm: Whether to layer-normalise an embedding before a prefix is taken. None: as the
            files say, or as is known.
        nesting: Prefix lengths that the model was trained for. None: as the files say, its model
            card among them, or as is known. Default funnels follow them; vectors do not depend on
            them.
        revision: For a hub id: a branch, a tag or a commit. None: the default branch.

    Attributes:
        name: The model's name.
        source: What opens the same model from anywhere: a built-in name, an absolute folder, or a
            hub id.
        path: The model's folder.
        dim: Dimensions of an embedding.
        nesting: Prefix lengths that the model, or its adaptor, was trained for; empty where
            unknown.
        max_length: Tokens of a text that are read; None when there is no limit.
        precision: "int8" or "float32", of the graph in use.
        nested: As given.
        prompts: The prompts of the model, by name; a prompt is put before a text.
        overrides: The arguments that stand in for settings of the model's files.
        recipe: What is known of a well-known model, where its files do not say; see
            `nestling.models.recipes`.
        threads: Threads that encode.
        embedder: The loaded model, without prompts, batches or threads.
        teacher: Of a query encoder, the encoder that it imitates; None for a model of its own.
        refine_below: Of a query encoder, the margin of a search below which the teacher's embedding
            of the query should be used (`Collection.search`, `refine="auto"`); None if unknown.
        queries: The query encoder that `encode_queries` uses, as `with_queries` set it; None if it
            is this encoder itself.

    Raises:
        ModelError: The model cannot be fetched or cannot be used (the subclasses say why).
        SettingError: NESTLING_THREADS is needed and is not a whole number of at least 1.
        ArgumentError, ArgumentTypeError: `threads` is not a whole number of at least 1, another
            argument cannot be used, or `revision` is given for a model that is not on the hub.
        StorageError: The cache folder cannot be written.

    Example:
        >>> encoder = Encoder("minilm")  # doctest: +MODEL
        >>> encoder.encode(["A cat sat on a mat.", "Rates rose again."]).shape  # doctest: +MODEL
        (2, 384)
    """

    def __init__(
        self,
        name_or_folder: str | os.PathLike[str] = "minilm",
        *,
        precision: Precision = "int8",
        threads: int | None = None,
        max_length: int | None = None,
        nested: bool = True,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        layer_norm: bool | None = None,
        nesting: Sequence[int] | None = None,
        revision: str | None = None,
    ) -> None:
        if precision not in get_args(Precision):
            raise ModelError(f"precision must be 'int8' or 'float32', not {precision!r}")
        self.threads = thread_count(threads)
        self.overrides = Overrides(
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            layer_norm=layer_norm,
            nesting=None if nesting is None else cast("tuple[int, ...]", nesting),
            revision=revision,
        )
        self.source = canonical_source(name_or_folder)
        path = locate(name_or_folder, precision=precision, nested=nested, revision=revision)
        folder = ModelFolder.read(path, precision=precision)
        if source_kind(self.source) == "hub":
            folder = replace(folder, name=self.source)
        recipe = recipe_for(self.source)
        self.recipe = Overrides() if recipe is None else recipe.missing(folder)
        folder = self.overrides.over(self.recipe).apply(folder)
        self.embedder = Embedder(folder, max_length=max_length)
        self.name = folder.name
        self.path = path
        self.dim = self.embedder.dim
        self.nesting = tuple(dim for dim in folder.nesting if dim <= self.dim)
        self.max_length = self.embedder.max_length
        self.precision = folder.precision
        self.nested = nested
        self.prompts: Mapping[str, str] = MappingProxyType(dict(folder.prompts))
        self.teacher: Teacher | None = folder.teacher
        self.refine_below = folder.refine_below
        self.queries: Encoder | None = None
        self._warned_dims: set[int] = set()
        self._truncated = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        given = "".join(f", {name}={value!r}" for name, value in self.overrides.given().items())
        known = "".join(f", {name}={value!r}" for name, value in self.recipe.given().items())
        return (
            f"Encoder({self.name!r}, dim={self.dim}, precision={self.precision!r}, "
            f"max_length={self.max_length}, threads={self.threads}{given})"
            + (f" with the recipe of {self.source}: {known[2:]}" if known else "")
            + ("" if self.queries is None else f" with queries by {self.queries.name!r}")
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the encoder as what opens it: its name or folder, and its settings."""
        options = {
            "precision": self.precision,
            "threads": self.threads,
            "max_length": self.max_length,
            "nested": self.nested,
            **self.overrides.given(),
        }
        return _unpickled, (type(self), self.source, options, self.queries)

    @property
    def document_prompt(self) -> str:
        """The prompt that `encode` puts before a text; empty for none."""
        return self.embedder.folder.document_prompt

    @property
    def query_prompt(self) -> str:
        """The prompt that `encode_queries` puts before a text; empty for none."""
        return self.embedder.folder.query_prompt

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify the model: its files, pooling and prompts.

        It does not depend on where they are. The same model from another source, or at another
        precision, has another fingerprint: its vectors may differ slightly. Reads the files once,
        25 to 500 MB for the built-in models.
        """
        return self.embedder.folder.fingerprint()

    @property
    def truncated(self) -> int:
        """How many texts this encoder has truncated so far."""
        return self._truncated

    def encode(
        self,
        texts: Sequence[str] | str,
        *,
        batch_size: int = 64,
        dim: int | None = None,
        progress: bool | None = None,
    ) -> Floats:
        """Encodes documents, with the model's prompt for them.

        A text without tokens (an empty string, for a model that adds no special tokens) becomes the
        zero vector, unless the model's modules make something else of it. Unpaired surrogates are
        read as U+FFFD. Texts longer than `max_length` are truncated, and one `TruncationWarning`
        per call says how many.

        Args:
            texts: Any sequence of strings, or one string.
            batch_size: The most texts in one run of the model. Results do not depend on it.
            dim: Length of the prefix to return, re-normalised; None for the whole embedding. One
                that the model was not trained for causes a `NestingWarning`, once.
            progress: Whether to show a progress bar on stderr. None: if it is a terminal and
                several texts take more than two seconds.

        Returns:
            (n, dim) float32 at unit length, in the order of `texts`; (dim,) for one string.

        Raises:
            ArgumentTypeError: An element is not a string; the message gives its position.
            VectorError: `dim` is less than 1, or more than the dimensions of an embedding.
            ArgumentError: `batch_size` is less than 1.

        Example:
            >>> encoder = Encoder("wordllama")  # doctest: +MODEL
            >>> encoder.encode("Bread is made of flour.", dim=64).shape  # doctest: +MODEL
            (64,)
        """
        return self._encode(texts, self.document_prompt, batch_size, dim, progress)

    def encode_queries(
        self,
        texts: Sequence[str] | str,
        *,
        batch_size: int = 64,
        dim: int | None = None,
        progress: bool | None = None,
    ) -> Floats:
        """Encodes queries, with the model's prompt for them; otherwise like `encode`.

        Example:
            >>> encoder = Encoder("wordllama")  # doctest: +MODEL
            >>> encoder.encode_queries(["what makes bread?"]).shape  # doctest: +MODEL
            (1, 256)
        """
        if self.queries is not None:
            return self.queries.encode_queries(
                texts, batch_size=batch_size, dim=dim, progress=progress
            )
        return self._encode(texts, self.query_prompt, batch_size, dim, progress)

    def with_queries(self, query_encoder: str | os.PathLike[str] | Encoder | None) -> Encoder:
        """Returns this encoder with another one for queries, which was trained to imitate it.

        Documents are encoded as before, and the fingerprint stays, so that a collection takes one
        for the other. Both share the loaded model.

        Args:
            query_encoder: A query encoder that comes with nestling ("minilm-fast", "e5-fast"), a
                folder that `nestling.training.train_query_encoder` wrote, or such an encoder; None
                for this encoder alone.

        Raises:
            EncoderMismatchError: It imitates another encoder, or none.
            ModelError: It cannot be loaded.

        Example:
            >>> encoder = Encoder("minilm")  # doctest: +MODEL
            >>> fast = encoder.with_queries("minilm-fast")  # doctest: +MODEL
            >>> fast.encode_queries("what makes bread?").shape  # doctest: +MODEL
            (384,)
        """
        queries = query_encoder
        if queries is not None:
            if not isinstance(queries, Encoder):
                queries = Encoder(queries, precision=self.precision, threads=self.threads)
            queries.check_teacher(self.fingerprint, f"the encoder {self.name!r}")
        both = object.__new__(type(self))
        both.__dict__.update(self.__dict__)
        both.queries = queries
        return both

    def unknown_share(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Returns the share of the tokens of each query that a query encoder never learnt.

        They add nothing to an embedding, so that much of what such a query says is lost. A model of
        its own knows all tokens.

        Args:
            texts: The queries.

        Returns:
            (n,) float64, 0 to 1; 0 for a text without tokens.

        Example:
            >>> fast = Encoder("e5-fast")  # doctest: +MODEL
            >>> shares = fast.unknown_share(["how do whales sing?", "какая"])  # doctest: +MODEL
            >>> shares[0] < 0.2 < shares[1]  # doctest: +MODEL
            np.True_
        """
        prompt = self.query_prompt
        return self.embedder.unknown_share([prompt + text for text in texts])

    def check_teacher(self, fingerprint: str | None, whose: str) -> None:
        """Raises an error unless this is a query encoder for the encoder of a fingerprint.

        Args:
            fingerprint: The encoder's; None if it has none.
            whose: What the error calls it, or what it made.

        Raises:
            EncoderMismatchError: It imitates another encoder, or none.

        Example:
            >>> fast = Encoder("fast")  # doctest: +SKIP
            >>> fast.check_teacher(Encoder("minilm").fingerprint, "minilm")  # doctest: +SKIP
        """
        if self.teacher is None:
            raise EncoderMismatchError(
                f"{self.source!r} is not a query encoder, but a model of its own: train one with "
                "nestling train query-encoder"
            )
        if self.teacher.fingerprint != fingerprint:
            raise EncoderMismatchError(
                f"{self.source!r} imitates {self.teacher.name!r} (fingerprint "
                f"{self.teacher.fingerprint}), and cannot encode queries for {whose} (fingerprint "
                f"{fingerprint}): train one for that encoder with nestling train query-encoder"
            )

    def _encode(
        self,
        texts: Sequence[str] | str,
        prompt: str,
        batch_size: int,
        dim: int | None,
        progress: bool | None,
    ) -> Floats:
        single = isinstance(texts, str)
        if isinstance(texts, (bytes, bytearray)) or not isinstance(texts, Iterable):
            raise ArgumentTypeError(
                f"texts must be a string or strings, not {type(texts).__name__}"
            )
        texts = [texts] if isinstance(texts, str) else list(texts)
        if batch_size < 1:
            raise ArgumentError(f"batch_size must be at least 1, not {batch_size}")
        if dim is not None and not 1 <= dim <= self.dim:
            raise VectorError(f"dim must be 1 to {self.dim} for {self.name}, not {dim}")
        if dim is not None and self.nesting and dim not in self._known_dims():
            self._warn_of_dim(dim)
        for position, text in enumerate(texts):
            if not isinstance(text, str):
                raise ArgumentTypeError(
                    f"texts[{position}] is {type(text).__name__}, but only strings can be encoded"
                )
        if len(texts) == 1 and not progress:
            vectors, truncated = self._encode_one(texts[0], prompt, dim)
        else:
            vectors, truncated = self._encode_many(texts, prompt, batch_size, dim, progress)
        if truncated:
            self._warn_of_truncation(truncated, len(texts))
        return vectors[0] if single else vectors

    def _encode_one(self, text: str, prompt: str, dim: int | None) -> tuple[Floats, int]:
        """Encodes a single text without windows, a batch plan, threads and a progress bar."""
        rows, truncated = self.embedder.tokenize([prompt + text])
        skip = self.embedder.prompt_length(prompt)
        if not len(rows[0]):
            return self.embedder.embed_nothing(1, dim), truncated
        if not self._runs_long(len(rows[0])):
            return self.embedder.embed_tokens(rows, dim, skip=skip), truncated
        with self._workers([text]) as (work, cancellation):
            ((_, vectors),) = self._run(rows, 1, dim, skip, work, cancellation)
        return vectors, truncated

    def _encode_many(
        self,
        texts: list[str],
        prompt: str,
        batch_size: int,
        dim: int | None,
        progress: bool | None,
    ) -> tuple[Floats, int]:
        vectors = self.embedder.embed_nothing(len(texts), dim)
        skip = self.embedder.prompt_length(prompt)
        truncated = 0
        with (
            self._workers(texts) as (work, cancellation),
            ProgressBar(f"encoding with {self.name}", total=len(texts), show=progress) as bar,
        ):
            for start in range(0, len(texts), _WINDOW):
                window = vectors[start : start + _WINDOW]
                prompted = [prompt + text for text in texts[start : start + _WINDOW]]
                rows, cut = self._tokenize(prompted, work)
                truncated += cut
                bar.advance(sum(len(row) == 0 for row in rows))
                for positions, part in self._run(rows, batch_size, dim, skip, work, cancellation):
                    window[positions] = part
                    bar.advance(len(positions))
        return vectors, truncated

    def _tokenize(self, texts: list[str], work: _Map) -> tuple[list[TokenIds], int]:
        chunks = [texts[i : i + _CHUNK] for i in range(0, len(texts), _CHUNK)]
        rows: list[TokenIds] = []
        truncated = 0
        for part, cut in work(self.embedder.tokenize, chunks):
            rows += part
            truncated += cut
        return rows, truncated

    def _run(
        self,
        rows: list[TokenIds],
        batch_size: int,
        dim: int | None,
        skip: int,
        work: _Map,
        cancellation: Cancellation,
    ) -> Iterator[tuple[NDArray[np.intp], Floats]]:
        """Yields the positions of the texts of each batch, with their vectors."""

        def embed(positions: NDArray[np.intp]) -> tuple[NDArray[np.intp], Floats]:
            batch = [rows[i] for i in positions]
            return positions, self.embedder.embed_tokens(batch, dim, cancellation, skip=skip)

        most = 1 if self.embedder.one_by_one else batch_size
        lengths = [len(row) for row in rows]
        padding = self.embedder.padding
        batches = plan(lengths, batch_size=most, max_tokens=_BATCH_TOKENS, padding=padding)
        return work(embed, batches)

    @contextmanager
    def _workers(self, texts: list[str]) -> Iterator[tuple[_Map, Cancellation]]:
        """Yields a `map` over threads, or the builtin one where threads would not help.

        The threads exist for one call, as threads do not survive a fork. An exception, such as of
        Ctrl-C, cancels their runs.
        """
        cancellation = Cancellation()
        threads = min(self.threads, len(texts))
        # As many tokens as characters, at most.
        longest = max(map(len, texts), default=0)
        if threads <= 1 and not self._runs_long(max(longest, _BATCH_TOKENS)):
            yield map, cancellation
            return
        pool = ThreadPoolExecutor(threads, thread_name_prefix="nestling-encoder")
        try:
            yield pool.map, cancellation
        except BaseException:
            cancellation.cancel()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _runs_long(self, tokens: int) -> bool:
        """Whether a run of so many tokens takes so long that it must be cancellable."""
        tokens = min(tokens, self.max_length or tokens)
        return tokens * self.embedder.graph.weights >= _LONG_RUN

    def _known_dims(self) -> tuple[int, ...]:
        """Returns the lengths that an embedding may be cut to without a warning."""
        return (self.dim, *self.nesting, *self._warned_dims)

    def _warn_of_dim(self, dim: int) -> None:
        with locked(self._lock):
            self._warned_dims.add(dim)
        trained = ", ".join(map(str, self.nesting))
        warnings.warn(
            f"{self.name} was not trained for prefixes of {dim} dimensions, but for {trained}; "
            "those between them are often good too, but shorter ones seldom are",
            NestingWarning,
            stacklevel=4,
        )

    def _warn_of_truncation(self, truncated: int, texts: int) -> None:
        with locked(self._lock):
            self._truncated += truncated
        warnings.warn(
            f"{truncated:,} of {texts:,} texts were longer than the {self.max_length} tokens that "
            f"{self.name} reads, and were truncated; split long texts if their ends matter",
            TruncationWarning,
            stacklevel=4,
        )


class _Map(Protocol):
    """The type of `map` over one iterable."""

    def __call__(
        self, function: Callable[[_Job], _Result], jobs: Iterable[_Job], /
    ) -> Iterator[_Result]: ...


def _unpickled(
    kind: type[Encoder], source: str, options: dict[str, Any], queries: Encoder | None
) -> Encoder:
    encoder = kind(source, **options)
    return encoder if queries is None else encoder.with_queries(queries)
