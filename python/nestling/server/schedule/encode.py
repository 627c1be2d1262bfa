"""Texts of concurrent requests in batches of one model, by their tokens and without a timer."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np

from nestling.encoder import Encoder
from nestling.runtime.batches import plan
from nestling.runtime.embedder import Floats, TokenIds
from nestling.server.errors import RequestError
from nestling.server.schedule.admission import Admission, QueueLimits
from nestling.server.schedule.threads import WorkerThreads

__all__ = ["EncodeLimits", "EncodeScheduler", "Encoded"]

# Tokens of a batch, padding included, as `Encoder` has it: vectors are then equal to the last bit.
_BATCH_TOKENS: Final = 512
_BATCH_TEXTS: Final = 64
_INLINE_CHARACTERS: Final = 4_000  # texts that are tokenized at once, which takes about 0.1 ms
_MOST_PADDING: Final = 2  # a text may be padded to this multiple of its length


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeLimits:
    """What a request for embeddings may ask of a model.

    Attributes:
        input_tokens: The most tokens of a text; None to truncate as the model does.
        request_tokens: The most tokens of a request.
    """

    input_tokens: int | None
    request_tokens: int


@dataclass(slots=True)
class Encoded:
    """The embeddings of a request.

    Attributes:
        vectors: (n, dim) float32 at unit length.
        tokens: Tokens of all texts, prompts and special ones included.
        truncated: How many texts were longer than the model reads.
        queue_ms: How long they waited for the model.
        encode_ms: How long the model ran.
    """

    vectors: Floats
    tokens: int
    truncated: int
    queue_ms: float = 0.0
    encode_ms: float = 0.0


@dataclass(slots=True, eq=False)
class _Job:
    """The texts of one request that are still to be encoded."""

    rows: list[TokenIds]
    dim: int | None
    skip: int
    vectors: Floats
    pieces: deque[np.ndarray]
    left: int
    tokens: int  # that wait
    done: asyncio.Future[None]
    arrived: float = field(default_factory=time.perf_counter)
    started: float = 0.0

    def take(self, piece: np.ndarray) -> int:
        """Returns the tokens of a piece, which does not wait any more."""
        tokens = sum(len(self.rows[i]) for i in piece)
        self.tokens -= tokens
        return tokens

    @property
    def turn(self) -> int:
        """The tokens that are encoded of it before a short request is done, if it waits."""
        return min(self.tokens, _BATCH_TOKENS)

    def peer(self, other: _Job) -> bool:
        """Whether texts of both may share a run."""
        return self.dim == other.dim and self.skip == other.skip


_Piece = tuple[_Job, np.ndarray]


class EncodeScheduler:
    """Runs a model for concurrent requests.

    The texts of a request are cut into batches of similar length, just as `Encoder` cuts them. When
    a thread is free, it takes a batch of the request whose turn it is, and fills it up with small
    ones of others; while it runs, the next one forms. A request of many texts so takes turns with
    short ones. Requests that were given up leave the queue.

    All methods belong to the event loop's thread.

    Args:
        encoder: The model.
        threads: What runs it.
        workers: How many of them it may use at a time.
        limits: What a request may ask.
        queue: How many tokens may wait.
        on_batch: Called with the number of texts of each run.
    """

    def __init__(
        self,
        encoder: Encoder,
        threads: WorkerThreads,
        workers: int,
        limits: EncodeLimits,
        queue: QueueLimits,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.encoder = encoder
        self.admission = Admission(queue, "tokens")
        self._on_batch = on_batch
        self._embedder = encoder.embedder
        self._threads = threads
        self._idle = self._workers = workers
        self._running = 0  # tokens
        self._limits = limits
        self._turns: deque[_Job] = deque()
        self._short_wait = 0  # the sum of their `turn`: every refusal needs it

    @property
    def full(self) -> bool:
        """Whether even the shortest request would be refused."""
        return self.admission.full(self._ahead(1))

    async def encode(
        self, texts: Sequence[str] | Sequence[TokenIds], prompt: str, dim: int | None = None
    ) -> Encoded:
        """Returns the embeddings of texts, or of token ids.

        Args:
            texts: Strings, or the token ids of texts.
            prompt: What is put before each string.
            dim: Length of the prefix to return, re-normalised. None: the whole embedding.

        Raises:
            RequestError: 413 for too many tokens, 429 if too much waits.
        """
        if self.admission.queued:  # a request that is refused is not tokenized before
            guess = _least_tokens(texts)
            self.admission.check(guess, self._ahead(guess))
        rows, truncated = await self._tokens(texts, prompt)
        lengths = [len(row) for row in rows]
        counts = [self._embedder.count_tokens(row) for row in rows]
        self._check_sizes(counts, sum(counts))
        tokens = sum(lengths)
        vectors = self._embedder.embed_nothing(len(rows), dim)
        encoded = Encoded(vectors, sum(counts), truncated)
        pieces = deque(
            plan(
                lengths,
                batch_size=1 if self._embedder.one_by_one else _BATCH_TEXTS,
                max_tokens=_BATCH_TOKENS,
                padding=self._embedder.padding,
            )
        )
        if not pieces:
            return encoded
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        skip = self._embedder.prompt_length(prompt) if prompt else 0
        job = _Job(rows, dim, skip, vectors, pieces, len(pieces), tokens, done)
        with self.admission.admitted(tokens, self._ahead(tokens)):
            self._turns.append(job)
            self._short_wait += job.turn
            self._dispatch()
            await done
        encoded.queue_ms = (job.started - job.arrived) * 1000
        encoded.encode_ms = (time.perf_counter() - job.started) * 1000
        return encoded

    async def _tokens(
        self, texts: Sequence[str] | Sequence[TokenIds], prompt: str
    ) -> tuple[list[TokenIds], int]:
        if not texts or not isinstance(texts[0], str):
            rows: list[TokenIds] = list(texts)  # type: ignore[arg-type]
            longest = self._embedder.max_length
            truncated = sum(len(row) > longest for row in rows) if longest else 0
            return [row[:longest] for row in rows], truncated
        prompted: list[str] = [prompt + str(text) for text in texts]
        if sum(map(len, prompted)) <= _INLINE_CHARACTERS:
            return self._embedder.tokenize(prompted)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self._embedder.tokenize, prompted)

    def _check_sizes(self, lengths: list[int], tokens: int) -> None:
        limits = self._limits
        if tokens > limits.request_tokens:
            raise RequestError(
                413,
                f"the texts have {tokens:,} tokens, but a request may have at most "
                f"{limits.request_tokens:,}",
                param="input",
                code="too_many_tokens",
            )
        most = limits.input_tokens
        if most is not None and max(lengths, default=0) > most:
            position = next(i for i, length in enumerate(lengths) if length > most)
            raise RequestError(
                413,
                f"text {position} has {lengths[position]:,} tokens, but a text may have at most "
                f"{most:,}",
                param="input",
                code="too_many_tokens",
            )

    def _ahead(self, tokens: int) -> int:
        """Returns the tokens that are encoded before a new request of so many is done.

        As requests take turns, another one gets no more of the model meanwhile than this one does.
        """
        if tokens <= _BATCH_TOKENS:
            return self._short_wait + self._running
        return sum(min(job.tokens, tokens) for job in self._turns) + self._running

    def _dispatch(self) -> None:
        """Starts batches while threads are idle and texts wait."""
        while self._idle and (batch := self._next_batch()):
            self._idle -= 1
            now = time.perf_counter()
            tokens = 0
            for job, piece in batch:
                job.started = job.started or now
                self._short_wait -= job.turn
                tokens += job.take(piece)
                self._short_wait += job.turn
            self._running += tokens
            rows = [job.rows[i] for job, piece in batch for i in piece]
            self._on_batch(len(rows))
            dim, skip = batch[0][0].dim, batch[0][0].skip
            work = partial(self._embedder.embed_tokens, rows, dim, skip=skip)
            self._threads.submit(work, partial(self._finish, batch, tokens, now))

    def _next_batch(self) -> list[_Piece]:
        """Takes the piece whose turn it is, and small ones that fit beside it."""
        batch: list[_Piece] = []
        texts = longest = shortest = 0
        for _ in range(len(self._turns)):
            job = self._turns.popleft()
            if job.done.done():  # given up
                self._short_wait -= job.turn
                continue
            piece = job.pieces[0]
            lengths = (len(job.rows[piece[-1]]), len(job.rows[piece[0]]))  # shortest, longest
            if batch:
                low, high = min(shortest, lengths[0]), max(longest, lengths[1])
                fits = (
                    batch[0][0].peer(job)
                    and not self._embedder.one_by_one
                    and (high <= _MOST_PADDING * low if self._embedder.padding else high == low)
                    and high * (texts + len(piece)) <= _BATCH_TOKENS
                    and texts + len(piece) <= _BATCH_TEXTS
                )
                if not fits:
                    self._turns.append(job)
                    continue
                shortest, longest = low, high
            else:
                shortest, longest = lengths
            texts += len(piece)
            batch.append((job, job.pieces.popleft()))
            if job.pieces:
                self._turns.append(job)
        return batch

    def _finish(
        self,
        batch: list[_Piece],
        tokens: int,
        started: float,
        vectors: Floats,
        error: BaseException | None,
        seconds: float,
    ) -> None:
        self._idle += 1
        self._running -= tokens
        lag = time.perf_counter() - started - seconds
        self.admission.note(tokens * self._workers, seconds, lag)
        start = 0
        for job, piece in batch:
            if job.done.done():
                pass
            elif error is not None:
                job.done.set_exception(error)
            else:
                job.vectors[piece] = vectors[start : start + len(piece)]
                job.left -= 1
                if not job.left:
                    job.done.set_result(None)
            start += len(piece)
        self._dispatch()


def _least_tokens(texts: Sequence[str] | Sequence[TokenIds]) -> int:
    """Returns about the fewest tokens that texts can have: one for ten characters."""
    return sum(len(text) // 10 + 1 if isinstance(text, str) else len(text) for text in texts)
