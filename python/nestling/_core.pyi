"""
The C++ core of nestling. Private: use the classes of the package.
"""

from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing
import typing_extensions

__all__: list[str] = [
    "CellSpec",
    "FORMAT_VERSION",
    "File",
    "FileLock",
    "FileMetadata",
    "Index",
    "Lease",
    "MAX_ROWS",
    "RowFilter",
    "StageSpec",
    "TokenTable",
    "WordIndex",
    "available_isas",
    "complete_word",
    "completion_rows",
    "count_matches",
    "count_words",
    "default_threads",
    "fuse",
    "ids_of_rows",
    "isa",
    "multiply_add_peak",
    "read_bandwidth",
    "search_parts",
    "search_words",
    "stem",
    "xxh64",
]

class TokenTable:
    def __init__(
        self,
        codes: numpy.typing.NDArray[numpy.int8],
        scales: numpy.typing.NDArray[numpy.float32],
        index: numpy.typing.NDArray[numpy.int32],
        pairs: numpy.typing.NDArray[numpy.int32],
        offset: numpy.typing.NDArray[numpy.float32],
    ) -> None: ...
    def sums(
        self,
        ids: numpy.typing.NDArray[numpy.int64],
        lengths: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    ) -> numpy.typing.NDArray[numpy.float32]: ...
    def units(
        self,
        ids: numpy.typing.NDArray[numpy.int64],
        lengths: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        prefix: typing.SupportsInt | typing.SupportsIndex,
    ) -> numpy.typing.NDArray[numpy.float32]: ...

class StageSpec:
    def __init__(
        self,
        *,
        dims: typing.SupportsInt | typing.SupportsIndex,
        bits: typing.SupportsInt | typing.SupportsIndex,
        keep: typing.SupportsInt | typing.SupportsIndex,
        margin: typing.SupportsFloat | typing.SupportsIndex,
    ) -> None: ...

class CellSpec:
    def __init__(
        self,
        *,
        count: typing.SupportsInt | typing.SupportsIndex,
        dims: typing.SupportsInt | typing.SupportsIndex,
        spill: bool,
        links: typing.SupportsInt | typing.SupportsIndex,
    ) -> None: ...
    @property
    def count(self) -> int: ...
    @property
    def dims(self) -> int: ...
    @property
    def links(self) -> int: ...
    @property
    def spill(self) -> bool: ...

class FileMetadata:
    def __init__(
        self,
        *,
        rows: typing.SupportsInt | typing.SupportsIndex,
        cell_rows: typing.SupportsInt | typing.SupportsIndex,
        cells: CellSpec,
        centroid_blocks: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    ) -> None: ...
    @property
    def cell_rows(self) -> int: ...
    @property
    def cells(self) -> CellSpec: ...
    @property
    def centroid_blocks(self) -> list[int]: ...
    @property
    def rows(self) -> int: ...

class File:
    def __init__(self, path: bytes, *, verify: bool, resident: bool = False) -> None: ...
    @property
    def metadata(self) -> bytes: ...

