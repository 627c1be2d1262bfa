"""A collection of several segments, and a cluster in this process whose shards are the same."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collection_helpers import WordsEncoder

from nestling import Collection, Index
from nestling.cluster.hits import ClusterHits
from nestling.cluster.manifest import FileEntry, Manifest, ShardEntry
from nestling.cluster.requests import Answer, Request
from nestling.cluster.shard import INDEX_FILE, Shard, answers
from nestling.cluster.source import ClusterVersion, search
from nestling.collection.ingest.encoder import EncoderSlot
from nestling.collection.query.options import SearchOptions
from nestling.collection.storage import store
from nestling.collection.storage.store import Store
from nestling.index.cells import Cells
from nestling.index.funnel import Funnel

Document = dict[str, Any]


@dataclass
class Gathered:
    """The answers of one round."""

    answers: dict[str, Answer]


@dataclass
class Cluster:
    """Shards of one version, called in this process; every request and answer is pickled.

    Attributes:
        shards: The shards by name.
        version: What their coordinator knows of them.
        slot: What encodes queries.
        silent: Decides by shard and round which requests are not answered.
        rounds: The requests of each round so far.
        together: Shards that follow one another and share a process, which answers for all of its
            shards or for none.
    """

    shards: dict[str, Shard]
    version: ClusterVersion
    slot: EncoderSlot
    silent: Callable[[str, int], bool] = lambda name, number: False
    rounds: list[Mapping[str, Request]] = field(default_factory=list)
    together: int = 1

    def call(self, requests: Mapping[str, Request], deadline: float | None) -> Gathered:
        number = len(self.rounds)
        self.rounds.append(requests)
        found: dict[str, Answer] = {}
        names = list(self.shards)
        for start in reversed(range(0, len(names), self.together)):  # answers come in any order
            shards = {name: self.shards[name] for name in names[start : start + self.together]}
            sent = {name: requests[name] for name in requests if name in shards}
            if sent and not any(self.silent(name, number) for name in sent):
                sent = pickle.loads(pickle.dumps(sent))
                found |= pickle.loads(pickle.dumps(answers(shards, sent)))
        return Gathered(found)

    def search(
        self,
        query: Any,
        k: int = 10,
        *,
        vectors: Any = None,
        funnel: str | None = None,
        deadline: float | None = None,
        route: int | None = None,
        **options: Any,
    ) -> Any:
        self.rounds.clear()
        chosen = SearchOptions(k=k, funnel=funnel and Funnel.of(funnel), **options)  # type: ignore[arg-type]
        return search(
            self.version,
            self.call,
            query,
            chosen,
            self.slot,
            vectors=vectors,
            deadline=deadline,
            probes=route,
        )

    def close(self) -> None:
        for shard in self.shards.values():
            shard.close()


def collection_of(
    path: Path, batches: Sequence[Sequence[Document]], cells: Cells | None = None, **options: Any
) -> Collection:
    """Creates a collection with a segment for each batch; nothing is merged."""
    made = Collection(path, WordsEncoder(), threads=1, **options)
    made._finish_ingest = lambda rows: None  # type: ignore[method-assign]  # it would merge them
    made._run_due_merges = lambda: None  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "PENDING_ROWS", 1)
        for batch in batches:
            if batch:
                made.add(list(batch), progress=False)
    if cells is not None:
        partition(made._store, cells)
    return made


def partition(made: Store, cells: Cells) -> None:
    """Gives each segment cells of its own."""
    view = made.view()
    for part in view.segments:
        with made.lock.holding():
            made.replace(made.view(), [part], lambda part=part: part.index.rebuilt(cells=cells))


def entry_of(name: str, folder: Path, first: int, kind: str, removed: Sequence[str]) -> ShardEntry:
    """The line of a shard: its counts are those of what is there."""
    counts: dict[str, int] = {}
    if kind == "index":
        index = Index.load(folder / INDEX_FILE, threads=1)
        size = int(index.ids.max()) + 1 if len(index) else 0
        rows = len(index) - len({int(id) for id in removed})
        counts = {"rows": rows, "documents": rows, "tokens": 0}
    else:
        with Collection(folder, read_only=True, threads=1) as made:
            view = made._store.view()
            size = sum(part.last - part.first + 1 for part in view.parts)
            gone = [d.row for d in made if d.id in set(removed)]
            if gone:
                view = view.without(np.array(gone, np.int64))
            with made._store.reading() as (connection, _):
                tokens = sum(words.tokens for words, _ in view.words(connection))
            counts = {"rows": view.rows, "documents": len(made) - len(gone), "tokens": tokens}
    file = FileEntry(name=f"shards/{name}/{INDEX_FILE}", bytes=0, checksum="0" * 16)
    return ShardEntry(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        first=first,
        last=first + max(size, 1) - 1,
        files=(file,),
        **counts,
    )


def cluster_of(
    folders: Sequence[Path],
    *,
    kind: str = "collection",
    removed: Sequence[str] = (),
    removed_of: Sequence[Sequence[str]] | None = None,
    like: Any,
    gap: int = 3,
) -> Cluster:
    """Opens folders as the shards of a cluster; rows of the dataset have gaps between them."""
    entries, shards = [], {}
    first = 5
    for number, folder in enumerate(folders):
        gone = removed if removed_of is None else removed_of[number]
        entry = entry_of(f"s{number}", folder, first, kind, gone)
        entries.append(entry)
        shards[entry.name] = Shard.open(folder, entry, gone, threads=1)
        first = entry.last + 1 + gap
    manifest = Manifest(
        version=1,
        kind=kind,  # type: ignore[arg-type]
        dim=like.dim,
        metric=like.metric,
        funnel=str(like.funnel),
        encoder=None,
        passages=None,
        title_weight=1,
        fields=(),
        cells=None,
        template=FileEntry(name="template.nest", bytes=0, checksum="0" * 16),
        next_row=first,
        builds=(),
        shards=tuple(entries),
    )
    encoder = getattr(like, "_encoder", None)
    slot = encoder or EncoderSlot(None, None, threads=1, where="the dataset")
    return Cluster(shards, ClusterVersion(manifest), slot)


def plain(hits: ClusterHits) -> tuple[Any, ...]:
    """What must be the same as in one collection."""
    return hits.hits, hits.explanation, hits.refined
