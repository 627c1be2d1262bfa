"""A cluster: the shards of a dataset, searched on many machines as one collection."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, overload

from numpy.typing import ArrayLike

from nestling.cluster.actors import (
    ActorReplica,
    Directory,
    ReplicaAddress,
    ReplicaSettings,
)
from nestling.cluster.dataset import Dataset
from nestling.cluster.fanout import Fanout, FanoutSettings, FanoutStatistics, ShardReplicas
from nestling.cluster.hits import ClusterHits
from nestling.cluster.manifest import Manifest
from nestling.cluster.packages import connected_ray
from nestling.cluster.requests import Answer, Request
from nestling.cluster.routing import Routing, read_centroids
from nestling.cluster.source import ClusterVersion
from nestling.cluster.source import search as search_shards
from nestling.cluster.supervisor import Supervisor
from nestling.collection.ingest.encoder import EncoderSlot, open_query_encoder
from nestling.collection.ingest.identity import EncoderIdentity
from nestling.collection.query.options import SearchKeywords, SearchOptions
from nestling.collection.upkeep.info import CollectionInfo
from nestling.errors import (
    ArgumentError,
    ArgumentTypeError,
    ClosedError,
    CoverageError,
)
from nestling.index.funnel import Funnel
from nestling.index.header import Metric
from nestling.runtime.text_encoder import TextEncoder

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from nestling.encoder import Encoder

__all__ = ["Cluster", "ClusterInfo", "ClusterKeywords", "ClusterSettings", "SupervisorLike"]

Where = Mapping[str, Any]

_SEARCH_THREADS: Final = 64  # of `asearch`


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ClusterSettings(ReplicaSettings):
    """How a cluster is served and searched.

    Beside the attributes of `ReplicaSettings`:

    Attributes:
        timeout_ms: The deadline of a search that names none.
        watch_seconds: Time between two looks for a new version of the dataset; None not to look.
        max_in_flight: Calls of one replica that may run or wait at a time; where no replica of a
            shard has room, a search is refused.
        hedge_quantile: A second replica is sent the same request after this quantile of the
            shard's recent latencies.
        hedge_share: The most of such second requests, of all requests; 0 for none.

    Raises:
        ArgumentError: A value is out of range.

    Example:
        >>> ClusterSettings(replicas=3, timeout_ms=500).replicas
        3
    """

    timeout_ms: float = 30_000.0
    watch_seconds: float | None = None
    max_in_flight: int = 64
    hedge_quantile: float = 0.95
    hedge_share: float = 0.1

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is another class than the one that it names.
        ReplicaSettings.__post_init__(self)
        for name in ("timeout_ms", "watch_seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ArgumentError(f"{name} must be above 0, not {value}")
        self.fanout()

    def fanout(self) -> FanoutSettings:
        """Returns how requests are sent to replicas.

        Example:
            >>> ClusterSettings(hedge_share=0.2).fanout().hedge_share
            0.2
        """
        return FanoutSettings(
            max_in_flight=self.max_in_flight,
            hedge_quantile=self.hedge_quantile,
            hedge_share=self.hedge_share,
        )


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class ClusterInfo(CollectionInfo):
    """What a cluster serves, and who answers for it.

    Beside the attributes of `CollectionInfo`, whose segments are the shards:

    Attributes:
        version: The version of the dataset.
        replicas: Actors that serve its shards.
        ready: Those that answer.
        nodes: Nodes that these are on.
        requests: Counts of what was sent to the replicas.

    Example:
        >>> info = Cluster.open("s3://corpora/wikipedia").info()  # doctest: +SKIP
        >>> info.version, info.requests.hedges  # doctest: +SKIP
        (1, 0)
    """

    version: int
    replicas: int
    ready: int
    nodes: int
    requests: FanoutStatistics


class ClusterKeywords(SearchKeywords, total=False):
    """The keyword-only arguments of `Cluster.search`, for its overloads."""

    deadline_ms: float | None
    min_coverage: float | None
    shard_probes: int | None


class SupervisorLike(Protocol):
    """A supervisor in this process, or what stands for one elsewhere."""

    @property
    def generation(self) -> int:
        """That of the newest directory."""

    def load(self, version: int | None = None) -> Directory:
        """See `Supervisor`."""

    def directory(self) -> Directory:
        """See `Supervisor`."""

    def close(self) -> None:
        """See `Supervisor`."""


@dataclass(frozen=True, slots=True)
class _Answers:
    """The answers of one round, by shard."""

    answers: Mapping[str, Answer]


class _Serving:
    """One version and the replicas that answer for it."""

    def __init__(self, directory: Directory, settings: FanoutSettings, dataset: Dataset) -> None:
        self.directory = directory
        self.manifest = manifest = directory.manifest
        rows = {entry.name: entry.rows for entry in manifest.shards}
        self.replicas = [
            [ActorReplica(each) for each in group.replicas] for group in directory.groups
        ]
        names = [group.shards[0] for group in directory.groups]
        self.group = {
            shard: name
            for name, group in zip(names, directory.groups, strict=True)
            for shard in group.shards
        }
        self.fanout: Fanout[Mapping[str, Request], Mapping[str, Answer]] = Fanout(
            {
                name: ShardReplicas(rows=sum(map(rows.__getitem__, group.shards)), replicas=many)
                for name, group, many in zip(names, directory.groups, self.replicas, strict=True)
            },
            settings,
            kind=_kind,
        )
        self.version = ClusterVersion(manifest, _routing(dataset, manifest))

    def call(
        self,
        requests: Mapping[str, Request],
        deadline: float | None,
        *,
        min_coverage: float = 0.0,
    ) -> _Answers:
        """Sends a request to each shard; one call goes to all shards of an actor."""
        groups: dict[str, dict[str, Request]] = {}
        for shard, request in requests.items():
            groups.setdefault(self.group[shard], {})[shard] = request
        found = self.fanout.call(groups, deadline, min_coverage=min_coverage)
        return _Answers(
            {shard: each for many in found.answers.values() for shard, each in many.items()}
        )

    def update(self, directory: Directory) -> None:
        """Takes over changes of the replicas of the same version."""
        self.directory = directory
        for known, group in zip(self.replicas, directory.groups, strict=True):
            for place, address in enumerate(group.replicas):
                old = known[place]
                if old.address.id == address.id:
                    old.address = address
                else:
                    known[place] = new = ActorReplica(address)
                    self.fanout.replace(self.group[group.shards[0]], old, new)


def _kind(requests: Mapping[str, Request]) -> str:
    """Returns of which kind requests are, all of which are of one."""
    return type(next(iter(requests.values()))).__name__


class Cluster:
    """A dataset, served by actors of Ray on many machines, and searched as one collection.

    `Cluster.open` makes one. Any number of threads may search. The hits are those that one
    collection with the same rows finds, in the same order and with the same scores.

    Args:
        dataset: The dataset.
        supervisor: What keeps the replicas alive; it has opened a version.
        settings: How it is searched.
        encoder: The encoder of the dataset, if it is open already or is not one of nestling's.
        query_encoder: As for `Collection`.

    Example:
        >>> with Cluster.open("s3://corpora/wikipedia", replicas=2) as cluster:  # doctest: +SKIP
        ...     hits = cluster.search("how do whales sing?", k=3, deadline_ms=200)
        >>> hits.ids, hits.coverage  # doctest: +SKIP
        (['Whale vocalization', 'Humpback whale', 'Cetacea'], 1.0)
    """

    def __init__(
        self,
        dataset: Dataset,
        supervisor: SupervisorLike,
        settings: ClusterSettings,
        *,
        encoder: TextEncoder | None = None,
        query_encoder: str | os.PathLike[str] | Encoder | None = None,
    ) -> None:
        self._dataset = dataset
        self._supervisor = supervisor
        self._settings = settings
        self._closed = False
        self._changing = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        directory = supervisor.directory()
        self._serving = _Serving(directory, settings.fanout(), dataset)
        identity = directory.manifest.encoder
        queries = None
        if query_encoder is not None:
            queries = open_query_encoder(query_encoder, identity, threads=None, where=self.path)
        if encoder is not None and identity is not None:
            identity.check(EncoderIdentity.of(encoder), self.path)
        self._encoder = EncoderSlot(
            identity, encoder, threads=None, where=self.path, queries=queries
        )

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        replicas: int | None = None,
        *,
        version: int | None = None,
        encoder: TextEncoder | None = None,
        query_encoder: str | os.PathLike[str] | Encoder | None = None,
        settings: ClusterSettings | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Cluster:
        """Starts the replicas of a dataset's shards, and waits until they are ready.

        Each is an actor of Ray. It fetches the files of its shard to the disk of its node, unless
        they are there, maps them, and answers a query of each kind before it is used. If Ray is not
        running in this process yet, `ray.init()` is called, which finds a cluster by RAY_ADDRESS.

        Args:
            path: The dataset's folder, or its URL.
            replicas: Actors for each shard, on different nodes as far as there are so many.
                Default: that of `settings`.
            version: The version to open; the newest by default.
            encoder: The dataset's encoder, if it is one of your own.
            query_encoder: As for `Collection`.
            settings: How to serve and search it.
            storage_options: Options of the file system, as fsspec takes them.

        Raises:
            FormatError: There is no dataset, or its manifest is corrupted.
            StorageError: The storage cannot be read.
            ClusterError: A shard cannot be opened anywhere, or Ray has no room for its replicas.
            EncoderMismatchError: The encoder is not the dataset's.
            PackageError: Ray is not installed.

        Example:
            >>> cluster = Cluster.open("s3://corpora/wikipedia", replicas=2)  # doctest: +SKIP
        """
        settings = settings or ClusterSettings()
        if replicas is not None:
            settings = replace(settings, replicas=replicas)
        dataset = Dataset.open(path, storage_options=storage_options)
        connected_ray()
        supervisor = Supervisor(
            dataset,
            settings,
            drain_seconds=settings.timeout_ms / 1000,
            watch_seconds=settings.watch_seconds,
        )
        try:
            supervisor.load(version)
            return cls(dataset, supervisor, settings, encoder=encoder, query_encoder=query_encoder)
        except BaseException:
            supervisor.close()
            raise

    @property
    def path(self) -> str:
        """The dataset's folder, as it was given."""
        return self._dataset.path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path).name or self.path

    @property
    def manifest(self) -> Manifest:
        """The version that is served."""
        return self._current().manifest

    @property
    def version(self) -> int:
        """Its number."""
        return self.manifest.version

    @property
    def dim(self) -> int:
        """Dimensions of an embedding."""
        return self._serving.manifest.dim

    @property
    def metric(self) -> Metric:
        """Either "cosine" or "ip"."""
        return self._serving.manifest.metric

    @property
    def funnel(self) -> Funnel:
        """How rows are stored, and how a search runs by default."""
        return Funnel.of(self._serving.manifest.funnel)

    @property
    def encoder(self) -> EncoderIdentity | None:
        """Identity of the encoder that made the embeddings; None for bare vectors."""
        return self._serving.manifest.encoder

    @property
    def settings(self) -> ClusterSettings:
        """How it is served and searched."""
        return self._settings

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self.manifest.documents

    def __repr__(self) -> str:
        manifest = self._serving.manifest
        state = ", closed" if self._closed else ""
        return (
            f"Cluster({self.path!r}, version {manifest.version}, {manifest.documents:,} documents, "
            f"{manifest.rows:,} passages, {len(manifest.shards)} shards{state})"
        )

    def __reduce__(self) -> NoReturn:
        raise ArgumentTypeError(
            "a cluster cannot be pickled or copied: pickle its path, and open it where it is "
            f"needed with nestling.cluster.Cluster.open({self.path!r})"
        )

    @overload
    def search(
        self,
        query: str,
        k: int = ...,
        where: Where | None = ...,
        funnel: str | Funnel | None = ...,
        **options: Unpack[ClusterKeywords],
    ) -> ClusterHits: ...

    @overload
    def search(
        self,
        query: Sequence[str] | ArrayLike,
        k: int = ...,
        where: Where | None = ...,
        funnel: str | Funnel | None = ...,
        **options: Unpack[ClusterKeywords],
    ) -> ClusterHits | list[ClusterHits]: ...

    def search(
        self,
        query: str | Sequence[str] | ArrayLike,
        k: int = 10,
        where: Where | None = None,
        funnel: str | Funnel | None = None,
        *,
        deadline_ms: float | None = None,
        min_coverage: float | None = None,
        shard_probes: int | None = None,
        vectors: ArrayLike | None = None,
        **options: Any,
    ) -> ClusterHits | list[ClusterHits]:
        """Finds the documents whose best passages score best, in all shards.

        A shard that does not answer in time, or of which no replica is left, is left out, also of
        the later rounds of the same search; `hits.coverage` and `hits.late` report it.

        Args:
            query: A text or several, a vector (dim,) or several (m, dim).
            k: Documents per query.
            where: A filter of their metadata.
            funnel: Any of the stages of the shards, in order, with other keeps.
            deadline_ms: After this time the hits found so far are returned. Default: `timeout_ms`
                of the settings.
            min_coverage: Raises an error instead where less than this share of the rows was
                searched. A shard of which no replica is left is then waited for until the deadline.
            shard_probes: Of a dataset that was built by cells: a search by meaning goes only to the
                shards with the so many nearest centroids. Default: to all shards.
            vectors: Embeddings of the query texts, as for `Collection.search`.
            **options: The others of `Collection.search`: mode, include, explain, fusion, weight,
                synonyms, fuzzy, prefix, probes, refine.

        Returns:
            `ClusterHits`, a sequence of `DocumentHit`; a list of them for several queries.

        Raises:
            CoverageError: Less than `min_coverage` of the rows was searched.
            OverloadError: Too many calls are in flight.
            ArgumentError, ArgumentTypeError, FilterError, FunnelError, VectorError: As for
                `Collection.search`.
            ClosedError: The cluster was closed.

        Example:
            >>> hits = cluster.search("how do whales sing?", k=3, deadline_ms=200)  # doctest: +SKIP
            >>> hits.coverage, hits.late  # doctest: +SKIP
            (1.0, ())
        """
        deadline = self._deadline(deadline_ms)
        if min_coverage is not None and not 0 <= min_coverage <= 1:
            raise ArgumentError(f"min_coverage must be 0 to 1, not {min_coverage}")
        chosen = None if funnel is None else Funnel.of(funnel)
        wanted = SearchOptions(k=k, where=where, funnel=chosen, **options)
        serving = self._current()
        found = search_shards(
            serving.version,
            partial(serving.call, min_coverage=min_coverage or 0.0),
            query,
            wanted,
            self._encoder,
            vectors=vectors,
            deadline=deadline,
            probes=shard_probes,
        )
        if min_coverage is not None:
            for hits in found if isinstance(found, list) else [found]:
                if hits.coverage < min_coverage:
                    raise _coverage_error(hits, min_coverage)
        return found

    async def asearch(
        self,
        query: str | Sequence[str] | ArrayLike,
        k: int = 10,
        where: Where | None = None,
        funnel: str | Funnel | None = None,
        **options: Unpack[ClusterKeywords],
    ) -> ClusterHits | list[ClusterHits]:
        """Searches in a thread of the cluster's own; see `search`.

        Example:
            >>> hits = await cluster.asearch("how do whales sing?", k=3)  # doctest: +SKIP
        """
        with self._changing:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_SEARCH_THREADS, "nestling-cluster-search")
            threads = self._threads
        search = partial(self.search, query, k, where, funnel, **options)
        return await asyncio.get_running_loop().run_in_executor(threads, search)

    def refresh(self) -> int:
        """Opens the newest version of the dataset beside the one that is served, and swaps them.

        Searches go on meanwhile. Those that run end with the version that they began with. Shards
        that both versions have stay open.

        Returns:
            The number of the version that is served now.

        Raises:
            ClusterError: A shard of it cannot be opened; the version before is still served.
            FormatError, StorageError: The manifest cannot be read.
            ClosedError: The cluster was closed.

        Example:
            >>> cluster.refresh()  # doctest: +SKIP
            2
        """
        self._check_open()
        self._supervisor.load()
        return self._current().manifest.version

    def replicas(self) -> dict[str, tuple[ReplicaAddress, ...]]:
        """Returns the replicas of each shard, by its name.

        Example:
            >>> {name: len(each) for name, each in cluster.replicas().items()}  # doctest: +SKIP
            {'806554f30972b36c-00000': 2, '806554f30972b36c-00001': 2}
        """
        return self._current().directory.replicas

    def info(self) -> ClusterInfo:
        """Returns what the cluster serves, and who answers for it.

        Example:
            >>> info = cluster.info()  # doctest: +SKIP
            >>> info.ready, info.replicas  # doctest: +SKIP
            (4, 4)
        """
        serving = self._current()
        manifest = serving.manifest
        addresses = [each for group in serving.directory.groups for each in group.replicas]
        return ClusterInfo(
            documents=manifest.documents,
            passages=manifest.rows,
            dim=manifest.dim,
            metric=manifest.metric,
            funnel=Funnel.of(manifest.funnel),
            encoder=manifest.encoder,
            split=manifest.passages,
            title_weight=manifest.title_weight,
            fields=manifest.fields,
            segments=len(manifest.shards),
            pending=0,
            removed=sum(each.last - each.first + 1 - each.rows for each in manifest.shards),
            memory={},
            disk=manifest.size,
            cells=manifest.cells,
            version=manifest.version,
            replicas=len(addresses),
            ready=sum(each.ready for each in addresses),
            nodes=len({each.node for each in addresses if each.ready}),
            requests=serving.fanout.statistics,
        )

    def close(self) -> None:
        """Ends the replicas, if `open` has started them. Closing again does nothing.

        Example:
            >>> cluster.close()  # doctest: +SKIP
        """
        with self._changing:
            if self._closed:
                return
            self._closed = True
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)
        self._supervisor.close()

    def _deadline(self, deadline_ms: float | None) -> float:
        """Returns when a search that begins now must have ended, on the clock of `monotonic`."""
        now = time.monotonic()
        if deadline_ms is None:
            return now + self._settings.timeout_ms / 1000
        if not deadline_ms > 0:
            raise ArgumentError(f"deadline_ms must be above 0, not {deadline_ms}")
        # Replicas of a version before are kept for this time only.
        return now + min(deadline_ms, self._settings.timeout_ms) / 1000

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"{self.path}: the cluster is closed")

    def _current(self) -> _Serving:
        """Returns the version that is served, with what is known of its replicas now."""
        self._check_open()
        serving = self._serving
        if serving.directory.generation == self._supervisor.generation:
            return serving
        with self._changing:
            serving = self._serving
            directory = self._supervisor.directory()
            if directory.generation == serving.directory.generation:
                return serving
            if directory.manifest.version == serving.manifest.version:
                serving.update(directory)
            else:
                serving = _Serving(directory, self._settings.fanout(), self._dataset)
                self._serving = serving
            return serving


def _routing(dataset: Dataset, manifest: Manifest) -> Routing | None:
    """Returns which shards hold what, where rows were assigned to shards by cells.

    Raises:
        FormatError: A file of centroids is missing or corrupted.
        StorageError: It cannot be read.
    """
    if not manifest.by_cells:
        return None
    return Routing([read_centroids(dataset.storage, entry) for entry in manifest.shards])


def _coverage_error(hits: ClusterHits, needed: float) -> CoverageError:
    error = CoverageError(
        f"{hits.coverage:.4f} of the rows were searched, but min_coverage is {needed}; without an "
        f"answer: {', '.join(hits.late)}"
    )
    error.coverage, error.late = hits.coverage, hits.late
    return error