class Index:
    @staticmethod
    def merged(
        indexes: collections.abc.Sequence[Index],
        *,
        shifts: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
        threads: typing.SupportsInt | typing.SupportsIndex,
    ) -> Index: ...
    @staticmethod
    def open(
        file: File,
        *,
        dim: typing.SupportsInt | typing.SupportsIndex,
        cosine: bool,
        stages: collections.abc.Sequence[StageSpec],
        metadata: FileMetadata,
    ) -> Index: ...
    def __init__(
        self,
        *,
        dim: typing.SupportsInt | typing.SupportsIndex,
        cosine: bool,
        stages: collections.abc.Sequence[StageSpec],
    ) -> None: ...
    def __len__(self) -> int: ...
    def add(
        self,
        vectors: numpy.typing.NDArray[numpy.float32],
        ids: numpy.typing.NDArray[numpy.int64],
        *,
        replace: bool,
        threads: typing.SupportsInt | typing.SupportsIndex,
    ) -> numpy.typing.NDArray[numpy.int64]: ...
    def compact(self, *, threads: typing.SupportsInt | typing.SupportsIndex) -> None: ...
    def copy(self) -> Index: ...
    def empty(
        self, *, cells: CellSpec, threads: typing.SupportsInt | typing.SupportsIndex
    ) -> Index: ...
    def ids(self) -> numpy.typing.NDArray[numpy.int64]: ...
    def memory(self) -> list[tuple[str, int]]: ...
    def partitioned(
        self, *, cells: CellSpec, threads: typing.SupportsInt | typing.SupportsIndex
    ) -> Index: ...
    def partitioned_like(
        self, other: Index, *, threads: typing.SupportsInt | typing.SupportsIndex
    ) -> Index: ...
    def rebuilt(
        self,
        *,
        stages: collections.abc.Sequence[StageSpec],
        rotation: numpy.typing.NDArray[numpy.float32],
        centre: numpy.typing.NDArray[numpy.float32],
        cells: CellSpec,
        threads: typing.SupportsInt | typing.SupportsIndex,
    ) -> Index: ...
    def reconstruct(
        self, ids: numpy.typing.NDArray[numpy.int64]
    ) -> numpy.typing.NDArray[numpy.float32]: ...
    def remove(self, ids: numpy.typing.NDArray[numpy.int64]) -> None: ...
    def save(
        self, path: bytes, *, metadata: collections.abc.Callable[[FileMetadata], str]
    ) -> None: ...
    def search(
        self,
        queries: numpy.typing.NDArray[numpy.float32],
        k: typing.SupportsInt | typing.SupportsIndex,
        stages: collections.abc.Sequence[StageSpec],
        threads: typing.SupportsInt | typing.SupportsIndex,
        probing: tuple[
            typing.SupportsInt | typing.SupportsIndex,
            bool,
            typing.SupportsFloat | typing.SupportsIndex,
            typing.SupportsFloat | typing.SupportsIndex,
        ],
        clip: bool,
        mask: numpy.typing.NDArray[numpy.uint8] | None,
        only: numpy.typing.NDArray[numpy.int64] | None,
    ) -> tuple[
        numpy.typing.NDArray[numpy.int64],
        numpy.typing.NDArray[numpy.float32],
        list[tuple[int, int, int, int]],
    ]: ...
    @property
    def cells(self) -> CellSpec: ...
    @property
    def centred(self) -> bool: ...
    @property
    def rotated(self) -> bool: ...

class FileLock:
    def __init__(self, path: bytes) -> None: ...
    def abandon(self) -> None: ...
    def acquire(self) -> bool: ...
    def release(self) -> None: ...
    @property
    def holders(self) -> int: ...

class Lease:
    def __enter__(self) -> typing.Any: ...
    def __exit__(self, arg0: typing.Any, arg1: typing.Any, arg2: typing.Any) -> None: ...
    def __init__(self, acquire: typing.Any, translate: typing.Any = None) -> None: ...
    def acquire(self, lock: typing.Any, arguments: typing.Any = ()) -> bool: ...
    def defer(self, call: typing.Any, arguments: typing.Any = ()) -> None: ...
    def enter(self, manager: typing.Any) -> typing.Any: ...
    def lend(self, thing: typing.Any, pool: typing.Any) -> None: ...
    def release(self) -> None: ...

