"""
The C++ core of nestling. Private: use the classes of the package.
"""

from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing

__all__: list[str] = [
    "File",
    "Index",
    "available_isas",
    "default_threads",
    "isa",
    "multiply_add_peak",
    "read_bandwidth",
    "xxh64",
]

class File:
    def __init__(self, path: bytes, *, verify: bool) -> None: ...
    @property
    def metadata(self) -> bytes: ...

class Index:
    @staticmethod
    def merged(
        indexes: collections.abc.Sequence[Index],
        shifts: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        threads: typing.SupportsInt | typing.SupportsIndex,
    ) -> Index: ...
    @typing.overload
    def __init__(
        self,
        dim: typing.SupportsInt | typing.SupportsIndex,
        cosine: bool,
        stages: collections.abc.Sequence[
            tuple[
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsFloat | typing.SupportsIndex,
            ]
        ],
    ) -> None: ...
    @typing.overload
    def __init__(
        self,
        dim: typing.SupportsInt | typing.SupportsIndex,
        cosine: bool,
        stages: collections.abc.Sequence[
            tuple[
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsFloat | typing.SupportsIndex,
            ]
        ],
        file: File,
        saved: tuple[
            typing.SupportsInt | typing.SupportsIndex,
            typing.SupportsInt | typing.SupportsIndex,
            tuple[
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                bool,
            ],
        ],
    ) -> None: ...
    def __len__(self) -> int: ...
    def add(
        self,
        vectors: numpy.typing.NDArray[numpy.float32],
        ids: numpy.typing.NDArray[numpy.int64],
        replace: bool,
        threads: typing.SupportsInt | typing.SupportsIndex,
    ) -> numpy.typing.NDArray[numpy.int64]: ...
    def compact(self, threads: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def copy(self) -> Index: ...
    def empty(self) -> Index: ...
    def ids(self) -> numpy.typing.NDArray[numpy.int64]: ...
    def memory(self) -> list[tuple[str, int]]: ...
    def rebuilt(
        self,
        stages: collections.abc.Sequence[
            tuple[
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsFloat | typing.SupportsIndex,
            ]
        ],
        rotation: numpy.typing.NDArray[numpy.float32],
        centre: numpy.typing.NDArray[numpy.float32],
        cells: tuple[
            typing.SupportsInt | typing.SupportsIndex,
            typing.SupportsInt | typing.SupportsIndex,
            bool,
        ],
        threads: typing.SupportsInt | typing.SupportsIndex,
    ) -> Index: ...
    def reconstruct(
        self, ids: numpy.typing.NDArray[numpy.int64]
    ) -> numpy.typing.NDArray[numpy.float32]: ...
    def remove(self, ids: numpy.typing.NDArray[numpy.int64]) -> None: ...
    def save(
        self,
        path: bytes,
        metadata: collections.abc.Callable[[int, int, tuple[int, int, bool]], str],
    ) -> None: ...
    def search(
        self,
        queries: numpy.typing.NDArray[numpy.float32],
        k: typing.SupportsInt | typing.SupportsIndex,
        funnel: collections.abc.Sequence[
            tuple[
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsInt | typing.SupportsIndex,
                typing.SupportsFloat | typing.SupportsIndex,
            ]
        ],
        threads: typing.SupportsInt | typing.SupportsIndex,
        probes: typing.SupportsInt | typing.SupportsIndex,
        adaptive: bool,
        mask: numpy.typing.NDArray[numpy.uint8] | None,
        only: numpy.typing.NDArray[numpy.int64] | None,
    ) -> tuple[
        numpy.typing.NDArray[numpy.int64],
        numpy.typing.NDArray[numpy.float32],
        list[tuple[int, int, int, int]],
    ]: ...
    @property
    def cells(self) -> tuple[int, int, bool]: ...
    @property
    def centred(self) -> bool: ...
    @property
    def rotated(self) -> bool: ...

def available_isas() -> list[str]: ...
def default_threads() -> int: ...
def isa() -> str: ...
def multiply_add_peak(
    *,
    bits: typing.SupportsInt | typing.SupportsIndex,
    rounds: typing.SupportsInt | typing.SupportsIndex,
) -> float: ...
def read_bandwidth(
    *,
    bytes: typing.SupportsInt | typing.SupportsIndex,
    rounds: typing.SupportsInt | typing.SupportsIndex,
) -> float: ...
def xxh64(data: bytes) -> int: ...

__version__: str = "0.1.0"
