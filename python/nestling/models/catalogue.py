"""Which models there are: built in, in the caches of this machine, well known, or on the hub."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from nestling._util.value import Value
from nestling.errors import DownloadError, ModelError
from nestling.models.cards import BUILT_IN, QUERY_ENCODERS
from nestling.models.hub import call_hub, choose_files, hub_unreachable
from nestling.models.recipes import RECIPES, Recipe, recipe_for
from nestling.models.store import cache_folder
from nestling.runtime.card import nesting_of_card
from nestling.runtime.graph_files import choose_graph

__all__ = ["HubModel", "ModelEntry", "list_models", "loads", "search_hub"]

_LICENCE: Final = re.compile(r"^license:[ \t]*(\S+)[ \t]*$", re.MULTILINE)
_LIBRARY: Final = "sentence-transformers"
_NESTED: Final = "loss:MatryoshkaLoss"  # a tag of models whose training sentence-transformers ran
_FRONT_MATTER: Final = 4096  # characters of a card that may name its licence


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ModelEntry(Value):
    """One model that `Encoder` opens by its name.

    Attributes:
        name: What `Encoder` takes: a built-in name or a hub id.
        built_in: Whether its files are pinned and its adaptor comes with nestling.
        languages: Languages that it was trained for; empty where unknown.
        dim: Dimensions of an embedding; None where unknown.
        nesting: Prefix lengths that it, or its adaptor, was trained for; empty where unknown.
        parameters: Millions of parameters; None where unknown.
        disk: Bytes that it takes in the caches of this machine; 0 where it must be fetched.
        licence: The licence of its weights; empty where unknown.
        teacher: Of a query encoder, the model whose embeddings of queries it gives; else empty.

    Example:
        >>> entry = next(entry for entry in list_models() if entry.name == "minilm")
        >>> entry.dim, entry.built_in, entry.licence
        (384, True, 'Apache-2.0')
    """

    name: str
    built_in: bool = False
    languages: str = ""
    dim: int | None = None
    nesting: tuple[int, ...] = ()
    parameters: float | None = None
    disk: int = 0
    licence: str = ""
    teacher: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Returns the entry as JSON values."""
        return asdict(self) | {"nesting": list(self.nesting)}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HubModel(Value):
    """One model that a search of the hub found.

    Attributes:
        name: Its hub id.
        loads: Whether `Encoder` can open it.
        how: How it is loaded, or why it is not.
        nested: Whether its tags, or what is known of it, say that it was trained to nest.
        nesting: Prefix lengths that it was trained for, where that is known.
        dim: Dimensions of an embedding, where that is known.
        downloads: How often it was downloaded in the last month.
        licence: Its licence; empty where it has none.
        languages: Codes of its languages.

    Example:
        >>> HubModel("owner/name", loads=True, how="ONNX graph, int8").as_dict()["loads"]
        True
    """

    name: str
    loads: bool
    how: str
    nested: bool = False
    nesting: tuple[int, ...] = ()
    dim: int | None = None
    downloads: int = 0
    licence: str = ""
    languages: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Returns the model as JSON values."""
        return asdict(self) | {"nesting": list(self.nesting), "languages": list(self.languages)}


def list_models() -> list[ModelEntry]:
    """Lists the built-in models, then those in the caches of this machine, then well-known ones.

    Nothing is fetched.

    Example:
        >>> [entry.name for entry in list_models()][:5]
        ['minilm', 'e5', 'wordllama', 'minilm-fast', 'e5-fast']
    """
    disk: dict[str, int] = {}
    cached = {entry.name: entry for entry in _cached_in_hub_cache()}
    for source, size in _converted():
        disk[source] = disk.get(source, 0) + size
    for source in disk:
        if "/" in source and not Path(source).is_absolute():
            cached.setdefault(source, _known(source))
    entries = [_built_in(name) for name in BUILT_IN]
    entries += [_query_encoder(name) for name in QUERY_ENCODERS]
    entries += [
        replace(entry, disk=entry.disk + disk.get(name, 0)) for name, entry in cached.items()
    ]
    names = {entry.name.lower() for entry in entries}
    entries += [_of_recipe(recipe) for key, recipe in RECIPES.items() if key not in names]
    return entries


def search_hub(query: str, *, limit: int = 20, every_library: bool = False) -> list[HubModel]:
    """Searches the hub for models, the most downloaded first.

    Args:
        query: What their ids contain.
        limit: The most models to list.
        every_library: Whether to list models that are not tagged as sentence-transformers' too.

    Raises:
        DownloadError: huggingface_hub is not installed, or the hub cannot be reached.
    """
    try:
        from huggingface_hub import HfApi, constants
    except ImportError as error:
        raise DownloadError(
            "searching the hub needs huggingface_hub: pip install 'nestling[hub]'"
        ) from error
    if hub_unreachable():
        raise DownloadError(
            f"the hub ({constants.ENDPOINT}) cannot be reached, or is switched off (HF_HUB_OFFLINE)"
        )
    api = HfApi(endpoint=constants.ENDPOINT)
    options: dict[str, Any] = {"sort": "downloads", "limit": limit, "full": True}
    options["fetch_config"] = True
    if not every_library:
        options["filter"] = _LIBRARY
    if "direction" in inspect.signature(api.list_models).parameters:  # until huggingface_hub 1
        options["direction"] = -1

    def found(search: str) -> list[Any]:
        return list(api.list_models(search=search, **options))

    return [_of_hub(info) for info in call_hub(found, query)]


def loads(
    names: Iterable[str], config: Mapping[str, Any], *, own_code: bool = False
) -> tuple[bool, str]:
    """Returns whether a repository can be loaded, and how, or why not.

    Args:
        names: The paths of its files.
        config: Its config.json, or what the hub lists of it.
        own_code: Whether it comes with Python code.

    Example:
        >>> loads(["tokenizer.json", "onnx/model_quantized.onnx"], {})
        (True, 'ONNX graph, int8')
        >>> loads(["tokenizer.json", "model.safetensors"], {"model_type": "bert"})
        (True, 'converted once')
        >>> loads(["onnx/model.onnx"], {})
        (False, 'no tokenizer.json')
    """
    files = set(names)
    if "generation_config.json" in files and "modules.json" not in files:
        return False, "it generates text, and is not an encoder"
    try:
        chosen = choose_files(files)
    except ModelError as error:
        return False, str(error).removeprefix("cannot be run: ")
    graph = choose_graph([PurePosixPath(file).name for file in chosen.graph])
    if graph is None:
        from nestling.models.convert import supported  # imports onnx

        static = any(name.startswith("0_StaticEmbedding/") for name in files)
        reason = None if static else supported(config)
        if reason is not None and own_code:
            return False, f"{reason}; it comes with its own code, which is not run"
        if reason is not None:
            return False, f"{reason}; needs torch: nestling convert --with torch"
    if not any(name.rpartition("/")[2] == "tokenizer.json" for name in files):
        return False, "no tokenizer.json"
    return True, "converted once" if graph is None else f"ONNX graph, {graph.precision}"


def _built_in(name: str) -> ModelEntry:
    card = BUILT_IN[name]
    recipe = None if card.hub is None else recipe_for(card.hub.repository)
    folders = [
        folder
        for folder in (cache_folder() / "models").glob(f"{name}-*")
        if not any(folder.name.startswith(f"{other}-") for other in QUERY_ENCODERS)
    ]
    return ModelEntry(
        name,
        built_in=True,
        languages=card.languages,
        dim=card.dim,
        nesting=card.nesting or card.adaptor,
        parameters=None if recipe is None else recipe.parameters,
        disk=sum(map(_size, folders)),
        licence=card.licence,
    )


def _query_encoder(name: str) -> ModelEntry:
    card = QUERY_ENCODERS[name]
    teacher = BUILT_IN[card.teacher]
    folders = (cache_folder() / "models").glob(f"{name}-*")
    return ModelEntry(
        name,
        built_in=True,
        languages=card.languages,
        dim=teacher.dim,
        nesting=teacher.nesting or teacher.adaptor,
        disk=sum(map(_size, folders)),
        licence=card.licence,
        teacher=card.teacher,
    )


def _of_recipe(recipe: Recipe) -> ModelEntry:
    return ModelEntry(
        recipe.repository,
        languages=recipe.languages,
        dim=recipe.dim,
        nesting=recipe.nesting,
        parameters=recipe.parameters,
        licence=recipe.licence,
    )


def _known(name: str) -> ModelEntry:
    recipe = recipe_for(name)
    return ModelEntry(name) if recipe is None else replace(_of_recipe(recipe), name=name)


def _of_hub(info: Any) -> HubModel:
    recipe = recipe_for(info.id)
    tags = [str(tag) for tag in info.tags or ()]
    names = [entry.rfilename for entry in info.siblings or ()]
    possible, how = loads(names, info.config or {}, own_code="custom_code" in tags)
    if possible and info.gated:
        how += ", once its conditions are accepted"
    return HubModel(
        info.id,
        loads=possible,
        how=how,
        nested=_NESTED in tags or bool(recipe and recipe.nesting) or "matryoshka" in tags,
        nesting=() if recipe is None else recipe.nesting,
        dim=None if recipe is None else recipe.dim,
        downloads=info.downloads or 0,
        licence=next((t.partition(":")[2] for t in tags if t.startswith("license:")), ""),
        languages=tuple(tag for tag in tags if re.fullmatch(r"[a-z]{2}", tag)),
    )


def _cached_in_hub_cache() -> Iterator[ModelEntry]:
    """Yields the encoders in the cache of huggingface_hub, from the newest snapshot of each."""
    try:
        from huggingface_hub import constants, scan_cache_dir

        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except Exception:  # it is not installed, or there is no cache: what it raises differs
        return
    for repository in sorted(repositories, key=lambda each: str(each.repo_id)):
        snapshots = sorted(repository.revisions, key=lambda each: each.last_modified)
        if repository.repo_type != "model" or not snapshots:
            continue
        folder = Path(snapshots[-1].snapshot_path)
        names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
        possible, _ = loads(names, _json(folder / "config.json"))
        if possible:
            yield _described(
                replace(_known(repository.repo_id), disk=snapshots[-1].size_on_disk), folder
            )


def _described(entry: ModelEntry, folder: Path) -> ModelEntry:
    """Adds what the card and the settings in a folder say, where nothing is known."""
    width = _json(folder / "config.json").get("hidden_size")
    if entry.dim is None and isinstance(width, int) and not list(folder.glob("[1-9]_Dense")):
        entry = replace(entry, dim=width)
    if not entry.nesting:
        entry = replace(entry, nesting=nesting_of_card(folder / "README.md"))
    if not entry.licence:
        try:
            text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return entry
        found = _LICENCE.search(text[:_FRONT_MATTER])
        entry = replace(entry, licence=found[1] if found else "")
    return entry


def _converted() -> Iterator[tuple[str, int]]:
    """Yields the hub id, or the folder, and the bytes of each model that was converted."""
    for folder in sorted((cache_folder() / "converted").glob("[!.]*")):
        if source := _json(folder / "manifest.json").get("source"):
            yield str(source).partition("@")[0], _size(folder)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file; an empty one where there is none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
