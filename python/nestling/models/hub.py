"""The Hugging Face hub: what a repository holds, and of that only what runs here.

All requests go through huggingface_hub (extra `hub`), so its settings hold: HF_ENDPOINT, HF_HOME,
HF_HUB_OFFLINE, HF_TOKEN and the token of `hf auth login`. Files stay in its cache.
"""

from __future__ import annotations

import errno
import glob
import json
import re
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

from nestling.errors import DownloadError, ModelError, ModelNotFoundError, StorageError
from nestling.runtime.folder import external_names
from nestling.runtime.graph_files import GraphFiles, Precision, choose_graph, unusable_graphs

__all__ = [
    "RepositoryFiles",
    "call_hub",
    "choose_files",
    "hub_folder",
    "hub_unreachable",
]

_CONNECT_TIMEOUT: Final = 2.0  # seconds to connect to the hub, before its cache alone is used
ANSWER_TIMEOUT: Final = 5.0  # seconds for the hub's first answer
_LISTING: Final = "modules.json"
# Files of which every model has one: they lead to its folder in the cache of huggingface_hub.
_LANDMARKS: Final = (_LISTING, "config.json", "tokenizer.json")
_SMALL: Final = re.compile(
    r"README\.md|vocab\.txt|merges\.txt|.*(?:piece|tokenizer|spm|bpe|unigram).*\.model|.*\.jinja"
    r"|(?!.*\.index\.json$).*\.json"
)
_WEIGHTS: Final = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
_MODULE_FOLDER: Final = re.compile(r"[0-9]+_[A-Za-z]+")
_PICKLES: Final = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".msgpack", ".h5")

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class RepositoryFiles:
    """The files of a repository that one encoder needs.

    Attributes:
        small: Settings, the tokenizer, the card, and the weights of modules after the transformer.
        graph: The ONNX file and the files of its weights; empty where there is none to use.
        weights: safetensors of the transformer, to convert; empty where there is a graph.
        unclaimed: Files beside the graph that it may need, though their names do not say so.
    """

    small: tuple[str, ...]
    graph: tuple[str, ...]
    weights: tuple[str, ...]
    unclaimed: tuple[str, ...] = ()


def choose_files(
    names: Iterable[str],
    precision: Precision = "int8",
    *,
    modules: Sequence[str] | None = None,
    weights: bool = False,
) -> RepositoryFiles:
    """Chooses the files of an encoder: one graph with its data, else the weights to convert.

    Pickle files and Python files are never among them.

    Args:
        names: Every path of the repository.
        precision: The precision to prefer.
        modules: Folders of the modules in modules.json, in their order; the transformer's is first.
            None: there is no such file, or it is not known; then they are named as usual, such as
            0_Transformer and 1_Pooling.
        weights: Whether to choose the weights even if there is a graph.

    Raises:
        ModelError: There is neither a usable graph nor safetensors; the message names what there
            is.

    Example:
        >>> names = ["config.json", "onnx/model.onnx", "onnx/model_fp16.onnx", "pytorch_model.bin"]
        >>> choose_files(names).graph, choose_files(names).small
        (('onnx/model.onnx',), ('config.json',))
    """
    files = sorted(set(names))
    first, *others = _usual_folders(files) if modules is None else modules
    tail = set(others) - {""}
    graph = None if weights else _choose_graph(files, first, precision)
    tensors = () if graph is not None else _weights(files, first)
    if graph is None and not tensors:
        raise ModelError(_why_none(files))
    folders = {"", "onnx", first, f"{first}/onnx".lstrip("/")} | tail
    small = [
        file
        for file in files
        if _folder(file) in folders and _SMALL.fullmatch(PurePosixPath(file).name)
    ]
    small += [f for f in files if _folder(f) in tail and f.endswith(".safetensors")]
    claimed = () if graph is None else (graph.graph, *graph.data)
    beside = [] if graph is None else [f for f in files if _folder(f) == _folder(graph.graph)]
    return RepositoryFiles(
        small=tuple(small),
        graph=claimed,
        weights=tensors,
        unclaimed=tuple(f for f in beside if f not in claimed and _may_be_data(f)),
    )


