"""Delimited files, .csv and .tsv: the first row names the columns, and each column has one type.

| all cells of a column that becomes metadata, empty ones aside | are |
|---|---|
| integers of 64 bits, written without leading zeros | integers |
| JSON numbers, of which every integer fits a float exactly | floats |
| anything else: zip codes, dates, longer integers | texts |

So a filter finds a value in every row, or in none. To know the type of a column, the file is read
twice if columns become metadata. A row has as many cells as the first one; blank lines are skipped.
A column without a name is not read; it is empty, or the first one, as pandas writes its index.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from nestling.corpus.fields import Document, Fields
from nestling.corpus.lines import decode, first_line
from nestling.corpus.log import ReadLog
from nestling.errors import CorpusError

__all__ = ["read_delimited"]

_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,18}")
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")

Row: TypeAlias = "tuple[int, list[str]]"


def read_delimited(path: Path, delimiter: str, fields: Fields, log: ReadLog) -> Iterator[Document]:
    """Yields the documents of a .csv or .tsv file.

    Raises:
        CorpusError: The file or one of its rows cannot be read.
    """
    header, rows = _table(path, delimiter, log)
    if header is None:
        return
    named = [name for name in header if name]
    if len(header) == 1 and fields.text not in header:
        _check_delimiter(header[0], delimiter, path)
    fields.check_table(named, f"{path}, line 1")
    wanted = set(fields.metadata_columns(named))
    kinds: dict[str, Callable[[str], Any]] = dict.fromkeys(wanted, str)
    if wanted:
        quiet = ReadLog(on_bad_record=lambda record: None)
        kinds = _column_types(header, _table(path, delimiter, quiet)[1], wanted)
    for line, cells in rows:
        record = {
            name: kinds[name](cell) if name in kinds and cell else cell or None
            for name, cell in zip(header, cells, strict=True)
            if name
        }
        record[fields.text] = record[fields.text] or ""
        try:
            document = fields.document(record, log=log)
        except CorpusError as error:
            log.bad_record(str(path), "line", line, str(error))
        else:
            yield document


def _check_delimiter(header: str, delimiter: str, path: Path) -> None:
    other = next((sign for sign in ";\t,|" if sign in header), None)
    if other is not None:
        raise CorpusError(
            f"{path}, line 1: cells are separated by {other!r}; write {delimiter!r} instead"
        )


def _table(path: Path, delimiter: str, log: ReadLog) -> tuple[list[str] | None, Iterator[Row]]:
    """Returns the names of the columns, None for an empty file, and the rows."""
    rows = _rows(path, delimiter, log)
    first = next(rows, None)
    if first is None:
        return None, iter(())
    line, header = first
    if "\ufffd" in "".join(header):
        raise CorpusError(f"{path}, line {line}: the names of the columns are not UTF-8")
    return header, _whole_rows(rows, header, path, delimiter, log)


def _whole_rows(
    rows: Iterator[Row], header: Sequence[str], path: Path, delimiter: str, log: ReadLog
) -> Iterator[Row]:
    """Yields the rows that have a cell for each column, and none elsewhere."""
    unnamed = [place for place, name in enumerate(header) if not name and place]
    for line, cells in rows:
        if len(cells) != len(header):
            hint = f"; a cell with {delimiter!r} in it needs quotes"
            log.bad_record(
                str(path),
                "line",
                line,
                f"{len(cells)} cells, but there are {len(header)} columns"
                + (hint if len(cells) > len(header) else ""),
            )
        elif any(cells[place] for place in unnamed):
            log.bad_record(str(path), "line", line, "a cell in a column without a name")
        else:
            yield line, cells


def _rows(path: Path, delimiter: str, log: ReadLog) -> Iterator[Row]:
    """Yields the last line and the cells of each row that is not blank."""
    # The limit of the csv module, 128 kB per field, is global to the process: only raise it.
    csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))
    faults: list[str] = []  # of the lines of the current row
    with path.open("rb") as stream:
        reader = csv.reader(_lines(stream, str(path), faults), delimiter=delimiter, strict=True)
        while True:
            first = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                spans = f", in the row that begins in line {first}: is a quote never closed?"
                faults.append(f"not CSV: {error}{spans if reader.line_num > first else ''}")
                cells = []
            if faults:
                reason = faults[0]
                faults.clear()
                log.bad_record(str(path), "line", reader.line_num, reason)
            elif cells:
                yield reader.line_num, cells


def _lines(stream: Any, name: str, faults: list[str]) -> Iterator[str]:
    for number, raw in enumerate(stream, 1):
        if number == 1:
            raw = first_line(raw, name)
        try:
            line = decode(raw)
        except CorpusError as error:
            faults.append(str(error))
            line = raw.decode("utf-8", "replace")
        # Python 3.10 does not read NUL; what stands for it, every reader writes for it.
        yield line.rstrip("\r\n").replace("\0", "\ufffd") + "\n"


def _column_types(
    header: Sequence[str], rows: Iterator[Row], wanted: set[str]
) -> dict[str, Callable[[str], Any]]:
    """Returns what converts the cells of each column."""
    columns = [(place, name) for place, name in enumerate(header) if name in wanted]
    kinds: dict[str, Callable[[str], Any]] = dict.fromkeys(wanted, int)
    inexact: set[str] = set()  # columns with an integer that a float cannot hold
    for _, cells in rows:
        for place, name in columns:
            cell = cells[place]
            if not cell or kinds[name] is str:
                continue
            if _INTEGER.fullmatch(cell) and -(2**63) <= int(cell) < 2**63:
                if len(cell) > 15 and float(cell) != int(cell):
                    inexact.add(name)
            else:
                kinds[name] = float
                if not _is_float(cell):
                    inexact.add(name)
            if kinds[name] is float and name in inexact:
                kinds[name] = str
    return kinds


def _is_float(cell: str) -> bool:
    """Returns whether a cell is a number that a float holds, to the last digit if it is whole."""
    if not _NUMBER.fullmatch(cell) or not math.isfinite(float(cell)):
        return False
    return not cell.lstrip("-").isdigit() or float(cell) == int(cell)
