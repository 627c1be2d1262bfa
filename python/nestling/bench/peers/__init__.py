"""The benchmark against peers: `python -m nestling.bench peers`.

Every configuration of every library has a process of its own: several native libraries in one
process crash each other, and a crash must not affect the rest. All answer the same queries over the
same rows, mapped from one file, on the same cores. They build one after another, then take turns in
rounds, unlike in ann-benchmarks (Aumüller, Bernhardsson, Faithfull 2018, "ANN-Benchmarks"), so that
other load on the machine affects all of them alike.

Recall is always against the exact top 10 by the cosine of all dimensions. Rows and queries have
unit length, so that the inner product, which every library supports, is the cosine.
"""

from nestling.bench.peers.command import peers

__all__ = ["peers"]