def hub_folder(
    repository: str,
    *,
    precision: Precision = "int8",
    revision: str | None = None,
    weights: bool = False,
) -> Path:
    """Returns a folder with the files of an encoder from a hub repository (see `choose_files`).

    Without a network, offline, or where the hub answers with an error, it is what the cache of
    huggingface_hub holds of it.

    Args:
        repository: "owner/name".
        precision: The precision to prefer.
        revision: A branch, a tag or a commit. None: the default branch.
        weights: Whether to fetch the weights even if there is a graph.

    Raises:
        DownloadError: huggingface_hub is not installed, or neither the hub nor the cache has the
            files.
        ModelNotFoundError: There is no such repository or revision.
        ModelError: The repository is gated, or has neither a usable graph nor safetensors.
        StorageError: The disk is full.
    """
    try:
        from huggingface_hub import HfApi, constants
    except ImportError as error:
        raise DownloadError(
            f"{repository!r} looks like a hub id, and huggingface_hub is not installed: "
            "pip install 'nestling[hub]', or give a folder"
        ) from error
    if hub_unreachable():
        if cached := _cached_folder(repository, revision):
            return cached
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "it cannot be reached"
        raise _not_fetched(
            repository,
            f"{constants.ENDPOINT}: {why}, and the cache of huggingface_hub lacks it"
            + ("" if revision is None else f" at revision {revision!r}"),
        )
    api = HfApi(endpoint=constants.ENDPOINT)
    download = {"cache_dir": constants.HF_HUB_CACHE, "etag_timeout": ANSWER_TIMEOUT}

    def ask(function: Callable[..., _Result], *arguments: str, **options: Any) -> _Result:
        try:
            return call_hub(function, repository, *arguments, revision=revision, **options)
        except DownloadError as error:
            raise _not_fetched(repository, error) from error

    try:
        info = ask(api.model_info, timeout=ANSWER_TIMEOUT)
    except DownloadError:
        if cached := _cached_folder(repository, revision):
            return cached
        raise
    names = [entry.rfilename for entry in info.siblings or ()]
    modules = None
    if _LISTING in names:
        listing = ask(api.hf_hub_download, _LISTING, **download)
        modules = _module_folders(Path(listing))
    try:
        files = choose_files(names, precision, modules=modules, weights=weights)
    except ModelError as error:
        raise ModelError(f"{repository} {error}") from error

    def fetch(*paths: str) -> Path:
        patterns = [glob.escape(path) for path in paths]
        return Path(ask(api.snapshot_download, allow_patterns=patterns, **download))

    folder = fetch(*files.small, *files.graph, *files.weights)
    if files.unclaimed:
        names_of_weights = external_names(folder / files.graph[0])
        more = [f for f in files.unclaimed if PurePosixPath(f).name in names_of_weights]
        if more:
            fetch(*more)
    return folder


