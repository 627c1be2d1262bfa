"""Which shards a query goes to, where rows were assigned to shards by cells.

Each document is in a shard that has the centroid nearest to it. A query goes to the shards of the
centroids nearest to the query: so most of its neighbours are found, and most shards are left alone.
How many are found is measured (`measure_routing`), because it depends on the embedding.

The centroids are learned once, by the build. Shards that are appended, or merged, have some of
them, too: several shards may have the same one, and a query goes to all of these.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nestling import _core
from nestling.cluster.manifest import FileEntry, ShardEntry
from nestling.cluster.storage import Storage
from nestling.errors import ArgumentError, FormatError, VectorError
from nestling.index.arguments import positive
from nestling.index.exact import unit_rows

__all__ = [
    "RoutedRecall",
    "Routing",
    "distinct_centroids",
    "measure_routing",
    "read_centroids",
    "write_centroids",
]

Floats = NDArray[np.float32]


class Routing:
    """The centroids of shards.

    Args:
        centroids: (c, dim) float32 for each shard, at least one for some shard; those of several
            shards may be the same.

    Raises:
        VectorError: They do not have one dim.

    Example:
        >>> routing = Routing([np.array([[1, 0]], np.float32), np.array([[0, 1]], np.float32)])
        >>> routing.shards(np.array([[2, 1]], np.float32), probes=1)
        array([[ True, False]])
    """

    def __init__(self, centroids: Sequence[NDArray[np.float32]]) -> None:
        if len({each.shape[1:] for each in centroids}) != 1 or centroids[0].ndim != 2:
            raise VectorError("the centroids of shards are matrices of one dim")
        distinct, numbers = distinct_centroids(centroids)
        self._centroids = unit_rows(distinct)
        self._owners = np.zeros((len(distinct), len(centroids)), np.bool_)
        shards = np.repeat(np.arange(len(centroids)), [len(each) for each in centroids])
        self._owners[numbers, shards] = True

    @property
    def centroids(self) -> int:
        """Centroids of all shards, each counted once."""
        return len(self._centroids)

    def shards(self, vectors: NDArray[np.float32], probes: int) -> NDArray[np.bool_]:
        """Returns which shards each query goes to, (m, shards): those of the nearest centroids.

        Args:
            vectors: (m, dim) queries.
            probes: How many centroids; more than there are for all shards.

        Raises:
            ArgumentError: `probes` is less than 1.
        """
        probes = positive("probes", probes)
        if probes >= self.centroids:
            return np.ones((len(vectors), self._owners.shape[1]), np.bool_)
        # Cosines of what is nearest do not depend on the lengths of the queries.
        scores = vectors @ self._centroids.T
        nearest = np.argpartition(-scores, probes - 1, axis=1)[:, :probes]
        chosen: NDArray[np.bool_] = np.any(self._owners[nearest], axis=1)
        return chosen


def distinct_centroids(centroids: Sequence[Floats]) -> tuple[Floats, NDArray[np.intp]]:
    """Returns the centroids of all shards, each once, and for each of each shard which one it is.

    Example:
        >>> one, other = np.eye(2, dtype=np.float32)
        >>> distinct, numbers = distinct_centroids([np.stack([one, other]), one[None]])
        >>> distinct[numbers].tolist()
        [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """
    joined = np.concatenate([np.asarray(each, np.float32) for each in centroids])
    distinct, numbers = np.unique(joined, axis=0, return_inverse=True)
    return distinct, numbers.reshape(-1)


def write_centroids(storage: Storage, shard: ShardEntry, centroids: Floats) -> ShardEntry:
    """Returns a shard with the file of its centroids, which is written to the dataset.

    Raises:
        StorageError: The storage failed, or is full.
    """
    stream = io.BytesIO()
    np.save(stream, centroids)
    data = stream.getvalue()
    name = f"centroids/{shard.name}.npy"
    storage.write(name, data)
    file = FileEntry(name=name, bytes=len(data), checksum=f"{_core.xxh64(data):016x}")
    return replace(shard, centroids=file)


def read_centroids(storage: Storage, shard: ShardEntry) -> Floats:
    """Returns the centroids of a shard, (c, dim).

    Raises:
        FormatError: The file is missing or corrupted.
        StorageError: It cannot be read.
    """
    assert shard.centroids is not None
    where = storage.describe(shard.centroids.name)
    try:
        data = storage.read(shard.centroids.name)
    except FileNotFoundError as error:
        raise FormatError(f"{where}: the file is missing") from error
    if f"{_core.xxh64(data):016x}" != shard.centroids.checksum:
        raise FormatError(f"{where}: corrupted: its checksum is not that of the manifest")
    centroids: Floats = np.load(io.BytesIO(data), allow_pickle=False)
    return centroids


@dataclass(frozen=True, slots=True)
class RoutedRecall:
    """What routing with one number of probes finds.

    Attributes:
        probes: Nearest centroids whose shards a query goes to.
        recall: Share of the hits of all shards that were found, mean over the queries.
        shards: Share of the shards that a query went to, mean over the queries.
    """

    probes: int
    recall: float
    shards: float


def measure_routing(
    routing: Routing,
    search: Callable[[NDArray[np.float32], int | None], Sequence[Sequence[object]]],
    queries: NDArray[np.float32],
    probes: Sequence[int],
) -> list[RoutedRecall]:
    """Measures the recall of routed searches against those of all shards.

    Args:
        routing: The centroids.
        search: Returns the ids of the hits of each query, given a number of probes or None.
        queries: (m, dim) queries that are like those to come.
        probes: The numbers to measure.

    Raises:
        ArgumentError: There are no queries.
    """
    if not len(queries):
        raise ArgumentError("routing cannot be measured without queries")
    expected = [set(ids) for ids in search(queries, None)]
    measured = []
    for count in probes:
        found = search(queries, count)
        shares = [
            len(each.intersection(ids)) / len(each) if each else 1.0
            for each, ids in zip(expected, found, strict=True)
        ]
        chosen = routing.shards(queries, count)
        measured.append(RoutedRecall(count, float(np.mean(shares)), float(chosen.mean())))
    return measured
