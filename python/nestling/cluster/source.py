"""The rows of all shards as one source of a search: requests go out, answers are merged.

Shards are searched as the segments of a collection are: each on its own, with the same funnel, and
their hits are merged by score and row. So a cluster finds what one collection of the same segments
finds, to the last bit. The weights of words follow from the statistics of all shards.

A shard that does not answer in time is left out of the rest of the query. If others have answered
before that, the query starts again without it, from the answers that are there.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Final, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nestling.cluster.hits import ClusterHits
from nestling.cluster.manifest import Manifest, ShardEntry
from nestling.cluster.requests import (
    Answer,
    CompletionAnswer,
    CompletionRequest,
    CountAnswer,
    CountRequest,
    DenseAnswer,
    DenseRequest,
    DroppedAnswer,
    DroppedRequest,
    FoundRows,
    LexicalAnswer,
    LexicalQuery,
    LexicalRequest,
    PassageAnswer,
    PassageRequest,
    Request,
)
from nestling.cluster.routing import Routing
from nestling.collection.ingest.encoder import EncoderSlot
from nestling.collection.query.filters import compile_filter
from nestling.collection.query.hits import DocumentHits
from nestling.collection.query.options import SearchOptions
from nestling.collection.query.queries import prepared
from nestling.collection.query.search import Search
from nestling.collection.query.source import FoundPassage, RankedRows
from nestling.collection.query.terms import IndexedPart, PartKind
from nestling.errors import ArgumentError
from nestling.index.funnel import Funnel
from nestling.index.hits import Hits, StageStats, total_stages

__all__ = ["Call", "ClusterSource", "ClusterVersion", "GatheredAnswers", "search"]

Rows = NDArray[np.int64]
A = TypeVar("A", bound=Answer)
K = TypeVar("K")
V = TypeVar("V")
Counted = tuple[tuple[str, ...], int, bool]
"""What is counted: the tokens and the kind of a part, and whether rows that have all of it count
rather than those of each term."""

_MOST_IDS: Final = 65_536  # hits of one answer whose ids come with it
_MOST_KEPT: Final = 500_000  # counts, or completions, that are kept for a version
_ROUND_SHARE: Final = 0.6  # of the time that is left: for a round, if more may follow
_FIRST_COMPLETIONS: Final = 2  # times as many as requested, from each shard at first
_MORE_COMPLETIONS: Final = 4


class GatheredAnswers(Protocol):
    """The answers of one round."""

    @property
    def answers(self) -> Mapping[str, Answer]:
        """By shard; those that are missing did not answer in time."""


class Call(Protocol):
    """What sends requests to shards, such as `Fanout.call`."""

    def __call__(
        self, requests: Mapping[str, Request], deadline: float | None, /
    ) -> GatheredAnswers:
        """Sends a request to each shard, and returns the answers.

        Args:
            requests: By shard.
            deadline: Seconds of `time.monotonic`; None for no limit.
        """


class ClusterVersion:
    """What all searches of one version share; any number of threads may use it.

    Args:
        manifest: The version.
        routing: Which shards a query goes to; None if rows are not assigned to shards by cells.

    Attributes:
        manifest: As given.
        routing: As given.
        shards: The shards, in the order of their rows.
        counts: Rows that have a part of a query, in all shards, for those that were counted.
        completed: The completions that are known, by prefix and number.
    """

    def __init__(self, manifest: Manifest, routing: Routing | None = None) -> None:
        self.manifest = manifest
        self.routing = routing
        self.shards: dict[str, ShardEntry] = {shard.name: shard for shard in manifest.shards}
        self.rows = np.array([shard.rows for shard in manifest.shards], np.int64)
        self.firsts = np.array([shard.first for shard in manifest.shards], np.int64)
        self.funnel = Funnel.of(manifest.funnel)
        self.split = any(shard.rows > shard.documents for shard in manifest.shards)
        self.columns = {name: f"f{number}" for number, name in enumerate(manifest.fields)}
        self.counts: dict[Counted, int] = {}
        self.completed: dict[tuple[str, int], list[str]] = {}

    def shards_of(self, rows: Rows) -> list[tuple[str, NDArray[np.bool_]]]:
        """Returns the shards that hold some of the rows, each with where these are among them."""
        numbers = self.firsts.searchsorted(rows, "right") - 1
        names = list(self.shards)
        return [(names[number], numbers == number) for number in np.unique(numbers).tolist()]


def search(
    version: ClusterVersion,
    call: Call,
    query: str | Sequence[str] | ArrayLike,
    options: SearchOptions,
    encoder: EncoderSlot,
    *,
    vectors: ArrayLike | None = None,
    deadline: float | None = None,
    probes: int | None = None,
) -> ClusterHits | list[ClusterHits]:
    """Returns the hits of one query, or a list for several.

    Args:
        version: What is searched.
        call: What sends requests to its shards.
        query: As for `Collection.search`.
        options: How to search.
        encoder: What encodes texts.
        vectors: As for `Collection.search`.
        deadline: When the last answers are waited for, in seconds of `time.monotonic`; None for no
            limit.
        probes: Dense searches go to the shards with the so many nearest centroids; None for all.

    Raises:
        ArgumentError: A query that is a vector needs words, or the dataset lacks what is requested.
        VectorError: A vector does not fit, or the dataset has no encoder.
        FilterError: The filter is malformed.
        FunnelError: The funnel has a stage that is not stored.
    """
    _check(version, options, probes)
    queries = prepared(query, options, vectors, encoder, version.manifest.dim)
    found: list[ClusterHits] = []
    for batch, clock in queries.batches:
        source = ClusterSource(version, call, options, deadline, probes)
        while True:
            try:
                hits = Search(source, options, clock).run(batch)
                break
            except _LostShardError:  # which may happen once for each shard
                source.restart()
        found += source.covered(hits)
    return found[0] if queries.single else found


def _check(version: ClusterVersion, options: SearchOptions, probes: int | None) -> None:
    if version.manifest.kind == "index":
        if options.mode != "dense":
            raise ArgumentError("the dataset holds bare vectors: it cannot be searched for words")
        if options.reads_documents:
            raise ArgumentError(
                "the dataset holds bare vectors, without documents: include may name 'vector' only"
            )
    if options.where is not None:
        compile_filter(options.where, version.columns)  # raises before it goes to every shard
    if probes is not None and version.routing is None:
        raise ArgumentError("the dataset was not built by cells: queries go to all of its shards")


class _LostShardError(Exception):
    """A shard does not answer any more, of which answers were used already."""


class ClusterSource:
    """The rows of the shards that answer.

    Args:
        version: What is searched.
        call: What sends requests.
        options: How to search.
        deadline: As for `search`.
        probes: As for `search`.

    Attributes:
        late: The shards that did not answer in time.
    """

    def __init__(
        self,
        version: ClusterVersion,
        call: Call,
        options: SearchOptions,
        deadline: float | None = None,
        probes: int | None = None,
    ) -> None:
        self.late: set[str] = set()
        self._version = version
        self._call = call
        self._options = options
        self._deadline = deadline
        self._probes = probes
        self._asked: NDArray[np.bool_] | None = None  # by query and shard, where queries are routed
        self._log: list[tuple[Mapping[str, Request], Mapping[str, Answer]]] = []
        self._known: dict[tuple[str, bytes], Answer] = {}  # of the attempts before this one
        self._counts: dict[Counted, int] = {}  # in the shards that are not late
        self._begin()

    def _begin(self) -> None:
        self._started = False
        self._allowed: int | None = None
        self._firsts: dict[int, int] = {}
        self._ids: dict[int, Any] = {}
        self._passages: dict[int, FoundPassage] = {}
        self._vectors: dict[int, NDArray[np.float32]] = {}

    def restart(self) -> None:
        """Begins the query again without the shards that are late."""
        for requests, answers in self._log:
            lost = {id(answer) for name, answer in answers.items() if name in self.late}
            for name, answer in answers.items():
                if id(answer) not in lost:
                    self._known[name, pickle.dumps(requests[name])] = answer
        self._log.clear()
        self._counts.clear()
        self._begin()

    def covered(self, hits: Sequence[DocumentHits]) -> list[ClusterHits]:
        """Returns the hits of each query, with the share of its rows that were searched."""
        names, rows = list(self._version.shards), self._version.rows
        answered = np.array([name not in self.late for name in names], np.bool_)
        found = []
        for number, each in enumerate(hits):
            asked = np.ones(len(names), np.bool_) if self._asked is None else self._asked[number]
            total = int(rows[asked].sum())
            late = tuple(names[place] for place in np.flatnonzero(asked & ~answered).tolist())
            searched = int(rows[asked & answered].sum())
            coverage = searched / total if total else float(not late)
            found.append(ClusterHits.of(each, coverage, late, int(asked.sum())))
        return found

    @property
    def rows(self) -> int:
        """See `Source`, as for the other methods."""
        if self._allowed is not None:
            return self._allowed
        answers = np.array([name not in self.late for name in self._version.shards], np.bool_)
        if self._asked is not None:
            answers &= self._asked.any(axis=0)
        return int(self._version.rows[answers].sum())

    @property
    def allowed(self) -> int | None:
        """See `Source`."""
        return None if self._options.where is None else self._allowed or 0

    @property
    def split(self) -> bool:
        """See `Source`."""
        return self._version.split

    @property
    def segments(self) -> int:
        """See `Source`."""
        return sum(1 for name in self._alive() if self._version.shards[name].rows)

    @property
    def funnel(self) -> Funnel:
        """See `Source`."""
        return self._version.funnel

    @property
    def weights(self) -> Mapping[str, float]:
        """See `Source`. A dataset has none."""
        return {}

    def dense(
        self,
        vectors: NDArray[np.float32],
        depth: int,
        funnel: Funnel | None,
        probes: int | None,
    ) -> Hits:
        """See `Source`."""
        options = self._options
        ids = self._ids_wanted(len(vectors) * depth)
        queries = self._routes(vectors)

        def request(of: NDArray[np.float32]) -> DenseRequest:
            return DenseRequest(of, depth, funnel, probes, options.where, ids)

        whole = request(vectors)  # the same object for all shards, which may be searched as one
        answers = self._ask(
            {
                name: whole if places is None else request(vectors[places])
                for name, places in queries.items()
            },
            DenseAnswer,
            last=ids and not self.split and options.mode == "dense" and not options.explain,
        )
        distinct = _distinct(answers)
        self._note_allowed(distinct.values())
        rows = [np.full((len(vectors), depth), -1, np.int64)]  # as many places as one index gives
        scores = [np.full((len(vectors), depth), np.nan, np.float32)]
        for name, answer in distinct.items():
            self._note(answer.rows[answer.rows >= 0], answer.found)
            places = queries[name]
            if places is None:
                rows.append(answer.rows)
                scores.append(answer.scores)
                continue
            shape = (len(vectors), answer.rows.shape[1])
            rows.append(np.full(shape, -1, np.int64))
            scores.append(np.full(shape, np.nan, np.float32))
            rows[-1][places], scores[-1][places] = answer.rows, answer.scores
        every, values = np.concatenate(rows, axis=1), np.concatenate(scores, axis=1)
        # NaN marks an empty place and sorts last; shards are in the order of their rows.
        order = np.argsort(-values, axis=1, kind="stable")[:, :depth]
        best = np.take_along_axis(values, order, 1)
        if self._version.manifest.metric == "cosine":
            best = np.clip(best, -1, 1)
        none = tuple(
            StageStats(stage.dims, stage.bits, 0, 0, 0, 0.0)
            for stage in (funnel or self.funnel).stages
        )
        stages = total_stages([none, *(answer.stages for answer in distinct.values())])
        return Hits(np.take_along_axis(every, order, 1), best, stages, len(vectors))

    def lexical(self, queries: Sequence[Sequence[IndexedPart]], depth: int) -> list[RankedRows]:
        """See `Source`."""
        ids = self._ids_wanted(len(queries) * depth)
        keys = [[key for part in parts for key in _searched(part)] for parts in queries]
        counts, names = self._counted({key for each in keys for key in each})
        shards = [self._version.shards[name] for name in names]
        request = LexicalRequest(
            tuple(
                LexicalQuery(
                    tuple((list(tokens), int(kind)) for tokens, kind in parts),
                    tuple(counts[key] for key in each),
                )
                for parts, each in zip(queries, keys, strict=True)
            ),
            depth,
            sum(shard.rows for shard in shards),
            sum(shard.tokens for shard in shards),
            self._options.where,
            ids,
        )
        last = ids and not self.split and not self._options.explain
        found = self._ask(dict.fromkeys(self._alive(), request), LexicalAnswer, last=last)
        answers = _distinct(found).values()
        self._note_allowed(answers)
        for answer in answers:
            self._note(answer.rows, answer.found)
        return [self._merged(answers, number, depth) for number in range(len(queries))]

    @staticmethod
    def _merged(answers: Iterable[LexicalAnswer], number: int, depth: int) -> RankedRows:
        rows, scores = [np.empty(0, np.int64)], [np.empty(0, np.float64)]
        for answer in answers:
            start, end = answer.ends[number : number + 2].tolist()
            rows.append(answer.rows[start:end])
            scores.append(answer.scores[start:end])
        every, values = np.concatenate(rows), np.concatenate(scores)
        order = np.argsort(-values, kind="stable")[:depth]
        return every[order], values[order]

    def counts(self, parts: Sequence[IndexedPart]) -> list[int]:
        """See `Source`."""
        keys = [[_counted(token, kind) for token in tokens] for tokens, kind in parts]
        counts, _ = self._counted({key for each in keys for key in each})
        return [
            (sum if kind == PartKind.ANY else min)(counts[key] for key in each)
            for each, (_, kind) in zip(keys, parts, strict=True)
        ]

    def completions(self, prefix: str, most: int) -> list[str]:
        """See `Source`.

        Each shard returns its most frequent tokens, then the counts of those of the others, and so
        on until no other token can be among the most frequent of all (Cao and Wang 2004, "Efficient
        Top-K Query Calculation in Distributed Networks").
        """
        known = self._version.completed.get((prefix, most))
        if known is not None:
            return known
        size = _FIRST_COMPLETIONS * most
        while True:
            totals, unseen = self._completed(prefix, size)
            best = sorted(totals, key=lambda token: (-totals[token], token.encode()))[:most]
            if not unseen or (len(best) == most and totals[best[-1]] > unseen):
                break
            size *= _MORE_COMPLETIONS
        if not self.late:
            _keep(self._version.completed, {(prefix, most): best})
        return best

    def _completed(self, prefix: str, size: int) -> tuple[dict[str, int], int]:
        """Returns the rows of the most frequent tokens of any shard, and the most of another."""
        requests = dict.fromkeys(self._alive(), CompletionRequest(prefix, size))
        answers = self._ask(requests, CompletionAnswer)
        tokens = tuple(dict.fromkeys(t for each in answers.values() for t, _ in each.tokens))
        partial = {name: each for name, each in answers.items() if len(each.tokens) == size}
        totals = dict.fromkeys(tokens, 0)
        for name, answer in answers.items():
            if name not in partial:
                for token, rows in answer.tokens:
                    totals[token] += rows
        if not partial:
            return totals, 0
        rest = self._ask(
            dict.fromkeys(partial, CompletionRequest(prefix, 0, tokens)), CompletionAnswer
        )
        for answer in rest.values():
            for token, rows in zip(tokens, answer.rows, strict=True):
                totals[token] += rows
        return totals, sum(each.tokens[-1][1] for each in partial.values())

    def first_rows(self, rows: Rows) -> Rows:
        """See `Source`."""
        if not self.split:
            return rows
        firsts = self._firsts
        return np.array([firsts.get(row, row) for row in rows.tolist()], np.int64)

    def ids(self, rows: Rows) -> list[str]:
        """See `Source`. Those of a dataset of bare vectors are integers."""
        self._fetch(rows)
        ids = self._ids
        return [ids[row] for row in rows.tolist()]

    def vectors(self, rows: Rows) -> NDArray[np.float32]:
        """See `Source`."""
        self._fetch(rows)
        vectors = self._vectors
        found = np.empty((len(rows), self._version.manifest.dim), np.float32)
        for place, row in enumerate(rows.tolist()):
            found[place] = vectors[row]
        return found

    def passages(
        self, rows: Rows, firsts: Rows, ids: Sequence[str], *, whole: bool, vectors: bool
    ) -> Iterator[FoundPassage]:
        """See `Source`."""
        self._fetch(rows)
        passages = self._passages
        embeddings: Iterable[NDArray[np.float32] | None] = repeat(None, len(rows))
        if vectors:
            embeddings = self.vectors(rows)
        for row, vector in zip(rows.tolist(), embeddings, strict=True):
            *passage, _ = passages[row]
            yield cast(FoundPassage, (*passage, vector))

    def dropped_by(
        self,
        rows: Rows,
        vector: NDArray[np.float32],
        depth: int,
        funnel: Funnel,
        probes: int | None,
    ) -> list[int]:
        """See `Source`."""
        stages = [0] * len(rows)
        where = self._options.where
        inside = dict(self._version.shards_of(rows))
        answers = self._ask(
            {
                name: DroppedRequest(rows[places], vector, depth, funnel, probes, where)
                for name, places in inside.items()
            },
            DroppedAnswer,
        )
        for name, answer in answers.items():
            for place, stage in zip(np.flatnonzero(inside[name]), answer.stages, strict=True):
                stages[place] = stage
        return stages

    def _alive(self) -> list[str]:
        return [name for name in self._version.shards if name not in self.late]

    def _routes(self, vectors: NDArray[np.float32]) -> dict[str, NDArray[np.int64] | None]:
        """Returns the numbers of the queries that each shard is sent; None for all."""
        routing = self._version.routing
        if self._probes is None or routing is None:
            return dict.fromkeys(self._alive())
        asked = routing.shards(vectors, self._probes)
        if self._options.mode == "dense" and self._asked is None:
            self._asked = asked
        return {
            name: None if queries.all() else np.flatnonzero(queries)
            for name, queries in zip(self._version.shards, asked.T, strict=True)
            if name not in self.late and queries.any()
        }

    def _ids_wanted(self, hits: int) -> bool:
        """Returns whether the ids of hits come with them, so that they need no other round."""
        return not self._options.reads_documents and hits <= _MOST_IDS

    def _note_allowed(self, answers: Iterable[DenseAnswer | LexicalAnswer]) -> None:
        """Notes how many rows passed the filter, in the ranking that the most shards were asked."""
        counts = [answer.allowed for answer in answers if answer.allowed is not None]
        if counts:
            self._allowed = max(self._allowed or 0, sum(counts))

    def _note(self, rows: Rows, found: FoundRows) -> None:
        numbers = rows.tolist()
        if found.firsts is not None:
            self._firsts.update(zip(numbers, found.firsts.tolist(), strict=True))
        if found.ids is not None:
            self._ids.update(zip(numbers, found.ids, strict=True))

    def _fetch(self, rows: Rows) -> None:
        """Fetches what hits show, of those rows of which it is not known yet."""
        options = self._options
        text, vectors = options.reads_documents, "vector" in options.include
        seen: Mapping[int, Any] = self._ids
        if text or vectors:
            seen = self._passages if text else self._vectors
        missing = np.array(
            [row for row in dict.fromkeys(rows.tolist()) if row not in seen], np.int64
        )
        if not len(missing):
            return
        whole = "document" in options.include
        inside = dict(self._version.shards_of(missing))
        requests = {
            name: PassageRequest(missing[places], text, whole, vectors)
            for name, places in inside.items()
        }
        for name, answer in self._ask(requests, PassageAnswer).items():
            numbers = missing[inside[name]].tolist()
            self._note(missing[inside[name]], answer.found)
            if answer.passages is not None:
                self._passages.update(zip(numbers, answer.passages, strict=True))
            if answer.vectors is not None:
                self._vectors.update(zip(numbers, answer.vectors, strict=True))

    def _counted(self, keys: set[Counted]) -> tuple[dict[Counted, int], Iterable[str]]:
        """Returns how many rows have each, and the shards whose rows these are.

        What was counted in all shards holds for as long as the version does. Where it is not known
        and a shard is late, the rows of the others are counted.
        """
        version = self._version
        while True:
            found = _kept(version.counts, keys)
            if len(found) == len(keys):
                return found, version.shards
            if self.late:
                found = _kept(self._counts, keys)
                if len(found) == len(keys):
                    return found, self._alive()
            missing = sorted(keys - found.keys(), key=lambda key: key[2])
            request = CountRequest(
                tuple((tokens[0], kind) for tokens, kind, matches in missing if not matches),
                tuple((list(tokens), kind) for tokens, kind, matches in missing if matches),
            )
            answers = self._ask(dict.fromkeys(self._alive(), request), CountAnswer)
            totals = np.zeros(len(missing), np.int64)
            for answer in answers.values():
                totals += np.concatenate([answer.tokens, answer.parts])
            new = dict(zip(missing, totals.tolist(), strict=True))
            if not self.late:
                _keep(version.counts, new)
                return found | new, version.shards
            self._counts |= new

    def _ask(
        self, requests: Mapping[str, Request], kind: type[A], *, last: bool = False
    ) -> dict[str, A]:
        """Sends requests, and returns the answers in the order of the shards.

        Args:
            requests: By shard; those of shards that are late are not sent.
            kind: The type of the answers.
            last: Whether the query does not need another round.

        Raises:
            _LostShardError: A shard is late that has answered before.
        """
        requests = {name: each for name, each in requests.items() if name not in self.late}
        answers: dict[str, Answer] = {}
        if self._known:
            for name, each in requests.items():
                answer = self._known.get((name, pickle.dumps(each)))
                if answer is not None:
                    answers[name] = answer
        unsent = {name: each for name, each in requests.items() if name not in answers}
        if unsent:
            gathered = self._call(unsent, self._until(last=last)).answers
            self._log.append((unsent, gathered))
            answers |= gathered
            lost = unsent.keys() - gathered.keys()
            self.late |= lost
            if lost and self._started:
                raise _LostShardError
        self._started = True
        return {name: cast(A, answers[name]) for name in self._version.shards if name in answers}

    def _until(self, *, last: bool) -> float | None:
        """Returns the deadline of a round: earlier than the query's, if more may follow."""
        if self._deadline is None or last:
            return self._deadline
        now = time.monotonic()
        return now + _ROUND_SHARE * max(self._deadline - now, 0.0)


def _distinct(answers: Mapping[str, A]) -> dict[str, A]:
    """Returns each answer once, by the first of the shards that share it."""
    first: dict[int, str] = {}
    for name, answer in answers.items():
        first.setdefault(id(answer), name)
    return {name: answers[name] for name in first.values()}


def _searched(part: IndexedPart) -> list[Counted]:
    """Returns what is counted of a part to search for it: itself, or each of several tokens."""
    tokens, kind = part
    if kind == PartKind.ANY or (len(tokens) == 1 and kind == PartKind.PHRASE):
        return [_counted(token, PartKind.PHRASE) for token in tokens]
    return [(tuple(tokens), int(kind), True)]


def _counted(token: str, kind: int) -> Counted:
    """Returns what is counted of a token: its rows, or those of each term that begins so."""
    prefix = kind == PartKind.PREFIX
    return (token,), int(PartKind.PREFIX if prefix else PartKind.PHRASE), False


def _kept(known: Mapping[K, V], keys: Iterable[K]) -> dict[K, V]:
    """Returns those of the keys that are known; other threads may change `known` meanwhile."""
    found = ((key, known.get(key)) for key in keys)
    return {key: value for key, value in found if value is not None}


def _keep(known: dict[K, V], new: Mapping[K, V]) -> None:
    if len(known) > _MOST_KEPT:
        known.clear()
    known.update(new)