def hub_unreachable() -> bool:
    """Whether the hub is switched off or cannot be reached; needs huggingface_hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE) or not _accepts_connections(constants.ENDPOINT)


def call_hub(
    function: Callable[..., _Result], repository: str, *arguments: str, **options: Any
) -> _Result:
    """Calls a function of huggingface_hub about a repository, and says plainly what failed.

    Raises:
        ModelNotFoundError: There is no such repository or revision.
        ModelError: It is gated.
        DownloadError: The hub answered with an error, or not at all.
        StorageError: The disk is full.
    """
    try:
        return function(repository, *arguments, **options)
    except Exception as error:  # what it raises differs by version, network and proxy
        names = {kind.__name__ for kind in type(error).__mro__}
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise StorageError(
                errno.ENOSPC,
                f"the disk is full while fetching {'/'.join((repository, *arguments))}",
            ) from error
        if "HFValidationError" in names:
            raise ModelNotFoundError(f"{repository!r} is not a hub id: {error}") from error
        if "GatedRepoError" in names:
            raise ModelError(
                f"{repository} is gated: accept its conditions on its page, then give a token "
                "(hf auth login, or HF_TOKEN)"
            ) from error
        if "RevisionNotFoundError" in names:
            raise ModelNotFoundError(
                f"{repository} has no revision {options.get('revision')!r}: give a branch, a tag "
                "or a commit that it has"
            ) from error
        if "RepositoryNotFoundError" in names:
            raise ModelNotFoundError(
                f"the hub has no repository {repository!r} that it shows to everyone: check the "
                "name; for a private one give a token (hf auth login, or HF_TOKEN)"
            ) from error
        raise DownloadError((str(error) or type(error).__name__).strip().splitlines()[0]) from error


def _cached_folder(repository: str, revision: str | None) -> Path | None:
    """Returns the snapshot of a repository in the cache of huggingface_hub; None where absent."""
    from huggingface_hub import constants, try_to_load_from_cache

    options = {"cache_dir": constants.HF_HUB_CACHE, "revision": revision}
    for name in _LANDMARKS:
        found = call_hub(try_to_load_from_cache, repository, name, **options)
        if isinstance(found, str):
            return Path(found).parent
    return None


def _not_fetched(repository: str, reason: object) -> DownloadError:
    return DownloadError(
        f"cannot fetch {repository!r} from the Hugging Face hub: {str(reason).rstrip('.')}.\n"
        "Check the network, or download it elsewhere and give its folder."
    )


def _module_folders(listing: Path) -> list[str]:
    """Returns the folders in modules.json; a file that cannot be read is reported by its reader."""
    try:
        paths = [PurePosixPath(m.get("path", "")) for m in json.loads(listing.read_bytes())]
    except (OSError, ValueError, AttributeError, TypeError):
        return [""]
    return ["" if path.name == "" else str(path) for path in paths] or [""]


def _usual_folders(files: Sequence[str]) -> list[str]:
    """Returns the folders whose names are those of modules, that of the first one before others."""
    found = sorted({f for f in map(_folder, files) if _MODULE_FOLDER.fullmatch(f)})
    first = [folder for folder in found if folder.startswith("0_")]
    return [first[0] if first else "", *(folder for folder in found if folder not in first)]


def _choose_graph(files: Sequence[str], folder: str, precision: Precision) -> GraphFiles | None:
    """Returns the graph in the transformer's folder or in the whole one, and its data."""
    found = []
    for place in dict.fromkeys((folder, "")):
        prefix = f"{place}/" if place else ""
        inner = [file.removeprefix(prefix) for file in files if file.startswith(prefix)]
        if chosen := choose_graph(inner, precision):
            data = tuple(prefix + file for file in chosen.data)
            found.append(GraphFiles(prefix + chosen.graph, data, chosen.precision))
    return min(found, key=lambda graph: graph.precision != precision, default=None)


def _weights(files: Sequence[str], folder: str) -> tuple[str, ...]:
    """Returns the safetensors of the transformer: one file, else an index and its shards."""
    for place in dict.fromkeys((folder, "")):
        found = [
            file
            for file in files
            if _folder(file) == place and _WEIGHTS.fullmatch(PurePosixPath(file).name)
        ]
        single = str(PurePosixPath(place, "model.safetensors"))
        if single in found:
            return (single,)
        if len(found) > 1 and any(file.endswith(".index.json") for file in found):
            return tuple(found)
    return ()


def _why_none(files: Sequence[str]) -> str:
    found = unusable_graphs(files)
    graphs = f"these graphs cannot be used: {found}" if found else "it has no ONNX graph"
    pickles = [file for file in files if PurePosixPath(file).suffix in _PICKLES]
    weights = "no model.safetensors to convert"
    if pickles:
        weights += f" (pickle files such as {pickles[0]} are never opened)"
    return f"cannot be run: {graphs}, and {weights}"


def _folder(file: str) -> str:
    return file.rpartition("/")[0]


def _may_be_data(file: str) -> bool:
    """Whether a file beside a graph could hold weights of it, under the name of a tensor."""
    known = (".onnx", ".json", ".txt", ".md", ".model", ".safetensors", ".py", *_PICKLES)
    name = PurePosixPath(file).name
    return not (name.startswith(".") or name.endswith(known) or ".onnx" in name)


def _accepts_connections(endpoint: str) -> bool:
    """Whether a server accepts connections; assumed where a proxy is configured.

    Without a network, huggingface_hub gives up only after many seconds of retries, each reported on
    stderr.
    """
    address = urlsplit(endpoint)
    if getproxies().keys() & {address.scheme, "all"}:
        return True
    host = address.hostname or endpoint
    port = address.port or (80 if address.scheme == "http" else 443)
    connected = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((host, port), _CONNECT_TIMEOUT).close()
        except (OSError, ValueError):  # a ValueError: not a valid host name
            return
        connected.set()

    # In a thread, as neither the name look-up nor all its addresses together have a time limit.
    thread = threading.Thread(target=connect, name="nestling-hub", daemon=True)
    thread.start()
    thread.join(_CONNECT_TIMEOUT)
    return connected.is_set()
