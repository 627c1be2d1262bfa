"""HTTP in front of a cluster: `nestling.server`'s app as a deployment of Ray Serve.

Three kinds of actors, and nothing else: replicas of shards; one supervisor of them, which outlives
whoever started it; and replicas of the front, which Ray Serve starts, checks, replaces one by one
when the app is deployed again, and puts behind its proxies.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal

from nestling.cluster.actors import Directory
from nestling.cluster.cluster import Cluster, ClusterSettings
from nestling.cluster.dataset import Dataset
from nestling.cluster.packages import connected_ray, missing_cluster_package, value_of
from nestling.cluster.supervisor import Supervisor
from nestling.errors import ArgumentError, ClusterError, NestlingError
from nestling.server.settings import ServerSettings, missing_server_package

if TYPE_CHECKING:
    from nestling.server.routing import RequestLog

__all__ = [
    "RemoteSupervisor",
    "SupervisorActor",
    "dataset_name",
    "deploy",
    "front_app",
    "front_status",
    "stop",
]

_NAMESPACE: Final = "nestling"
_POLL_SECONDS: Final = 0.5
_ANSWER_SECONDS: Final = 30.0
_SEARCHES: Final = 32  # at a time in a front, where a search mostly waits
_LOST: Final = "the supervisor of the replicas does not answer"
_log = logging.getLogger("nestling.cluster")


class SupervisorActor:
    """Makes an actor of a `Supervisor`, for fronts in several processes.

    When Ray starts it again, it opens the newest version again.

    Args:
        dataset: The dataset.
        settings: How it is served.
    """

    def __init__(self, dataset: Dataset, settings: ClusterSettings) -> None:
        self._settings = settings
        self._supervisor = Supervisor(
            dataset,
            settings,
            drain_seconds=settings.timeout_ms / 1000 + 2 * _POLL_SECONDS,
            watch_seconds=settings.watch_seconds,
        )
        if connected_ray().get_runtime_context().was_current_actor_reconstructed:
            threading.Thread(target=self._supervisor.load, daemon=True).start()

    def settings(self) -> ClusterSettings:
        """Returns how the dataset is served."""
        return self._settings

    def load(self, version: int | None = None) -> Directory:
        """See `Supervisor.load`."""
        return self._supervisor.load(version)

    def directory(self, known: int | None = None) -> Directory | None:
        """Returns who answers for which shard; None if that is still the generation `known`."""
        if known == self._supervisor.generation:
            return None
        return self._supervisor.directory()

    def close(self) -> None:
        """Ends all replicas."""
        self._supervisor.close()


class RemoteSupervisor:
    """Stands for a supervisor that is an actor; reads its directory twice a second.

    Args:
        actor: The actor.

    Attributes:
        generation: That of the newest directory that was read.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._directory: Directory = self._read(actor.directory.remote())
        self.generation = self._directory.generation
        self._ends = threading.Event()
        threading.Thread(target=self._follow, name="nestling-cluster-follow", daemon=True).start()

    def load(self, version: int | None = None) -> Directory:
        """See `Supervisor.load`."""
        self._note(value_of(self._actor.load.remote(version), lost=_LOST))
        return self._directory

    def directory(self) -> Directory:
        """See `Supervisor.directory`."""
        return self._directory

    def close(self) -> None:
        """Stops reading."""
        self._ends.set()

    def _read(self, reference: Any) -> Any:
        return value_of(reference, lost=_LOST, timeout=_ANSWER_SECONDS)

    def _note(self, directory: Directory) -> None:
        self._directory = directory
        self.generation = directory.generation

    def _follow(self) -> None:
        while not self._ends.wait(_POLL_SECONDS):
            found = self._changes()
            if found is not None:
                self._note(found)

    def _changes(self) -> Directory | None:
        try:
            found: Directory | None = self._read(self._actor.directory.remote(self.generation))
        except Exception as error:  # Ray starts it again; the replicas are known meanwhile
            _log.warning("the supervisor does not answer: %s", error)
            return None
        return found


