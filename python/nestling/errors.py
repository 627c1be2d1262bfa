"""Every exception that nestling raises on purpose, and every warning.

```
NestlingError
├── ArgumentError (ValueError)    an argument that is out of range, or that conflicts with another
├── ArgumentTypeError (TypeError) an argument of a type that cannot be used
├── ClosedError (ValueError)      a call on a collection that was closed
├── InternalError (RuntimeError)  a fault of nestling itself: please report it
├── FunnelError (ValueError)      a funnel that is malformed, or that the index cannot run
├── VectorError (ValueError)      vectors of a wrong shape or dtype, or with NaN or infinity
├── IdError (ValueError)          ids that are not ids, negative, repeated, present, or unknown
├── FormatError (ValueError)      a file that is foreign, truncated, corrupted, or too new
├── DocumentError (ValueError)    a document that cannot be stored as it is
├── LockedError (TimeoutError)    another thread or process is writing to the collection
├── StorageError (OSError)        the system refused to read or write: disk full, no permission
├── SettingError (ValueError)     an environment variable with a value that cannot be used
├── CorpusError (ValueError)      a file of documents, questions or judgements that cannot be read
├── MetadataError (ValueError)    metadata of a document that cannot be stored; the place is named
├── FilterError (ValueError)      a filter of documents that is malformed; the place is named
├── ServerError (ConnectionError) a server that cannot be reached, refuses, or fails
├── PackageError (ImportError)    an optional package is not installed; the extra that brings it
├── ClusterError (RuntimeError)   work that a cluster gave up after its retries
│   ├── CoverageError             fewer rows were searched than the query needs
│   └── OverloadError             more calls at a time than are admitted
└── ModelError                    a model that cannot be loaded or used
    ├── ModelNotFoundError        the name is not a built-in model, a folder, or a hub id
    ├── DownloadError             a model could not be fetched from anywhere
    ├── ChecksumError             a fetched file differs from the pinned one
    └── EncoderMismatchError      not the encoder that a collection was made with

TruncationWarning (UserWarning)   texts were longer than the encoder reads
NestingWarning (UserWarning)      a prefix has a length that the model was not trained for
CorpusWarning (UserWarning)       entries of a folder passed over, judgements that do not fit
```
"""

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "ChecksumError",
    "ClosedError",
    "ClusterError",
    "CorpusError",
    "CorpusWarning",
    "CoverageError",
    "DocumentError",
    "DownloadError",
    "EncoderMismatchError",
    "FilterError",
    "FormatError",
    "FunnelError",
    "IdError",
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
    "StorageError",
    "TruncationWarning",
    "TuningWarning",
    "VectorError",
]


class NestlingError(Exception):
    """The base of every exception that nestling raises on purpose."""


class ArgumentError(NestlingError, ValueError):
    """An argument is out of range, or conflicts with another; the message names it."""


class ArgumentTypeError(NestlingError, TypeError):
    """An argument has a type that cannot be used; the message names both."""


class ClosedError(NestlingError, ValueError):
    """A collection was closed and cannot be used any more."""


class InternalError(NestlingError, RuntimeError):
    """Nestling itself is at fault; please report the message."""


class FunnelError(NestlingError, ValueError):
    """A funnel is malformed, or the index does not store what it asks for."""


class VectorError(NestlingError, ValueError):
    """Vectors have a wrong shape or dtype, or hold NaN or infinity."""


class IdError(NestlingError, ValueError):
    """Ids are not integers or strings, negative, repeated, already present, or unknown."""


class FormatError(NestlingError, ValueError):
    """A file is foreign, truncated, corrupted, or of another version or byte order."""


class StorageError(NestlingError, OSError):
    """The operating system refused to read or write a file."""


class DocumentError(NestlingError, ValueError):
    """A document cannot be stored as it is: no text, a wrong type, unknown keys."""


class LockedError(NestlingError, TimeoutError):
    """Another thread or process is writing and did not finish in time."""


class CorpusError(NestlingError, ValueError):
    """A file of documents, questions, judgements, rankings or scored pairs cannot be read."""


class MetadataError(NestlingError, ValueError):
    """The metadata of a document contains a value that cannot be stored; the message names it."""


class FilterError(NestlingError, ValueError):
    """A filter is malformed; the message names the place and what was expected."""


class PackageError(NestlingError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class ServerError(NestlingError, ConnectionError):
    """A server cannot be reached, refuses a request, or fails.

    Attributes:
        status: The HTTP status; None where there was no answer.
    """

    status: int | None = None


class ClusterError(NestlingError, RuntimeError):
    """A cluster gave up on work after its retries: a task that fails, a node that does not come."""


class CoverageError(ClusterError):
    """A search of a cluster reached fewer rows than `min_coverage` demands.

    Attributes:
        coverage: The share of the rows that was searched.
        late: The shards that did not answer.
    """

    coverage: float = 0.0
    late: tuple[str, ...] = ()


class OverloadError(ClusterError):
    """More calls are in flight than a cluster admits; try again later."""


class SettingError(NestlingError, ValueError):
    """An environment variable has a value that cannot be used."""


class ModelError(NestlingError):
    """A model cannot be loaded or used; the message says why."""


class ModelNotFoundError(ModelError):
    """The name is not a built-in model, a folder, or a hub repository."""


class DownloadError(ModelError):
    """A model could not be fetched from the hub or the package index."""


class ChecksumError(ModelError):
    """A fetched file differs from the pinned one."""


class EncoderMismatchError(ModelError):
    """The encoder is not the one that the collection was made with."""


class TruncationWarning(UserWarning):
    """Some texts were longer than the model reads; their ends do not contribute."""


class NestingWarning(UserWarning):
    """A prefix has a length that the model was not trained for; its quality is unknown."""


class CorpusWarning(UserWarning):
    """Part of a corpus was passed over or changed: an entry of a folder, or judgements."""


class TuningWarning(UserWarning):
    """A tuning has too few queries to generalise from."""
