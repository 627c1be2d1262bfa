"""nestling, the Matryoshka search engine for CPUs.

Short prefixes of an embedding find many rows quickly; longer ones re-rank the few that survive.

Example:
    >>> import nestling
    >>> encoder = nestling.Encoder("minilm")  # doctest: +MODEL
    >>> index = nestling.Index(dim=encoder.dim)  # doctest: +MODEL
    >>> index.add(encoder.encode(["Bread is made of flour.", "Water is wet."]))  # doctest: +MODEL
    array([0, 1])
    >>> index.search(encoder.encode_queries("what makes bread?"), k=1).ids  # doctest: +MODEL
    array([0])
"""

from typing import TYPE_CHECKING, Any

from nestling._core import __version__
from nestling.errors import (
    ArgumentError,
    ArgumentTypeError,
    ChecksumError,
    ClosedError,
    ClusterError,
    CorpusError,
    CorpusWarning,
    CoverageError,
    DocumentError,
    DownloadError,
    EncoderMismatchError,
    FilterError,
    FormatError,
    FunnelError,
    IdError,
    InternalError,
    LockedError,
    MetadataError,
    ModelError,
    ModelNotFoundError,
    NestingWarning,
    NestlingError,
    OverloadError,
    PackageError,
    ServerError,
    SettingError,
    StorageError,
    TruncationWarning,
    TuningWarning,
    VectorError,
)
from nestling.index import Index, default_funnel
from nestling.index.cells import Cells
from nestling.index.funnel import Funnel, Stage
from nestling.index.hits import Hits, StageStats

if TYPE_CHECKING:
    from nestling.client import Client
    from nestling.collection import Collection
    from nestling.encoder import Encoder

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "Cells",
    "ChecksumError",
    "Client",
    "ClosedError",
    "ClusterError",
    "Collection",
    "CorpusError",
    "CorpusWarning",
    "CoverageError",
    "DocumentError",
    "DownloadError",
    "Encoder",
    "EncoderMismatchError",
    "FilterError",
    "FormatError",
    "Funnel",
    "FunnelError",
    "Hits",
    "IdError",
    "Index",
    "InternalError",
    "LockedError",
    "MetadataError",
    "ModelError",
    "ModelNotFoundError",
    "NestingWarning",
    "NestlingError",
    "OverloadError",
    "PackageError",
    "ServerError",
    "SettingError",
    "Stage",
    "StageStats",
    "StorageError",
    "TruncationWarning",
    "TuningWarning",
    "VectorError",
    "__version__",
    "default_funnel",
]


def __getattr__(name: str) -> Any:
    """Imports the encoder with ONNX Runtime, and collections with SQLite, when first asked for."""
    if name == "Encoder":
        from nestling.encoder import Encoder

        return Encoder
    if name == "Collection":
        from nestling.collection import Collection

        return Collection
    if name == "Client":
        from nestling.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
