"""The libraries that are compared, and which of them are installed."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from nestling.bench.library import Library
from nestling.bench.peers.engine import Configuration, Shape

__all__ = ["PEERS", "Peer", "choose"]


class Peer(Library):
    """A library of vectors."""

    __slots__ = ()

    def configurations(self, shape: Shape) -> Sequence[Configuration]:
        """Returns its adapter's configurations for a shape, without importing the library."""
        found: Sequence[Configuration] = importlib.import_module(self.adapter).configurations(shape)
        return found


def _peer(name: str, distribution: str, package: str = "") -> Peer:
    return Peer(name, f"{__package__}.{name}", package or name, distribution)


PEERS = (
    _peer("nestling", "nestling"),
    _peer("faiss", "faiss-cpu"),
    _peer("hnswlib", "hnswlib"),
    _peer("usearch", "usearch"),
    _peer("turbovec", "turbovec"),
    _peer("scann", "scann"),
    _peer("svs", "scalable-vs"),
    _peer("rabitqlib", "rabitqlib"),
    _peer("ngt", "ngt", package="ngtpy"),
    _peer("lorann", "lorann"),
)


def choose(
    peers: Sequence[Peer], patterns: Sequence[str], shape: Shape
) -> list[tuple[Peer, list[Configuration]]]:
    """Returns the configurations that a pattern matches, of the peers that have any.

    Args:
        peers: The installed peers.
        patterns: Names of peers, or `peer/configuration` with shell wildcards. No pattern matches
            everything.
        shape: The size of the benchmark.

    Example:
        >>> shape = Shape(rows=1000, dim=32, threads=1)
        >>> [(peer.name, len(found)) for peer, found in choose(PEERS, ["nestling/8@4*"], shape)]
        [('nestling', 2)]
    """
    chosen = []
    for peer in peers:
        matching = [
            configuration
            for configuration in peer.configurations(shape)
            if not patterns
            or any(
                pattern == peer.name or fnmatchcase(f"{peer.name}/{configuration.name}", pattern)
                for pattern in patterns
            )
        ]
        if matching:
            chosen.append((peer, matching))
    return chosen
