"""The benchmark against peers: `python -m nestling.bench peers`.

Every configuration of every library has a process of its own: several native libraries in one
crash each other, and one that crashes takes nothing else with it. All answer the same queries over
the same rows, mapped from one file, on the same cores. They build one after another, then measure
in rounds that take turns, as ann-benchmarks does not (Aumüller, Bernhardsson, Faithfull 2018,
"ANN-Benchmarks"): what the machine does meanwhile falls on all alike.

Recall is always against the exact top 10 by cosine of all dimensions. Rows and queries are of unit
length, so that the inner product, which every library has, is the cosine.
"""

from nestling.bench.peers.command import peers

__all__ = ["peers"]
