"""`nestling add`: adds a corpus to a collection, and makes the collection where there is none."""

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
    IdField,
    Json,
    MetadataFields,
    NewFields,
    OnBadRecord,
    Overlap,
    PassageSize,
    TextField,
    Threads,
    TitleWeight,
    bad_record_file,
    fields_of,
    names_of,
    passages_of,
)

__all__ = ["AddOptions", "add"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOptions:
    """The arguments and options of `nestling add`."""

    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The collection.")]
    source: Annotated[str, typer.Argument(metavar="INPUT", help=f"{CORPUS_HELP}.")]
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="Built-in name, model folder, or hub id.",
            show_default="the collection's; minilm for a new one",
        ),
    ] = None
    precision: Annotated[
        Literal["int8", "float32"] | None,
        typer.Option(
            help="Precision of the model's weights, for a new collection.", show_default="int8"
        ),
    ] = None
    create: Annotated[
        bool,
        typer.Option("--create/--no-create", help="Make the collection if it does not exist."),
    ] = True
    on_conflict: Annotated[
        Literal["replace", "skip", "error"],
        typer.Option(help="What to do with an id that is stored with other contents."),
    ] = "replace"
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
    as_json: Json = False


@command
def add(options: AddOptions) -> None:
    """Add documents to a collection; unchanged documents are not encoded again.

    If it is interrupted, what was committed stays, and the same command resumes from there.

    Example: nestling add articles corpus.jsonl --metadata-fields year,lang
    """
    from nestling._util.console import console, print_json
    from nestling._util.counted import counted
    from nestling.cli.corpora import STDIN, Corpus, add_corpus, counts_as_json
    from nestling.cli.encoders import open_encoder
    from nestling.cli.paths import check_collection, open_collection
    from nestling.collection import TextEncoder, is_collection
    from nestling.corpus import read_documents

    folder, source = options.folder, options.source
    split = passages_of(options.passages, options.overlap)
    bad_records = bad_record_file(options.bad_records, options.on_bad_record, folder)
    encoder: str | TextEncoder | None = options.model
    if is_collection(folder):
        if options.precision is not None:
            raise typer.BadParameter("a collection keeps its own", param_hint="--precision")
    else:
        if not options.create:
            check_collection(folder)
        if source != STDIN:
            read_documents(source)  # a missing corpus must not leave an empty collection
        encoder = open_encoder(
            options.model or "minilm",
            precision=options.precision or "int8",
            threads=options.threads,
        )
    fields = fields_of(options.text_field, options.id_field, options.metadata_fields)
    started = time.perf_counter()
    with open_collection(
        folder,
        encoder,
        create=options.create,
        passages=split,
        title_weight=options.title_weight,
        fields=names_of(options.fields),
        threads=options.threads,
    ) as collection:
        result, bad = add_corpus(
            collection,
            Corpus(source, fields),
            on_conflict=options.on_conflict,
            on_bad_record=options.on_bad_record,
            bad_records=bad_records,
        )
        documents = len(collection)
    seconds = time.perf_counter() - started
    if options.as_json:
        print_json(
            {
                "folder": str(folder),
                "documents": documents,
                **counts_as_json(result, bad),
                "seconds": round(seconds, 3),
            }
        )
        return
    counts = [
        f"{count:,} {name}"
        for name in ("added", "replaced", "updated", "unchanged", "skipped")
        if (count := getattr(result, name))
    ]
    console().print(
        f"{folder}: {', '.join(counts) or 'nothing to add'}, in {seconds:,.1f} s; "
        f"{counted(documents, 'document')} now",
        markup=False,
    )
