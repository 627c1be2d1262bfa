"""`nestling eval`: measures the quality of a model's prefixes, their codes, and funnels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestling.cli.command import command
from nestling.cli.options import Json, Precision, Threads, numbers_of

if TYPE_CHECKING:
    from nestling.encoder import Encoder
    from nestling.evaluation.datasets import Dataset
    from nestling.evaluation.runs import Run
    from nestling.evaluation.similarity import PairsTable
    from nestling.evaluation.table import Table

__all__ = ["EvalOptions", "evaluate"]

_TASK = "mteb:"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """The arguments and options of `nestling eval`."""

    source: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder with corpus.jsonl, queries.jsonl and qrels.tsv or qrels/test.tsv; "
            "mteb:NAME or mteb:NAME/SUBSET, a retrieval task of MTEB; with --pairs a .tsv or "
            ".jsonl file.",
        ),
    ]
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Built-in name, model folder, or hub id.",
            metavar="NAME",
            show_default="minilm; none with --run",
        ),
    ] = None
    precision: Precision = "int8"
    query_encoder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A query encoder of the model, by name or folder, measured beside it; may be "
            "repeated.",
        ),
    ] = None
    dims: Annotated[
        str | None,
        typer.Option(
            metavar="N,N…",
            help="Prefix lengths.",
            show_default="those the model was trained for, else halves",
        ),
    ] = None
    bits: Annotated[
        str, typer.Option(metavar="N,N…", help="Precisions of each prefix; 32 is exact.")
    ] = "32,8,4,2,1"
    funnel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FUNNEL",
            help="A funnel, e.g. '64@4:1000 > 384@16'; may be repeated.",
            show_default="the default funnel of an index",
        ),
    ] = None
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="ndcg@k, mrr@k, map@k, recall@k, precision@k or success@k; may be repeated; "
            "systems are compared by the first.",
            show_default="ndcg@10, mrr@10, map@100, recall@10, recall@100",
        ),
    ] = None
    depth: Annotated[int, typer.Option(min=1, help="Documents retrieved per question.")] = 100
    rounds: Annotated[
        int, typer.Option(min=0, help="Rounds of timing; 0 leaves the speeds out.")
    ] = 5
    limit: Annotated[
        int | None, typer.Option(min=1, help="Use only the first so many questions.")
    ] = None
    split: Annotated[
        str | None, typer.Option(help="Judgements: qrels/SPLIT.tsv.", show_default="test")
    ] = None
    pairs: Annotated[
        bool,
        typer.Option("--pairs", help="DATA holds scored pairs of texts; measure similarity."),
    ] = False
    run: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Compare a ranking in TREC's format; may be repeated."),
    ] = None
    save_runs: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write every ranking there in TREC's format."),
    ] = None
    ignore_identical_ids: Annotated[
        bool | None,
        typer.Option(
            "--ignore-identical-ids/--keep-identical-ids",
            help="Whether a document is not a result of the question that has its id.",
            show_default="ignore, as in BEIR; for a task as in MTEB",
        ),
    ] = None
    threads: Threads = None
    seed: Annotated[int, typer.Option(help="Seed of the random draws of the comparisons.")] = 0
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table as Markdown.")
    ] = None
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Plot it: .png, .svg or .pdf; needs matplotlib."),
    ] = None
    as_json: Json = False


@command
def evaluate(options: EvalOptions) -> None:
    """Measure a model's prefixes, their codes, and funnels on questions with known answers.

    Example: nestling eval cranfield --model minilm --dims 384,128,64
    """
    from nestling.evaluation.metrics import DEFAULT_METRICS

    metrics = tuple(options.metric or DEFAULT_METRICS)
    _check(options, metrics)
    table = _pairs_table(options) if options.pairs else _table(options, metrics)
    _write(table, options)


def _check(options: EvalOptions, metrics: tuple[str, ...]) -> None:
    """Checks the options before anything is read.

    Raises:
        typer.BadParameter: Two options conflict, or a measure is unknown or needs a larger depth.
        PackageError, StorageError: The plot cannot be made.
    """
    from nestling.evaluation.metrics import parse_metric

    try:
        largest = max(k for _, k in map(parse_metric, metrics))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--metric") from None
    if largest > options.depth:
        raise typer.BadParameter(
            f"the measures need {largest} documents: raise the depth, or choose others with "
            "--metric",
            param_hint="--depth",
        )
    if options.pairs and (
        options.run or options.save_runs or options.funnel or options.metric or options.split
    ):
        raise typer.BadParameter(
            "cannot be combined with --run, --save-runs, --funnel, --metric or --split",
            param_hint="--pairs",
        )
    if options.query_encoder and (options.pairs or (options.run and options.model is None)):
        raise typer.BadParameter(
            "needs a model whose queries to encode, and no --pairs", param_hint="--query-encoder"
        )
    if options.save_runs and options.run and options.model is None:
        raise typer.BadParameter("needs a --model whose runs to save", param_hint="--save-runs")
    if options.plot is not None:
        from nestling.evaluation.plot import check_picture

        check_picture(options.plot)  # before the work, which takes long


def _pairs_table(options: EvalOptions) -> PairsTable:
    from nestling import evaluation

    pairs = evaluation.read_pairs(options.source)[: options.limit]
    with _encoder(options) as encoder:
        return evaluation.evaluate_pairs(
            encoder,
            pairs,
            name=Path(options.source).name,
            dims=_ints(options.dims, "--dims"),
        )


def _table(options: EvalOptions, metrics: tuple[str, ...]) -> Table:
    from nestling import evaluation

    dims, bits = _ints(options.dims, "--dims"), _ints(options.bits, "--bits") or []
    dataset = _dataset(options)
    runs = [evaluation.read_run(path, dataset) for path in options.run or []]
    if options.model is None and runs:
        return evaluation.evaluate_runs(runs, dataset, metrics=metrics, seed=options.seed)
    settings = evaluation.EvaluationSettings(
        dims=dims,
        bits=bits,
        funnels=options.funnel,
        metrics=metrics,
        depth=options.depth,
        rounds=options.rounds,
        threads=options.threads,
        seed=options.seed,
    )
    with _encoder(options) as encoder:
        return evaluation.evaluate(
            encoder,
            dataset,
            settings,
            query_encoders=[_query_encoder(name, encoder) for name in options.query_encoder or []],
            runs=runs,
            on_run=_run_writer(options.save_runs, dataset),
        )


def _query_encoder(name: str, encoder: Encoder) -> Encoder:
    """Opens a query encoder of the model.

    Raises:
        EncoderMismatchError: It imitates another one.
    """
    queries = encoder.with_queries(name).queries
    assert queries is not None
    return queries


@contextmanager
def _encoder(options: EvalOptions) -> Iterator[Encoder]:
    """Opens the encoder, and at the end says how many texts it truncated."""
    from nestling.cli.encoders import notify_truncated, open_encoder

    encoder = open_encoder(
        options.model or "minilm", precision=options.precision, threads=options.threads
    )
    yield encoder
    notify_truncated(encoder)


def _ints(text: str | None, option: str) -> list[int] | None:
    return None if text is None else numbers_of(text, int, option)


def _dataset(options: EvalOptions) -> Dataset:
    """Reads the data, and says what does not fit in it."""
    import warnings

    from nestling._util.console import notify
    from nestling.errors import CorpusWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CorpusWarning)
        dataset = _read(options)
    for remark in dataset.remarks:
        notify(f"{dataset.name}: {remark}.")
    return dataset


def _read(options: EvalOptions) -> Dataset:
    identical = options.ignore_identical_ids
    if options.source.startswith(_TASK):
        from nestling.evaluation.tasks import read_task

        name, _, subset = options.source.removeprefix(_TASK).partition("/")
        return read_task(
            name,
            subset=subset or None,
            split=options.split,
            limit=options.limit,
            ignore_identical_ids=identical,
        )
    from nestling.evaluation.datasets import read_dataset

    return read_dataset(
        options.source,
        split=options.split,
        limit=options.limit,
        ignore_identical_ids=identical is not False,
    )


def _run_writer(folder: Path | None, dataset: Dataset) -> Callable[[Run], None] | None:
    """Returns a function that writes a ranking to the folder, under a portable name."""
    if folder is None:
        return None

    def write(run: Run) -> None:
        from nestling._util.atomic import new_file
        from nestling.evaluation.runs import write_run

        name = re.sub(r"[^\w@.]+", "-", run.name)
        with new_file(folder / f"{name}.trec") as path:
            write_run(run, path, dataset)

    return write


def _write(table: Table | PairsTable, options: EvalOptions) -> None:
    from nestling._util.atomic import new_file
    from nestling._util.console import console, print_json
    from nestling.evaluation.report import as_markdown, show

    if options.as_json:
        print_json(table.as_dict())
    else:
        show(table, console())
    if options.markdown is not None:
        with new_file(options.markdown) as path:
            path.write_text(as_markdown(table), encoding="utf-8")
    if options.plot is not None:
        from nestling.evaluation.plot import plot

        plot(table, options.plot)
