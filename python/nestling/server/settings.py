"""The settings of a server: from flags, the environment and a TOML file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from nestling._util.threads import thread_count
from nestling._util.value import Value
from nestling.errors import ArgumentError, PackageError, SettingError, StorageError

__all__ = ["ENVIRONMENT_PREFIX", "ServerSettings", "missing_server_package"]

ENVIRONMENT_PREFIX: Final = "NESTLING_SERVER_"

_AT_LEAST_ONE: Final = frozenset(
    (
        *("workers", "encode_workers", "search_workers", "max_body_bytes", "max_inputs"),
        *("max_input_tokens", "max_request_tokens", "max_queries", "max_k", "max_queued_tokens"),
        *("max_queued_queries", "max_queue_ms", "timeout_ms"),
    )
)
_AT_LEAST_ZERO: Final = frozenset(("drain_seconds", "shutdown_seconds", "port"))
_PORTS: Final = 65_535


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ServerSettings(Value):
    """What a server serves, to whom, and how much of it at a time.

    Attributes:
        collections: Folders of collections, or folders of such folders. In the first of the latter
            new collections are created.
        models: Encoders for `/v1/embeddings`: built-in names, folders or hub ids.
        query_encoders: Query encoders, "minilm-fast", "e5-fast", or folders of those that `nestling
            train query-encoder` made: each encodes the queries of the collections whose encoder it
            imitates, unless a request says `"refine": "always"`.
        host: Address to listen at; the default is reached from this machine only.
        port: Port to listen at; 0 for a free one.
        workers: Processes that serve.
        read_only: Whether nothing may be changed.
        api_keys: A file of API keys (see `nestling.server.keys`); None to serve anyone.
        encode_workers: Threads of each process that run models. None: the cores granted, shared
            between the processes.
        search_workers: Searches that run at a time in each process, each on its share of the cores.
        max_body_bytes: The longest body, but for a stream of documents: there the longest line.
        max_inputs: The most texts in a request for embeddings.
        max_input_tokens: The most tokens of one of them; None to truncate longer ones as the model
            does.
        max_request_tokens: The most tokens of all of them.
        max_queries: The most queries in a request.
        max_k: The most hits per query.
        max_queued_tokens: Tokens that may wait for a model; a request that finds more waiting is
            refused with 429.
        max_queued_queries: Queries that may wait for a search, likewise.
        max_queue_ms: The longest time that a short request may wait in a queue, as far as can be
            foreseen; a longer one may wait in proportion to its own time.
        timeout_ms: After this time a request is given up, unless it says `X-Timeout-Ms`.
        drain_seconds: How long `/readyz` says no before the server stops to accept connections.
        shutdown_seconds: How long requests that run are waited for after that.
        cors_origins: Origins of pages that browsers may let call this server; "*" for all.
        backups: Folder that `POST /collections/{name}/backup` writes to; None to refuse it.
        recall_sample: Share of searches that are repeated exactly, beside the others, to tell
            `/metrics` what share of the exact hits searches find; 0 for none.
        access_log: Whether to write a line of JSON to stdout for each request.

    Raises:
        ArgumentError: A value is out of range.

    Example:
        >>> ServerSettings(port=9000).port
        9000
    """

    collections: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    query_encoders: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    read_only: bool = False
    api_keys: str | None = None
    encode_workers: int | None = None
    search_workers: int = 2
    max_body_bytes: int = 32 * 1024 * 1024
    max_inputs: int = 2048
    max_input_tokens: int | None = None
    max_request_tokens: int = 300_000
    max_queries: int = 1_000
    max_k: int = 1_000
    max_queued_tokens: int = 1_000_000
    max_queued_queries: int = 10_000
    max_queue_ms: float = 75.0
    timeout_ms: float = 30_000.0
    drain_seconds: float = 2.0
    shutdown_seconds: float = 30.0
    cors_origins: tuple[str, ...] = ()
    backups: str | None = None
    recall_sample: float = 0.0
    access_log: bool = True

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ArgumentError(f"{name} must be at least 1, not {value}")
        for name in _AT_LEAST_ZERO:
            if getattr(self, name) < 0:
                raise ArgumentError(f"{name} must not be negative, not {getattr(self, name)}")
        if not 0 <= self.recall_sample <= 1:
            raise ArgumentError(f"recall_sample must be 0 to 1, not {self.recall_sample}")
        if self.port > _PORTS:
            raise ArgumentError(f"port must be 0 to {_PORTS}, not {self.port}")

    @classmethod
    def load(
        cls,
        flags: Mapping[str, Any],
        *,
        file: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> ServerSettings:
        """Returns settings: flags before the environment before a file before the defaults.

        Args:
            flags: Values by name; None counts as not given.
            file: A TOML file with the names of the attributes as keys.
            environ: Default: `os.environ`. `NESTLING_SERVER_PORT` is the port, and so on; lists are
                separated by commas.

        Raises:
            SettingError: The environment or the file has an unknown name, or a value of a type that
                cannot be used.
            StorageError: The file cannot be read.
            PackageError: The extra "server" is not installed.
            ArgumentError: A value is out of range.

        Example:
            >>> environ = {"NESTLING_SERVER_WORKERS": "2"}
            >>> ServerSettings.load({"port": 9000}, environ=environ).workers
            2
        """
        found = {} if file is None else _from_file(Path(file))
        found |= _from_environment(os.environ if environ is None else environ)
        found |= {name: value for name, value in flags.items() if value is not None}
        return cls(**found)

    @property
    def threads(self) -> int:
        """Threads of a call of a collection: the cores granted, shared between the processes."""
        return max(1, thread_count(None) // self.workers)

    def as_dict(self) -> dict[str, Any]:
        """Returns the settings as JSON values; a URL's password is replaced by stars.

        Example:
            >>> ServerSettings(models=("minilm",)).as_dict()["models"]
            ['minilm']
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }


def missing_server_package(error: ImportError) -> PackageError:
    """Returns the error for a server without its packages."""
    return PackageError(
        f"the server needs the package {error.name}: pip install 'nestling[server]'",
        name=error.name,
    )


def _from_file(path: Path) -> dict[str, Any]:
    msgspec = _msgspec()
    try:
        found = msgspec.toml.decode(path.read_bytes())
    except OSError as error:
        raise StorageError(error.errno, error.strerror, str(path)) from error
    except (ValueError, ImportError, msgspec.DecodeError) as error:
        raise SettingError(f"{path}: not TOML: {error}") from error
    return _converted(found, str(path))


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    lists = {field.name for field in fields(ServerSettings) if field.default == ()}
    for variable, value in environ.items():
        if variable.startswith(ENVIRONMENT_PREFIX) and value:
            name = variable[len(ENVIRONMENT_PREFIX) :].lower()
            found[name] = [part.strip() for part in value.split(",")] if name in lists else value
    return _converted(found, "the environment") if found else {}


def _converted(found: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Returns values of the types of the attributes."""
    known = {field.name for field in fields(ServerSettings)}
    for name in found:
        if name not in known:
            raise SettingError(f"{where}: {name!r} is not a setting of the server")
    msgspec = _msgspec()
    try:
        settings = msgspec.convert(found, ServerSettings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingError(f"{where}: {error}") from None
    return {name: getattr(settings, name) for name in found}


def _msgspec() -> Any:
    try:
        import msgspec
        import msgspec.toml
    except ImportError as error:
        raise missing_server_package(error) from error
    return msgspec