def deploy(
    path: str,
    *,
    settings: ClusterSettings | None = None,
    server: ServerSettings | None = None,
    fronts: int = 1,
    proxies: Literal["EveryNode", "HeadOnly"] = "EveryNode",
    storage_options: Mapping[str, Any] | None = None,
) -> str:
    """Serves a dataset over HTTP, from all nodes of a cluster of Ray.

    The replicas of the shards are started, unless they run already. Deploying again with other
    settings of the server replaces the fronts one by one, while the others answer.

    Args:
        path: The dataset's folder, or its URL. Its last part is the name of the collection.
        settings: How the dataset is served and searched. Default: a new version is looked for every
            ten seconds.
        server: The settings of each front. Collections and workers are none of its own; models are
            served beside the dataset's encoder.
        fronts: Replicas of the front.
        proxies: Where Ray Serve listens, unless it runs already: on every node that has a front, or
            on the head.
        storage_options: Options of the file system, as fsspec takes them.

    Returns:
        The address of the app: where Ray Serve already listens, if it runs.

    Raises:
        ClusterError: A shard cannot be opened, or the app did not start.
        FormatError: There is no dataset.
        ArgumentError: The settings name collections, or the dataset is served with other settings.
        PackageError: The extras "ray" and "server" are not installed.

    Example:
        >>> from nestling.cluster.app import deploy
        >>> deploy("s3://corpora/wikipedia", fronts=2)  # doctest: +SKIP
        'http://127.0.0.1:8080'
    """
    ray = connected_ray()
    try:
        from ray import serve
    except ImportError as error:
        raise missing_cluster_package(error) from error
    settings = settings or ClusterSettings(watch_seconds=10.0)
    server = server or ServerSettings()
    if server.collections or server.workers != 1:
        raise ArgumentError(
            "a cluster is served alone, by fronts: leave out collections and workers"
        )
    if server.port == 0:
        raise ArgumentError("a cluster is served at the same port of all nodes: it cannot be 0")
    dataset = Dataset.open(path, storage_options=storage_options)
    name = dataset_name(path)
    started = _supervisor(name) is None
    supervisor = (
        ray.remote(SupervisorActor)
        .options(
            name=_actor_name(name),
            namespace=_NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            max_restarts=-1,
            max_concurrency=16,
            num_cpus=0,
        )
        .remote(dataset, settings)
    )
    if value_of(supervisor.settings.remote(), lost=_LOST) != settings:
        raise ArgumentError(
            f"{name} is served with other settings: stop it first (nestling.cluster.app.stop)"
        )
    try:
        value_of(supervisor.load.remote(), lost=_LOST)
        serve.start(proxy_location=proxies, http_options={"host": server.host, "port": server.port})
        front = serve.deployment(
            name=f"front-{name}",
            num_replicas=fronts,
            max_ongoing_requests=4 * _SEARCHES,
            graceful_shutdown_timeout_s=server.shutdown_seconds,
            health_check_period_s=5,
            ray_actor_options={"num_cpus": 0},
        )(_front(dataset, name, replace(server, read_only=True, search_workers=_SEARCHES)))
        _run(front.bind(), name)
    except NestlingError:
        if started:
            _end(supervisor)
        raise
    return _address()


def _address() -> str:
    """Returns where Ray Serve listens, which does not change until it ends."""
    from ray.serve.context import _get_global_client  # no public call tells

    options = _get_global_client().http_config
    return f"http://{options.host}:{options.port}"


def _run(app: Any, name: str) -> None:
    """Has Ray Serve run an app, or replace the one of this name.

    Raises:
        ClusterError: It did not start.
    """
    from ray import serve
    from ray.exceptions import RayError

    try:
        serve.run(app, name=name, route_prefix="/")
    except (RuntimeError, RayError) as error:
        reason = getattr(error, "cause", None) or error
        raise ClusterError(f"{name}: the app did not start: {reason}") from error


def stop(path: str) -> None:
    """Ends the fronts and the replicas that `deploy` has started.

    Ray Serve ends, too, unless it serves something else.

    Example:
        >>> stop("s3://corpora/wikipedia")  # doctest: +SKIP
    """
    connected_ray()
    from ray import serve

    name = dataset_name(path)
    served = serve.status().applications
    if name in served:
        serve.delete(name)
    if served.keys() <= {name}:
        serve.shutdown()
    supervisor = _supervisor(name)
    if supervisor is not None:
        _end(supervisor)


def _supervisor(name: str) -> Any:
    """Returns the supervisor of a dataset; None if there is none."""
    try:
        return connected_ray().get_actor(_actor_name(name), namespace=_NAMESPACE)
    except ValueError:
        return None


def _end(supervisor: Any) -> None:
    """Ends a supervisor and the replicas that it has started."""
    try:
        value_of(supervisor.close.remote(), lost=_LOST, timeout=_ANSWER_SECONDS)
    finally:
        connected_ray().kill(supervisor)


def dataset_name(path: str) -> str:
    """Returns the last part of a path, by which a dataset is served.

    Raises:
        ArgumentError: The path has none.

    Example:
        >>> dataset_name("s3://corpora/wikipedia/")
        'wikipedia'
    """
    name = PurePosixPath(path).name
    if not name:
        raise ArgumentError(f"{path!r} has no name")
    return name


def _actor_name(name: str) -> str:
    return f"supervisor:{name}"


def _front(dataset: Dataset, name: str, server: ServerSettings) -> type:
    """Returns the class of a front."""
    from ray import serve

    def build() -> RequestLog:
        return front_app(dataset, name, server)

    class Front:
        """One replica of the front, to which Ray Serve sends requests."""

        def check_health(self) -> None:
            """Has Ray Serve replace a front that cannot load what it serves."""
            # The class travels by value, with copies of what it refers to; a module does not.
            from nestling.cluster import app

            status = app.front_status(name)
            if status.startswith("failed"):
                raise ClusterError(status)

    decorated: type = serve.ingress(build)(Front)
    return decorated


_fronts: Final[dict[str, RequestLog]] = {}  # of this process


def front_status(name: str) -> str:
    """Returns the status of the front of a dataset in this process."""
    return _fronts[name].service.status


def front_app(dataset: Dataset, name: str, server: ServerSettings) -> RequestLog:
    """Returns the app of one front, in a process where the supervisor can be found."""
    try:
        from nestling.server.app import create_app
        from nestling.server.catalog import Catalog
    except ImportError as error:
        raise missing_server_package(error) from error
    actor = connected_ray().get_actor(_actor_name(name), namespace=_NAMESPACE)
    settings: ClusterSettings = value_of(
        actor.settings.remote(), lost=_LOST, timeout=_ANSWER_SECONDS
    )
    cluster = Cluster(dataset, RemoteSupervisor(actor), settings)
    catalog = Catalog(
        (),
        server.models,
        query_encoders=server.query_encoders,
        clusters={name: cluster},
        read_only=True,
        threads=server.threads,
    )
    catalog.load()  # a front that Ray Serve takes for started answers at once
    _fronts[name] = app = create_app(server, catalog)
    return app
