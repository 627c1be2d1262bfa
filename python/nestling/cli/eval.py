"""`nestling eval`: how good a model's prefixes, their codes, and funnels are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nestling.cli.options import Json, Precision, Threads

if TYPE_CHECKING:
    from nestling.encoder import Encoder
    from nestling.evaluation.datasets import Dataset
    from nestling.evaluation.runs import Run
    from nestling.evaluation.similarity import PairsTable
    from nestling.evaluation.table import Table

__all__ = ["evaluate"]

_TASK = "mteb:"


def evaluate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder with corpus.jsonl, queries.jsonl and qrels.tsv or qrels/test.tsv; "
            "mteb:NAME or mteb:NAME/SUBSET, a retrieval task of MTEB; with --pairs a .tsv or "
            ".jsonl file.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Built-in name, model folder, or hub id.",
            metavar="NAME",
            show_default="minilm; none with --run",
        ),
    ] = None,
    precision: Precision = "int8",
    dims: Annotated[
        str | None,
        typer.Option(
            metavar="N,N…",
            help="Prefix lengths.",
            show_default="those that the model was trained for, else halves",
        ),
    ] = None,
    bits: Annotated[
        str, typer.Option(metavar="N,N…", help="Precisions of each prefix; 32 is exact.")
    ] = "32,8,4,2,1",
    funnel: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FUNNEL",
            help="A funnel, e.g. '64@4:1000 > 384@16'; may be repeated.",
            show_default="that of an index",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="ndcg@k, mrr@k, map@k, recall@k, precision@k or success@k; may be repeated; the "
            "first one compares.",
            show_default="ndcg@10, mrr@10, map@100, recall@10, recall@100",
        ),
    ] = None,
    depth: Annotated[int, typer.Option(min=1, help="Documents asked for, a question.")] = 100,
    rounds: Annotated[int, typer.Option(min=0, help="Rounds of timing; 0 for none.")] = 5,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Ask only the first so many questions.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Judgements: qrels/SPLIT.tsv.", show_default="test")
    ] = None,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="DATA holds scored pairs of texts: similarity.")
    ] = False,
    run: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Compare a ranking in TREC's format; may be repeated."),
    ] = None,
    save_runs: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write every ranking there in TREC's format."),
    ] = None,
    threads: Threads = None,
    seed: Annotated[int, typer.Option(help="Of the random draws of the comparisons.")] = 0,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table as Markdown.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw it: .png, .svg or .pdf; needs matplotlib."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a model's prefixes, their codes, and funnels on questions with known answers."""
    from nestling import evaluation
    from nestling.evaluation.metrics import DEFAULT_METRICS, parse_metric

    lengths, precisions = _numbers(dims, "--dims"), _numbers(bits, "--bits") or []
    metrics = tuple(metric or DEFAULT_METRICS)
    try:
        furthest = max(k for _, k in map(parse_metric, metrics))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--metric") from None
    if furthest > depth:
        raise typer.BadParameter(
            f"the measures look at {furthest} documents: ask for as many, or name others by "
            "--metric",
            param_hint="--depth",
        )
    if pairs and (run or save_runs or funnel or metric or split):
        raise typer.BadParameter(
            "cannot go with --run, --save-runs, --funnel, --metric or --split", param_hint="--pairs"
        )
    if save_runs and run and model is None:
        raise typer.BadParameter("needs a --model whose runs to save", param_hint="--save-runs")
    if plot is not None:
        from nestling.evaluation.plot import check_picture

        check_picture(plot)  # what cannot be drawn is better known before the work than after
    table: Table | PairsTable
    if pairs:
        scored = evaluation.read_pairs(source)[:limit]
        with _encoder(model, precision, threads) as encoder:
            table = evaluation.evaluate_pairs(encoder, scored, name=Path(source).name, dims=lengths)
    else:
        dataset = _dataset(source, split, limit)
        others = [evaluation.read_run(path, dataset) for path in run or []]
        if model is None and others:
            table = evaluation.evaluate_runs(others, dataset, metrics=metrics, seed=seed)
        else:
            with _encoder(model, precision, threads) as encoder:
                table = evaluation.evaluate(
                    encoder,
                    dataset,
                    dims=lengths,
                    bits=precisions,
                    funnels=funnel,
                    metrics=metrics,
                    depth=depth,
                    rounds=rounds,
                    threads=threads,
                    seed=seed,
                    runs=others,
                    on_run=_saver(save_runs, dataset),
                )
    _write(table, markdown=markdown, picture=plot, as_json=as_json)


@contextmanager
def _encoder(
    model: str | None, precision: Literal["int8", "float32"], threads: int | None
) -> Iterator[Encoder]:
    """Opens the encoder, and tells at the end of what it had to cut."""
    from nestling._util.console import tell
    from nestling.cli.building import open_encoder

    encoder = open_encoder(model or "minilm", precision=precision, threads=threads)
    yield encoder
    if encoder.truncated:
        tell(f"{encoder.truncated:,} texts are longer than {encoder.name} reads and were cut.")


def _numbers(text: str | None, option: str) -> list[int] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"{text!r}: expected numbers and commas", param_hint=option)
    return [int(part) for part in parts]


def _dataset(source: str, split: str | None, limit: int | None) -> Dataset:
    if source.startswith(_TASK):
        from nestling.evaluation.tasks import read_task

        name, _, subset = source.removeprefix(_TASK).partition("/")
        return read_task(name, subset=subset or None, split=split, limit=limit)
    from nestling.evaluation.datasets import read_dataset

    return read_dataset(source, split=split, limit=limit)


def _saver(folder: Path | None, dataset: Dataset) -> Callable[[Run], None] | None:
    """Returns what writes each ranking into the folder, under a name that any system takes."""
    if folder is None:
        return None

    def save(run: Run) -> None:
        from nestling._util.atomic import new_file
        from nestling.evaluation.runs import write_run

        name = re.sub(r"[^\w@.]+", "-", run.name)
        with new_file(folder / f"{name}.trec") as path:
            write_run(run, path, dataset)

    return save


def _write(
    table: Table | PairsTable, *, markdown: Path | None, picture: Path | None, as_json: bool
) -> None:
    from nestling._util.atomic import new_file
    from nestling._util.console import console, print_json
    from nestling.evaluation.report import as_markdown, show

    if as_json:
        print_json(table.as_dict())
    else:
        show(table, console())
    if markdown is not None:
        with new_file(markdown) as path:
            path.write_text(as_markdown(table), encoding="utf-8")
    if picture is not None:
        from nestling.evaluation.plot import plot as draw

        draw(table, picture)
