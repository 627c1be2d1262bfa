"""Retrieval tasks of MTEB as datasets. Needs the extra `mteb`; named tasks come from the hub."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from nestling.errors import CorpusError, PackageError
from nestling.evaluation.datasets import Dataset

__all__ = ["read_task", "require_mteb"]


def read_task(
    task: Any,
    *,
    subset: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    ignore_identical_ids: bool | None = None,
) -> Dataset:
    """Loads a retrieval task of MTEB as a dataset.

    Args:
        task: The name of a task that MTEB fetches from the hub, such as "NFCorpus", or a task.
        subset: One of its subsets, often a language. Default: the only one.
        split: One of its splits. Default: the first that MTEB measures.
        limit: As for `Dataset.of`.
        ignore_identical_ids: As for `Dataset.of`. Default: as MTEB measures the task.

    Raises:
        PackageError: mteb is not installed.
        CorpusError: There is no such task, subset or split, it is not a retrieval of texts, or
            MTEB cannot load it.

    Warns:
        CorpusWarning: As for `Dataset.of`.

    Example:
        >>> read_task("NFCorpus", limit=100)  # doctest: +SKIP
        Dataset('NFCorpus', documents=3633, queries=100, judgements=3990)
    """
    mteb = require_mteb()
    name = task if isinstance(task, str) else task.metadata.name
    try:
        found = mteb.get_task(task) if isinstance(task, str) else task
        found.load_data()
        # Older tasks store their data in another form until they convert it.
        if hasattr(found, "convert_v1_dataset_format_to_v2"):
            found.convert_v1_dataset_format_to_v2(None)
    except Exception as error:  # hubs, caches and task names each raise errors of other kinds
        raise CorpusError(f"MTEB cannot load the task {name!r}: {error}") from error
    if not isinstance(found, mteb.abstasks.AbsTaskRetrieval):
        raise CorpusError(f"{name}: a task of type {found.metadata.type}, not retrieval")
    splits = _choose(found.dataset, subset, f"{name}: subset")
    chosen = split or next((s for s in found.metadata.eval_splits if s in splits), None)
    data = _choose(splits, chosen, f"{name}: split")
    if "text" not in data["corpus"].column_names or "text" not in data["queries"].column_names:
        raise CorpusError(f"{name}: a retrieval task of something other than texts")
    documents = {str(row["id"]): _passage(row) for row in data["corpus"]}
    queries = {str(row["id"]): row["text"] for row in data["queries"]}
    judgements = (
        (str(query), str(document), int(grade))
        for query, grades in data["relevant_docs"].items()
        if str(query) in queries  # MTEB measures the queries that there are
        for document, grade in grades.items()
    )
    if ignore_identical_ids is None:
        ignore_identical_ids = bool(found.ignore_identical_ids)
    return Dataset.of(
        name,
        documents,
        queries,
        judgements,
        limit=limit,
        ignore_identical_ids=ignore_identical_ids,
    )


def _choose(parts: Mapping[str, Any], name: str | None, what: str) -> Any:
    if name is None and len(parts) == 1:
        return next(iter(parts.values()))
    if name is None or name not in parts:
        raise CorpusError(f"{what} {name!r}: choose one of {', '.join(parts) or 'none'}")
    return parts[name]


def _passage(row: Mapping[str, Any]) -> str:
    return f"{row.get('title') or ''} {row['text']}".strip()


def require_mteb() -> ModuleType:
    """Returns the package `mteb`, which takes seconds to import.

    Raises:
        PackageError: It is not installed.

    Example:
        >>> require_mteb().__name__  # doctest: +SKIP
        'mteb'
    """
    try:
        import mteb
        import mteb.abstasks
        import mteb.similarity_functions
    except ImportError as error:
        raise PackageError("this needs mteb 2: pip install 'nestling[mteb]'") from error
    module: ModuleType = mteb
    return module
