"""The options that several commands share, and what their values mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import typer

from nestling._util.unset import UNSET, Unset

if TYPE_CHECKING:
    from nestling.collection.ingest.passages import Passages
    from nestling.corpus import Fields

__all__ = [
    "CORPUS_HELP",
    "BadRecords",
    "BatchSize",
    "Folder",
    "Force",
    "FunnelText",
    "IdField",
    "Json",
    "MetadataFields",
    "Model",
    "NewFields",
    "OnBadRecord",
    "Overlap",
    "PassageSize",
    "Precision",
    "TextField",
    "Threads",
    "TitleWeight",
    "VectorFile",
    "WhereText",
    "bad_record_file",
    "fields_of",
    "json_object",
    "names_of",
    "numbers_of",
    "passages_of",
    "where_of",
]

CORPUS_HELP: Final = (
    "A folder of .txt and .md files; a .jsonl, .csv, .tsv or .parquet file; a file that `export` "
    "wrote; - for JSONL, or one text per line, on stdin"
)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A collection.")]

Model = Annotated[
    str,
    typer.Option("--model", "-m", help="Built-in name, model folder, or hub id.", metavar="NAME"),
]
Precision = Annotated[
    Literal["int8", "float32"],
    typer.Option(help="Precision of the model's weights, where it has both."),
]
Threads = Annotated[
    int | None,
    typer.Option("--threads", "-t", min=1, help="Threads to use.", show_default="all cores"),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Texts that the encoder takes at once.")]
FunnelText = Annotated[
    str | None,
    typer.Option(
        "--funnel",
        help="Stages as dims@bits:keep, e.g. '64@4:1000 > 384@16'.",
        show_default="chosen for the dimensions and the nesting dims",
    ),
]
TextField = Annotated[str, typer.Option(help="Field of a record that holds its text.")]
IdField = Annotated[
    str | None,
    typer.Option(help="Field of a record that holds its id.", show_default="id or _id, if present"),
]
VectorFile = Annotated[
    Path | None,
    typer.Option("--vector", help="Search with the rows of a .npy file instead of texts."),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace existing output.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
WhereText = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="JSON",
        help='Only documents whose metadata match, e.g. \'{"year": {"$gte": 2020}}\'.',
    ),
]
NewFields = Annotated[
    str | None,
    typer.Option(
        "--fields",
        metavar="NAME,NAME…",
        help="Metadata fields that filters use often; each gets an index.",
        show_default="none",
    ),
]
MetadataFields = Annotated[
    str | None,
    typer.Option(
        "--metadata-fields",
        metavar="NAME,NAME…",
        help="Fields of a record that become metadata, besides its `metadata`; '*' for all.",
        show_default="none",
    ),
]
OnBadRecord = Annotated[
    Literal["error", "skip"],
    typer.Option(help="What to do with a record that cannot be a document."),
]
BadRecords = Annotated[
    Path | None,
    typer.Option(
        help="The JSONL file that lists the records that were skipped, with source, line, reason.",
        show_default="the collection's name with .bad.jsonl",
    ),
]
PassageSize = Annotated[
    int | None,
    typer.Option(
        "--passages",
        min=0,
        help="Characters of a passage; 0 keeps documents whole.",
        show_default="1000",
    ),
]
Overlap = Annotated[
    int | None,
    typer.Option(
        min=0,
        help="Characters of a passage repeated at the start of the next.",
        show_default="150",
    ),
]
TitleWeight = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=16,
        help="Times that the words of a title count in searches for words.",
        show_default="1",
    ),
]

_Number = TypeVar("_Number", int, float)


def where_of(text: str | None) -> dict[str, Any] | None:
    """Returns the filter of --where.

    Raises:
        typer.BadParameter: It is not a JSON object.

    Example:
        >>> where_of('{"year": 2020}')
        {'year': 2020}
    """
    return json_object(text, "--where", form='{"year": {"$gte": 2020}}')


def json_object(text: str | None, option: str, *, form: str) -> dict[str, Any] | None:
    """Returns the JSON object of an option; None where it is not given.

    Args:
        text: Its value.
        option: The option that an error names.
        form: An example of one.

    Raises:
        typer.BadParameter: It is not a JSON object.

    Example:
        >>> json_object('{"anon": true}', "--storage-options", form='{"anon": true}')
        {'anon': True}
    """
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(
            f"not JSON: {error}; expected an object such as '{form}'", param_hint=option
        ) from error
    if not isinstance(value, dict):
        raise typer.BadParameter(
            f"not a JSON object; expected one such as '{form}'", param_hint=option
        )
    return value


def fields_of(text: str, id: str | None, metadata: str | None) -> Fields:
    """Returns which fields of a record --text-field, --id-field and --metadata-fields name.

    Example:
        >>> fields_of("body", None, "year, lang")
        Fields(text='body', id=None, title='title', metadata=('year', 'lang'))
    """
    from nestling.corpus import Fields

    return Fields(text=text, id=id, metadata=names_of(metadata))


def names_of(text: str | None) -> tuple[str, ...]:
    """Returns the names in a comma-separated list.

    Example:
        >>> names_of("year, lang")
        ('year', 'lang')
    """
    return tuple(name for part in (text or "").split(",") if (name := part.strip()))


def numbers_of(text: str, kind: Callable[[str], _Number], option: str) -> list[_Number]:
    """Returns the numbers in a comma-separated list.

    Args:
        text: The list.
        kind: `int` or `float`.
        option: The option that an error names.

    Raises:
        typer.BadParameter: An item is not a number.

    Example:
        >>> numbers_of("384,64", int, "--dims")
        [384, 64]
    """
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{text!r}: expected numbers and commas", param_hint=option
        ) from None


def bad_record_file(path: Path | None, on_bad_record: str, collection: Path) -> Path:
    """Returns the file of --bad-records; by default it is beside the collection.

    Raises:
        typer.BadParameter: A file is given, but bad records are errors.

    Example:
        >>> str(bad_record_file(None, "skip", Path("articles")))
        'articles.bad.jsonl'
    """
    if path is None:
        return collection.with_name(f"{collection.name}.bad.jsonl")
    if on_bad_record != "skip":
        raise typer.BadParameter("needs --on-bad-record skip", param_hint="--bad-records")
    return path


def passages_of(size: int | None, overlap: int | None) -> Passages | Unset | None:
    """Returns how --passages and --overlap split documents; UNSET where neither is given.

    Raises:
        typer.BadParameter: The two do not fit together.

    Example:
        >>> passages_of(0, None) is None
        True
        >>> passages_of(None, None)
        UNSET
    """
    from nestling.collection.ingest.passages import Passages

    if size is None and overlap is None:
        return UNSET
    if size == 0:
        return None
    default = Passages()
    size = default.size if size is None else size
    try:
        return Passages(size, min(default.overlap, size // 2) if overlap is None else overlap)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--overlap") from error
