"""`nestling index`: a corpus in, a collection out; or vectors in, a .nest file out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from nestling.cli.command import command
from nestling.cli.options import (
    CORPUS_HELP,
    BadRecords,
    Force,
    FunnelText,
    IdField,
    Json,
    MetadataFields,
    Model,
    NewFields,
    OnBadRecord,
    Overlap,
    PassageSize,
    Precision,
    TextField,
    Threads,
    TitleWeight,
    bad_record_file,
    fields_of,
    names_of,
    passages_of,
)

__all__ = ["IndexOptions", "index"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexOptions:
    """The arguments and options of `nestling index`."""

    source: Annotated[str, typer.Argument(metavar="INPUT", help=f"{CORPUS_HELP}; or .npy vectors.")]
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The folder to make; for .npy vectors the .nest file to write."
        ),
    ]
    model: Model = "minilm"
    precision: Precision = "int8"
    funnel: FunnelText = None
    metric: Annotated[
        Literal["cosine", "ip"], typer.Option(help="How rows are scored: ip is the inner product.")
    ] = "cosine"
    tune: Annotated[
        float | None,
        typer.Option(min=0.01, max=1, help="Tune to this recall, as `nestling tune` does."),
    ] = None
    text_field: TextField = "text"
    id_field: IdField = None
    metadata_fields: MetadataFields = None
    fields: NewFields = None
    on_bad_record: OnBadRecord = "error"
    bad_records: BadRecords = None
    passages: PassageSize = None
    overlap: Overlap = None
    title_weight: TitleWeight = None
    threads: Threads = None
    force: Force = False
    as_json: Json = False


@command
def index(options: IndexOptions) -> None:
    """Make a collection from a corpus, all or nothing; or a .nest file from vectors.

    `nestling add` makes one too: in steps, and it resumes after an interruption.

    Example: nestling index corpus.jsonl --out articles
    """
    from nestling._util.atomic import refuse_to_replace
    from nestling.cli.paths import is_index
    from nestling.index.funnel import Funnel

    bare = Path(options.source).suffix == ".npy"
    if bare != (options.out.suffix == ".nest"):
        raise typer.BadParameter(
            "vectors have no texts for a collection: name a .nest file"
            if bare
            else "a .nest file cannot hold texts: name a folder",
            param_hint="--out",
        )
    if options.funnel is not None:
        Funnel.parse(options.funnel)  # before the encoding, which may take long
    refuse_to_replace(options.out, force=options.force, is_our_output=is_index)
    if bare:
        _index_vectors(options)
    else:
        _index_corpus(options)


def _index_vectors(options: IndexOptions) -> None:
    from nestling._util.console import console, print_json
    from nestling._util.counted import counted
    from nestling.cli.vectors import index_vectors, read_vectors

    started = time.perf_counter()
    rows = read_vectors(Path(options.source))
    index_vectors(
        rows,
        options.out,
        funnel=options.funnel,
        metric=options.metric,
        threads=options.threads,
        tune=options.tune,
    )
    seconds = time.perf_counter() - started
    if options.as_json:
        print_json({"out": str(options.out), "rows": len(rows), "seconds": round(seconds, 3)})
    else:
        console().print(
            f"{options.out}: {counted(len(rows), 'row')} in {seconds:,.1f} s", markup=False
        )


def _index_corpus(options: IndexOptions) -> None:
    from nestling._util.atomic import new_folder
    from nestling._util.console import console, print_json
    from nestling._util.counted import counted
    from nestling.cli.corpora import Corpus, add_corpus, counts_as_json
    from nestling.cli.encoders import open_encoder
    from nestling.cli.paths import open_collection

    split = passages_of(options.passages, options.overlap)
    bad_records = bad_record_file(options.bad_records, options.on_bad_record, options.out)
    started = time.perf_counter()
    fields = fields_of(options.text_field, options.id_field, options.metadata_fields)
    corpus = Corpus(options.source, fields)
    if options.on_bad_record == "error":
        corpus.check()
    encoder = open_encoder(options.model, precision=options.precision, threads=options.threads)
    with (
        new_folder(options.out) as folder,
        open_collection(
            folder,
            encoder,
            create=True,
            metric=options.metric,
            funnel=options.funnel,
            passages=split,
            title_weight=options.title_weight,
            fields=names_of(options.fields),
            threads=options.threads,
        ) as collection,
    ):
        result, bad = add_corpus(
            collection,
            corpus,
            on_bad_record=options.on_bad_record,
            bad_records=bad_records,
        )
        if options.tune is None:
            collection.compact()
        else:
            collection.tune(options.tune, verbose=False)
        documents = len(collection)
    seconds = time.perf_counter() - started
    if options.as_json:
        print_json(
            {
                "out": str(options.out),
                "documents": documents,
                **counts_as_json(result, bad),
                "model": encoder.source,
                "seconds": round(seconds, 3),
            }
        )
        return
    console().print(
        f"{options.out}: {counted(documents, 'document')}, "
        f"{counted(result.passages, 'passage')} by {encoder.source} in {seconds:,.1f} s",
        markup=False,
    )
