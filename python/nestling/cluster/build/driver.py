"""The driver of a build: it plans, has the tasks run, and commits; it holds no record and no id."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nestling._util.value import Value
from nestling.cluster.build.plan import (
    Plan,
    found_template,
    learn_template,
    make_plan,
    sample_rows,
)
from nestling.cluster.build.ray_data import is_ray_dataset, write_source
from nestling.cluster.build.removal import (
    find_duplicates,
    partitions,
    remove_digests,
    write_duplicates,
)
from nestling.cluster.build.scatter import (
    Scattered,
    by_cells,
    divide_centroids,
    filled,
    learn_centroids,
    scatter,
)
from nestling.cluster.build.settings import BuildSettings
from nestling.cluster.build.shard import ShardReport, build_shard, finished
from nestling.cluster.build.source import Source
from nestling.cluster.dataset import Dataset
from nestling.cluster.manifest import Manifest, ShardEntry
from nestling.cluster.routing import distinct_centroids, read_centroids, write_centroids
from nestling.cluster.storage import Storage
from nestling.cluster.tasks import TaskOptions, run_tasks
from nestling.errors import ArgumentError, CorpusError
from nestling.index.arguments import positive
from nestling.runtime.text_encoder import TextEncoder

__all__ = ["BuildResult", "Paths", "append", "build"]

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

_DEFAULT: Final = BuildSettings()
_SAMPLERS: Final = 16  # tasks that read the sample


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BuildResult(Value):
    """What a build did.

    Attributes:
        manifest: The version that it committed.
        shards: Shards that it built.
        resumed: Shards that an earlier attempt had finished.
        bad: Records that were left out because they cannot be stored; `rejected/` lists them.
        duplicates: Documents that were left out because an earlier one has their id.
        truncated: Passages that are longer than the encoder reads.

    Example:
        >>> nestling.cluster.build("*.parquet", "s3://corpora/news").bad  # doctest: +SKIP
        0
    """

    manifest: Manifest
    shards: int
    resumed: int
    bad: int
    duplicates: int
    truncated: int


def build(
    source: Paths | Any,
    out: str | os.PathLike[str],
    *,
    encoder: str | os.PathLike[str] | TextEncoder | None = None,
    shards: int = 8,
    settings: BuildSettings = _DEFAULT,
    source_name: str | None = None,
    source_options: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> BuildResult:
    """Builds a dataset on Ray: tasks read, encode and write one shard each.

    A build that was interrupted, by a killed task, node or driver, is resumed by the same call:
    finished shards are kept, and the files of all shards are equal to those of a build without
    interruption, byte for byte. Of documents with the same id, the first one is stored.

    Args:
        source: Parquet or JSONL files: paths, URLs, folders or patterns; or a Ray `Dataset`.
        out: The dataset's folder: a local path that all nodes share, or a URL.
        encoder: A built-in name, a model folder that all nodes have, a hub id, an `Encoder` or any
            `TextEncoder` that can be pickled. None: vectors come with the records.
        shards: Shards to build.
        settings: All else that the shards have in common, and what tasks may use.
        source_name: A name for a Ray `Dataset`, which is written to files first. With the same
            name, an interrupted build is resumed with these files; without one, it starts again.
        source_options: Options of the source's file system, as fsspec takes them.
        storage_options: Options of the dataset's file system, as fsspec takes them.
        progress: Whether to show a bar on stderr. Default: on a terminal, after two seconds.

    Returns:
        The version, and what was left out.

    Raises:
        ArgumentError: The folder holds another dataset, or an argument is out of range.
        CorpusError: The source cannot be read, or holds nothing that can be stored.
        ModelError: The encoder cannot be loaded.
        StorageError: The storage or a node's disk failed again and again, or is full.
        ClusterError: A task was killed more often than `settings.retries`.
        PackageError: A package is not installed.

    Example:
        >>> from nestling import cluster
        >>> result = cluster.build("news/*.parquet", "news.shards", encoder="minilm",
        ...                        shards=4)  # doctest: +SKIP
        >>> result.manifest.documents, result.duplicates  # doctest: +SKIP
        (1204811, 317)
    """
    dataset = Dataset(Storage(out, storage_options))
    files = _files(source, dataset.storage, source_name, source_options)
    versions = dataset.versions()
    plan = make_plan(
        files,
        dataset.storage,
        settings,
        encoder=encoder,
        shards=positive("shards", shards),
        base=None,
    )
    before = dataset.manifest() if versions else None
    if before is not None and plan.id not in before.builds:
        raise ArgumentError(
            f"{out} holds a dataset already: append to it, or choose another folder"
        )
    plan = _with_template(plan, files, progress)
    scattered: list[Scattered] = []
    groups: list[NDArray[np.float32]] = []
    if settings.routing == "cells":
        plan, groups, scattered = _scattered(plan, files, None, progress)
    reports, resumed = _run(plan, progress)
    if before is None:
        shards_built = _placed(_kept(reports, dataset, groups), 0)
        after = _deduplicated(plan, (), shards_built, progress)
        assert plan.template is not None
        before = Manifest(
            version=1,
            kind=plan.kind,
            dim=plan.collection.dim,
            metric=plan.collection.metric,
            funnel=str(plan.collection.funnel),
            encoder=plan.collection.encoder,
            passages=plan.collection.passages,
            title_weight=plan.collection.title_weight,
            fields=tuple(plan.collection.fields),
            cells=plan.cells,
            template=plan.template,
            next_row=after[-1].last + 1,
            builds=(plan.id,),
            shards=after,
        )
        if not dataset.create(before):
            before = dataset.manifest()
            if plan.id not in before.builds:
                raise ArgumentError(f"{out}: another build made a dataset meanwhile")
    return _result(plan, before, reports, resumed, scattered)


def append(
    path: str | os.PathLike[str],
    source: Paths | Any,
    *,
    encoder: str | os.PathLike[str] | TextEncoder | None = None,
    shards: int = 1,
    settings: BuildSettings = _DEFAULT,
    source_name: str | None = None,
    source_options: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> BuildResult:
    """Adds new shards to a dataset, as a new version; interrupted, it is resumed as a `build` is.

    The new shards have the funnel, the transform, the encoder and the fields of the others. A
    document whose id the dataset has is left out as a duplicate: to replace it, `delete` it first.
    To a dataset that was built by cells, documents are appended by its centroids, so that routed
    searches find them.

    Args:
        path: The dataset's folder.
        source: As for `build`, like the other arguments.
        encoder: The encoder of the dataset, where its name does not open it on every node.
        shards: New shards to build.
        settings: What tasks may use, and how records are read.
        source_name: See `build`.
        source_options: See `build`.
        storage_options: See `build`.
        progress: See `build`.

    Raises:
        FormatError: There is no dataset.
        EncoderMismatchError: The dataset was made with another encoder.
        LockedError: Others committed versions again and again meanwhile.
        ArgumentError, CorpusError, ModelError, StorageError, ClusterError: As for `build`.

    Example:
        >>> nestling.cluster.append("news.shards", "today.jsonl").manifest.version  # doctest: +SKIP
        2
    """
    dataset = Dataset.open(path, storage_options=storage_options)
    files = _files(source, dataset.storage, source_name, source_options)
    base = dataset.manifest()
    if settings.routing == "cells" and not base.by_cells:
        raise ArgumentError(f"{path}: was not built by cells, so nothing can be appended by them")
    plan = make_plan(
        files,
        dataset.storage,
        settings,
        encoder=encoder,
        shards=positive("shards", shards),
        base=base,
    )
    scattered: list[Scattered] = []
    groups: list[NDArray[np.float32]] = []
    if base.by_cells:
        known, _ = distinct_centroids([read_centroids(dataset.storage, s) for s in base.shards])
        plan, groups, scattered = _scattered(plan, files, known, progress)
    reports, resumed = _run(plan, progress)
    kept = _kept(reports, dataset, groups)

    def change(before: Manifest) -> Manifest:
        if plan.id in before.builds:
            return before
        new = _placed(kept, before.next_row)
        new = _deduplicated(plan, before.shards, new, progress)
        return replace(
            before,
            version=before.version + 1,
            next_row=new[-1].last + 1,
            builds=(*before.builds, plan.id),
            shards=(*before.shards, *new),
        )

    return _result(plan, dataset.commit(change), reports, resumed, scattered)


def _files(
    source: Paths | Any,
    storage: Storage,
    name: str | None,
    options: Mapping[str, Any] | None,
) -> Source:
    """Returns the files of a source; those of a Ray `Dataset` are written first."""
    if not is_ray_dataset(source):
        return Source.of(source, options)
    return Source.of(storage.describe(write_source(source, storage, name)), storage.options)


def _with_template(plan: Plan, source: Source, progress: bool | None) -> Plan:
    """Returns the plan with what all shards share: as it was found, or else learned now."""
    template = found_template(plan)
    if template is None and not plan.settings.learns_template:
        template = learn_template(plan)
    if template is None:
        options = _task_options(plan)
        samples = run_tasks(
            sample_rows,
            (plan, source),
            [(part, _SAMPLERS) for part in range(_SAMPLERS)],
            options,
            title="Reading a sample",
            progress=progress,
            returns=2,  # so that the vectors do not come to the driver
        )
        (template,) = run_tasks(
            learn_template,
            plan,
            [tuple(rows for _, rows in samples)],
            options,
            title="Learning what shards share",
            progress=progress,
        )
    return replace(plan, template=template)


def _scattered(
    plan: Plan, source: Source, known: NDArray[np.float32] | None, progress: bool | None
) -> tuple[Plan, list[NDArray[np.float32]], list[Scattered]]:
    """Writes documents to the files of their shards.

    Args:
        plan: The plan of the build.
        source: Its source.
        known: The centroids of the dataset; None to learn some.
        progress: Whether to show a bar.

    Returns:
        The plan that builds the shards from these files; the centroids of each; what the tasks did.
    """
    if plan.kind == "index":
        raise ArgumentError("routing='cells' needs documents: bare vectors have no ids")
    name = f"{plan.folder}/centroids.npz"
    try:
        data = plan.storage.read(name)
    except FileNotFoundError:
        shards = len(plan.parts)
        rows = np.empty((0, plan.collection.dim), np.float32)
        if known is None or shards > 1:
            _, rows = sample_rows((plan, source), 0, 1)
        centroids = learn_centroids(rows, shards) if known is None else known
        if len(centroids) < shards:
            few = "documents" if known is None else "centroids of the dataset"
            raise CorpusError(f"there are fewer {few} than shards are to be made") from None
        stream = io.BytesIO()
        np.savez(stream, *divide_centroids(centroids, rows, shards))
        data = stream.getvalue()
        plan.storage.write(name, data)  # so that a build that is resumed has the same ones
    with np.load(io.BytesIO(data)) as arrays:
        groups = [arrays[key] for key in arrays.files]
    options = _task_options(plan)
    numbers = [(number,) for number in range(len(plan.parts))]
    title = "Assigning documents"
    scattered = run_tasks(scatter, (plan, groups), numbers, options, title=title, progress=progress)
    return by_cells(plan, scattered), filled(groups, scattered), scattered


def _run(plan: Plan, progress: bool | None) -> tuple[list[ShardReport], int]:
    """Has the shards built that are not finished; returns all reports, and how many were."""
    marked = len(plan.storage.list(f"{plan.folder}/shards"))
    known = [finished(plan, number) if marked else None for number in range(len(plan.parts))]
    missing = [number for number, report in enumerate(known) if report is None]
    built = iter(
        run_tasks(
            build_shard,
            plan,
            [(number,) for number in missing],
            _task_options(plan),
            title="Building shards",
            progress=progress,
        )
    )
    reports = [next(built) if report is None else report for report in known]
    return reports, len(known) - len(missing)


def _task_options(plan: Plan) -> TaskOptions:
    settings = plan.settings
    return TaskOptions(threads=settings.threads, memory=settings.memory, retries=settings.retries)


def _kept(
    reports: Sequence[ShardReport], dataset: Dataset, groups: Sequence[NDArray[np.float32]]
) -> list[ShardEntry]:
    """Returns the shards that have rows, with their centroids, if they are built by cells.

    Raises:
        CorpusError: There is none.
        StorageError: The centroids cannot be written.
    """
    kept = []
    for number, report in enumerate(reports):
        if report.shard is not None:
            shard = report.shard
            kept.append(
                write_centroids(dataset.storage, shard, groups[number]) if groups else shard
            )
    if not kept:
        raise CorpusError(
            f"no record of the source can be stored; {dataset.path}/rejected says why"
        )
    return kept


def _placed(shards: Sequence[ShardEntry], row: int) -> tuple[ShardEntry, ...]:
    """Returns shards with rows that count from `row` on."""
    placed = []
    for shard in shards:
        placed.append(replace(shard, first=row, last=row + shard.last))
        row = placed[-1].last + 1
    return tuple(placed)


def _deduplicated(
    plan: Plan, old: Sequence[ShardEntry], new: Sequence[ShardEntry], progress: bool | None
) -> tuple[ShardEntry, ...]:
    """Returns new shards without the documents whose ids an earlier shard has."""
    if plan.kind == "index":
        return tuple(new)
    options = TaskOptions(retries=plan.settings.retries)
    everything = (*old, *new)
    ranges = partitions(sum(shard.documents for shard in everything))
    found = run_tasks(
        find_duplicates,
        (plan.storage, everything, len(old)),
        ranges,
        options,
        title="Comparing ids",
        progress=progress,
        returns=1 + len(new),
    )
    again = [number for number in range(len(new)) if any(counts[number] for counts, *_ in found)]
    changed = run_tasks(
        _remove_duplicates,
        (plan.storage, plan.id),
        [(new[number], *(digests[number] for _, *digests in found)) for number in again],
        options,
        title="Removing duplicates",
        progress=progress,
    )
    result = list(new)
    for number, shard in zip(again, changed, strict=True):
        result[number] = shard
    return tuple(result)


def _remove_duplicates(shared: tuple[Storage, str], shard: ShardEntry, *digests: Any) -> ShardEntry:
    storage, build = shared
    after = remove_digests(storage, shard, *digests)
    write_duplicates(storage, build, shard, after)
    return after


def _result(
    plan: Plan,
    manifest: Manifest,
    reports: Sequence[ShardReport],
    resumed: int,
    scattered: Sequence[Scattered] = (),
) -> BuildResult:
    living = {shard.name: shard.documents for shard in manifest.shards}
    across = sum(
        report.shard.documents - living.get(report.shard.name, report.shard.documents)
        for report in reports
        if report.shard is not None
    )
    return BuildResult(
        manifest,
        len(reports) - resumed,
        resumed,
        sum(each.bad for each in reports) + sum(each.bad for each in scattered),
        sum(report.duplicates for report in reports) + across,
        sum(each.truncated for each in reports) + sum(each.truncated for each in scattered),
    )