class WordIndex:
    @staticmethod
    def build(
        rows: numpy.typing.NDArray[numpy.int64],
        texts: collections.abc.Sequence[str],
        *,
        count: typing.SupportsInt | typing.SupportsIndex,
        titles: collections.abc.Sequence[str] = [],
        title_weight: typing.SupportsInt | typing.SupportsIndex = 1,
    ) -> WordIndex: ...
    @staticmethod
    def merged(
        indexes: collections.abc.Sequence[WordIndex],
        *,
        shifts: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    ) -> WordIndex: ...
    @staticmethod
    def open(file: File) -> WordIndex: ...
    def __len__(self) -> int: ...
    def check(self) -> None: ...
    def same(self, other: WordIndex) -> bool: ...
    def save(self, path: bytes, *, metadata: str) -> None: ...
    def without(self, rows: numpy.typing.NDArray[numpy.int64]) -> WordIndex: ...
    @property
    def memory(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def terms(self) -> int: ...
    @property
    def tokens(self) -> int: ...

class RowFilter:
    def __init__(
        self,
        indexes: collections.abc.Sequence[
            tuple[WordIndex, typing.SupportsInt | typing.SupportsIndex]
        ],
        allowed: numpy.typing.NDArray[numpy.int64],
    ) -> None: ...

def available_isas() -> list[str]: ...
def complete_word(
    indexes: collections.abc.Sequence[tuple[WordIndex, typing.SupportsInt | typing.SupportsIndex]],
    prefix: str,
    most: typing.SupportsInt | typing.SupportsIndex,
) -> list[tuple[str, int]]: ...
def completion_rows(
    indexes: collections.abc.Sequence[tuple[WordIndex, typing.SupportsInt | typing.SupportsIndex]],
    tokens: collections.abc.Sequence[str],
) -> list[int]: ...
def count_matches(
    indexes: collections.abc.Sequence[tuple[WordIndex, typing.SupportsInt | typing.SupportsIndex]],
    parts: collections.abc.Sequence[
        tuple[collections.abc.Sequence[str], typing.SupportsInt | typing.SupportsIndex]
    ],
) -> list[int]: ...
def count_words(
    indexes: collections.abc.Sequence[tuple[WordIndex, typing.SupportsInt | typing.SupportsIndex]],
    parts: collections.abc.Sequence[
        tuple[collections.abc.Sequence[str], typing.SupportsInt | typing.SupportsIndex]
    ],
) -> list[int]: ...
def default_threads() -> int: ...
def fuse(
    first_rows: numpy.typing.NDArray[numpy.int64],
    first_scores: numpy.typing.NDArray[numpy.float64],
    second_rows: numpy.typing.NDArray[numpy.int64],
    second_scores: numpy.typing.NDArray[numpy.float64],
    *,
    weight: typing.SupportsFloat | typing.SupportsIndex,
    by_ranks: bool,
    k: typing.SupportsInt | typing.SupportsIndex,
) -> tuple[
    numpy.typing.NDArray[numpy.int64],
    numpy.typing.NDArray[numpy.float64],
    numpy.typing.NDArray[numpy.int32],
]: ...
def ids_of_rows(
    rows: numpy.typing.NDArray[numpy.int64],
    first: typing.SupportsInt | typing.SupportsIndex,
    first_rows: numpy.typing.NDArray[numpy.int64],
    end_rows: numpy.typing.NDArray[numpy.int64],
    bounds: numpy.typing.NDArray[numpy.int64],
    text: typing_extensions.Buffer,
) -> list[str]: ...
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
def search_parts(
    parts: collections.abc.Sequence[
        tuple[
            Index,
            typing.SupportsInt | typing.SupportsIndex,
            tuple[
                typing.SupportsInt | typing.SupportsIndex,
                bool,
                typing.SupportsFloat | typing.SupportsIndex,
                typing.SupportsFloat | typing.SupportsIndex,
            ],
            typing.Annotated[numpy.typing.ArrayLike, numpy.uint8] | None,
            typing.Annotated[numpy.typing.ArrayLike, numpy.int64] | None,
        ]
    ],
    queries: numpy.typing.NDArray[numpy.float32],
    *,
    k: typing.SupportsInt | typing.SupportsIndex,
    stages: collections.abc.Sequence[StageSpec],
    threads: typing.SupportsInt | typing.SupportsIndex,
    clip: bool,
) -> tuple[
    numpy.typing.NDArray[numpy.int64],
    numpy.typing.NDArray[numpy.float32],
    list[tuple[int, int, int, int]],
]: ...
def search_words(
    indexes: collections.abc.Sequence[tuple[WordIndex, typing.SupportsInt | typing.SupportsIndex]],
    parts: collections.abc.Sequence[
        tuple[collections.abc.Sequence[str], typing.SupportsInt | typing.SupportsIndex]
    ],
    *,
    k: typing.SupportsInt | typing.SupportsIndex,
    filter: RowFilter | None,
    statistics: tuple[
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    ]
    | None = None,
) -> tuple[numpy.typing.NDArray[numpy.int64], numpy.typing.NDArray[numpy.float64]]: ...
def stem(word: str) -> str: ...
def xxh64(data: typing_extensions.Buffer) -> int: ...

FORMAT_VERSION: int = 1
MAX_ROWS: int = 4294705152
__version__: str = "0.1.0"
