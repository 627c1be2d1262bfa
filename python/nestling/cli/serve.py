"""`nestling serve`: collections and encoders over HTTP."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from nestling.cli.cluster.common import StorageOptions, storage_options_of
from nestling.cli.command import command

if TYPE_CHECKING:
    from nestling.server import ServerSettings

__all__ = ["ServeOptions", "serve"]

_OF_RAY: Final = ("replicas", "fronts", "storage_options")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """The arguments and options of `nestling serve`."""

    collections: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COLLECTION",
            help="Collections, or a folder of collections, where new ones are then created.",
        ),
    ] = None
    models: Annotated[
        str | None,
        typer.Option(help="Encoders to serve, separated by commas.", metavar="NAMES"),
    ] = None
    query_encoders: Annotated[
        str | None,
        typer.Option(
            help="Query encoders for the collections whose encoders they imitate, by name or "
            "folder, separated by commas.",
            metavar="NAMES",
        ),
    ] = None
    host: Annotated[
        str | None, typer.Option(help="Address to listen at.", show_default="127.0.0.1")
    ] = None
    port: Annotated[
        int | None, typer.Option(help="Port; 0 for a free one.", show_default="8080")
    ] = None
    workers: Annotated[int | None, typer.Option(help="Processes that serve.", show_default="1")] = (
        None
    )
    read_only: Annotated[bool | None, typer.Option("--read-only", help="Refuse every change.")] = (
        None
    )
    api_keys: Annotated[
        str | None,
        typer.Option(help="A file of API keys, made by nestling keys.", metavar="FILE"),
    ] = None
    backups: Annotated[
        str | None, typer.Option(help="Where backups may be written.", metavar="FOLDER")
    ] = None
    config: Annotated[
        Path | None,
        typer.Option(help="A TOML file of settings, these and others.", metavar="FILE"),
    ] = None
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="PATH",
            help="A dataset to serve, with Ray: a folder, or a URL. Needs the extra ray.",
        ),
    ] = None
    replicas: Annotated[
        int | None, typer.Option(min=1, help="With --ray: actors for each shard.", show_default="2")
    ] = None
    fronts: Annotated[
        int | None,
        typer.Option(min=1, help="With --ray: processes that answer HTTP.", show_default="1"),
    ] = None
    storage_options: StorageOptions = None
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print the settings in force, and exit.")
    ] = False


@command
def serve(options: ServeOptions) -> None:
    """Serve collections and encoders over HTTP, with a page to search them.

    With --ray, the shards of a dataset are served by actors on all nodes of the cluster that
    RAY_ADDRESS names, behind Ray Serve; SIGINT or SIGTERM ends them. They outlive a process that is
    killed: the same command takes over.

    Settings come from these options, from NESTLING_SERVER_… variables, and from --config, in this
    order.

    Example: nestling serve articles --models minilm
    """
    from nestling._util.console import print_json
    from nestling.server import ServerSettings

    settings = ServerSettings.load(_flags(options), file=options.config)
    if options.show_config:
        print_json(settings.as_dict())
        return
    if options.ray is not None:
        _serve_cluster(options, settings)
        return
    for name in _OF_RAY:
        if getattr(options, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise typer.BadParameter("is for --ray", param_hint=option)
    from nestling.server.run import run

    run(settings)


def _serve_cluster(options: ServeOptions, settings: ServerSettings) -> None:
    """Serves a dataset until SIGINT or SIGTERM."""
    import signal
    import threading

    from nestling.cluster.app import deploy, stop
    from nestling.cluster.cluster import ClusterSettings
    from nestling.cluster.packages import connected_ray

    assert options.ray is not None
    path = options.ray
    served = ClusterSettings(replicas=options.replicas or 2, watch_seconds=10.0)
    connected_ray()  # which has handlers of signals of its own
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        url = deploy(
            path,
            settings=served,
            server=settings,
            fronts=options.fronts or 1,
            storage_options=storage_options_of(options.storage_options),
        )
        print(f"serving {path} at {url}", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        stop(path)


def _flags(options: ServeOptions) -> dict[str, Any]:
    flags = asdict(options)
    for name in ("config", "show_config", "ray", *_OF_RAY):
        del flags[name]
    flags["collections"] = tuple(options.collections) if options.collections else None
    for name in ("models", "query_encoders"):
        given = getattr(options, name)
        if given is not None:
            flags[name] = tuple(part.strip() for part in given.split(",") if part.strip())
    return flags
