"""Files of documents, generated together with what a reader must make of each record.

A value comes with what it becomes: itself or another value, `ABSENT`, or `REFUSED`, which makes the
record a bad one. Where a whole file must be refused, `Generated.fault` says so.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import json
import math
import os
import re
import socket
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import strategies as st


class _Outcome:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


ABSENT, REFUSED = _Outcome("ABSENT"), _Outcome("REFUSED")
Pair = tuple[Any, Any]  # a value, and what it becomes

UUID = uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e")


@dataclass
class Expected:
    """A document that a reader must give."""

    text: str
    id: str | None = None
    title: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class Generated:
    """What a reader must make of a file.

    Attributes:
        documents: What it gives, in order.
        bad: Lines or rows of the bad records, in order; None for a whole file in a folder.
        fault: Whether the file must be refused as a whole.
        notes: How many entries of a folder are noted.
    """

    documents: list[Expected] = field(default_factory=list)
    bad: list[int | None] = field(default_factory=list)
    fault: bool = False
    notes: int = 0


def same(value: Any) -> Pair:
    return value, value


STRINGS: list[Pair] = [
    *map(
        same, ["bread", "", " b ", "7", "007", "1e5", "نهر", "\U0001f600", "a\nb", '"', ",", "NaN"]
    ),
    ("a\0b", "a\ufffdb"),
]
SURROGATES: list[Pair] = [("\ud800x", "\ufffdx")]  # which only JSON can write

JSON_IDS: list[Pair] = [
    *map(same, ["a", "007", "é", " a ", "1.0", "NaN"]),
    (7, "7"),
    (0, "0"),
    (-3, "-3"),
    (7.0, "7"),
    (2**70, str(2**70)),
    (12345678901234567890, "12345678901234567890"),
    ("", ABSENT),
    (None, ABSENT),
    (math.nan, ABSENT),
    (True, REFUSED),
    (False, REFUSED),
    (1.5, REFUSED),
    (1e300, REFUSED),
    (math.inf, REFUSED),
    ({"$oid": "64b7"}, REFUSED),
    ([1], REFUSED),
    ("a\0b", REFUSED),
    ("\ud800", REFUSED),
    ("x" * 10_001, REFUSED),
]
JSON_TEXTS: list[Pair] = [
    *STRINGS,
    *SURROGATES,
    *((value, REFUSED) for value in (3, 1.5, None, True, ["a"], {"a": 1}, math.nan)),
]
JSON_TITLES: list[Pair] = [
    *STRINGS,
    *SURROGATES,
    (None, ""),
    (math.nan, ""),
    *((value, REFUSED) for value in (3, True, ["a"], {})),
]
JSON_SCALARS: list[Pair] = [
    *STRINGS,
    *SURROGATES,
    *map(same, [0, 1, -7, 2**63 - 1, -(2**63), True, False, 0.5, -0.0, 1e-5, 1e300, 5e-324]),
    (None, None),
    (math.nan, ABSENT),
    (math.inf, ABSENT),
    (-math.inf, ABSENT),
    (2**63, REFUSED),
    (2**64, REFUSED),
    (-(2**63) - 1, REFUSED),
]
NAMES = ["year", "tag", "n", "a.b", "سنة", ""]


def in_list(outcome: Any) -> Any:
    return None if outcome is ABSENT else outcome


def nested(scalars: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    """Draws values and what they become, scalars and lists and objects of them."""

    def of_list(pairs: list[Pair]) -> Pair:
        values, outcomes = [v for v, _ in pairs], [in_list(o) for _, o in pairs]
        return values, REFUSED if any(o is REFUSED for o in outcomes) else outcomes

    def of_object(pairs: dict[str, Pair]) -> Pair:
        outcomes = {k: o for k, (_, o) in pairs.items() if o is not ABSENT}
        values = {k: v for k, (v, _) in pairs.items()}
        return values, REFUSED if any(o is REFUSED for o in outcomes.values()) else outcomes

    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3).map(of_list)
            | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3).map(of_object)
        ),
        max_leaves=5,
    )


def mostly(good: list[Pair], every: list[Pair]) -> st.SearchStrategy[Pair]:
    """Draws good values more often than any value, so that most records are good."""
    return st.one_of(st.sampled_from(good), st.sampled_from(good), st.sampled_from(every))


JSON_VALUES = nested(
    mostly([pair for pair in JSON_SCALARS if pair[1] is not REFUSED], JSON_SCALARS)
)


def expected(
    id: Any, title: Any, text: Any, metadata: dict[str, Any], *, nulls: bool = False
) -> Expected | None:
    """The document of these outcomes; None for a bad record."""
    if any(part is REFUSED for part in (id, title, text, *metadata.values())):
        return None
    kept = {k: v for k, v in metadata.items() if v is not ABSENT and (nulls or v is not None)}
    return Expected(text, None if id is ABSENT else id, "" if title is ABSENT else title, kept)


@st.composite
def jsonl_files(draw: st.DrawFn) -> tuple[bytes, Generated]:
    """Draws a .jsonl file that is read with every field as metadata."""
    made = Generated()
    lines: list[bytes] = []
    for number in range(1, draw(st.integers(1, 6)) + 1):
        kind = draw(
            st.sampled_from(["record"] * 12 + ["blank", "broken", "list", "latin", "twice"])
        )
        if kind == "record":
            id = draw(mostly(JSON_IDS[:6], [*JSON_IDS, (ABSENT, ABSENT)]))
            title = draw(mostly(STRINGS, [*JSON_TITLES, (ABSENT, ABSENT)]))
            text = draw(mostly(STRINGS, JSON_TEXTS))
            loose = draw(st.dictionaries(st.sampled_from(NAMES), JSON_VALUES, max_size=3))
            own = draw(st.none() | st.dictionaries(st.sampled_from(NAMES), JSON_VALUES, max_size=3))
            record = {name: value for name, (value, _) in loose.items()}
            outcomes = {name: outcome for name, (_, outcome) in loose.items()}
            named = {n: o for n, o in outcomes.items() if o is not ABSENT and o is not None}
            inner = {} if own is None else {n: o for n, (_, o) in own.items() if o is not ABSENT}
            if own is not None:
                record["metadata"] = {name: value for name, (value, _) in own.items()}
            fixed = {"id": id[0], "title": title[0], "text": text[0]}
            record |= {name: value for name, value in fixed.items() if value is not ABSENT}
            # A field that becomes metadata replaces the one of the same name; both are checked.
            document = expected(id[1], title[1], text[1], {**inner, **named}, nulls=True)
            if document is None or REFUSED in inner.values():
                made.bad.append(number)
            else:
                made.documents.append(document)
            ascii_only = draw(st.booleans()) or "\\ud" in json.dumps(record)
            lines.append(json.dumps(record, ensure_ascii=ascii_only).encode())
        elif kind == "blank":
            lines.append(b"  ")
        else:
            made.bad.append(number)
            lines.append(
                {
                    "broken": b'{"text": ',
                    "list": b'["a"]',
                    "latin": b'{"text": "caf\xe9"}',
                    "twice": b'{"text": "a", "text": "b"}',
                }[kind]
            )
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    content = end.join(lines) + draw(st.sampled_from([b"", end]))
    return _disguised(draw, content, made)


def _disguised(draw: st.DrawFn, content: bytes, made: Generated) -> tuple[bytes, Generated]:
    """Draws whether a file is compressed, in another encoding, or has a byte order mark."""
    kind = draw(st.sampled_from(["plain"] * 12 + ["mark", "gzip", "utf-16", "utf-16-le", "zip"]))
    if kind == "plain":
        return content, made
    if kind == "mark":
        return b"\xef\xbb\xbf" + content, made
    if kind == "gzip":
        return gzip.compress(content), Generated(fault=True)
    if kind == "zip":
        return b"PK\x03\x04" + content, Generated(fault=True)
    text = content.decode("utf-8", "replace")
    if not text.isascii():
        return content, made
    return text.encode(kind), Generated(fault=True)


CELLS = ["", "", "7", "0", "-3", "007", "0.5", "1e-05", "1.0", "-0", "90210", "01234", "x", "a,b"]
CELLS += ['"', "a\nb", "true", "123456789012345678", "1234567890123456789", "9" * 19, "9" * 30]
CELLS += ["12345678901234567890", "1e400", "NaN", "٣", " 7", "+1", ".5", "1_000", "e5", "\t"]
NUMERIC = ["7", "0", "-3", "90210", "0.5", "1e-05", "123456789012345678"]
_JSON_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)


def column_of(cells: list[str]) -> list[Any]:
    """What the cells of a column of metadata become: integers, floats or texts, all of one type."""
    filled = [cell for cell in cells if cell]

    def fits(convert: Callable[[str], Any], exact: Callable[[str], bool]) -> list[Any] | None:
        if not all(_JSON_NUMBER.fullmatch(cell) and exact(cell) for cell in filled):
            return None
        return [convert(cell) if cell else ABSENT for cell in cells]

    def whole(cell: str) -> bool:
        return cell.lstrip("-").isdigit()

    integers = fits(
        int, lambda cell: whole(cell) and str(int(cell)) == cell and abs(int(cell)) < 2**63
    )
    floats = fits(
        float,
        lambda cell: math.isfinite(float(cell)) and (not whole(cell) or float(cell) == int(cell)),
    )
    texts = [cell or ABSENT for cell in cells]
    return next(found for found in (integers, floats, texts) if found is not None)


@st.composite
def delimited_files(draw: st.DrawFn, delimiter: str = ",") -> tuple[bytes, Generated]:
    """Draws a .csv or .tsv file that is read with every column as metadata."""
    names = draw(st.permutations(["id", "text", "title", "n", "tag", "سنة"]))
    header = [name for name in names if name == "text" or draw(st.booleans())]
    rows: list[dict[str, str]] = []
    for _ in range(draw(st.integers(1, 6))):
        row = {
            name: draw(st.sampled_from(draw(st.sampled_from([CELLS, NUMERIC])))) for name in header
        }
        rows.append(row)
    made = Generated()
    written: list[list[str]] = [header]
    good: list[tuple[int, dict[str, str]]] = []
    faults: dict[int, str] = {}
    for number, row in enumerate(rows):
        cells = [row[name] for name in header]
        fault = draw(st.sampled_from(["none"] * 8 + ["surplus", "short", "latin"]))
        if fault == "surplus":
            cells.append(draw(st.sampled_from(["", "x"])))
        elif fault == "short" and len(cells) > 2:
            cells.pop()
        elif fault == "latin":
            cells[0] = "caf\udce9"
        else:
            fault = "none"
            good.append((number, row))
        faults[number] = fault
        written.append(cells)
    buffer = io.StringIO()
    writer = csv.writer(
        buffer,
        delimiter=delimiter,
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
    )
    line, ends = 0, []
    for cells in written:
        start = buffer.tell()
        writer.writerow(cells)
        line += buffer.getvalue()[start:].count("\n")
        ends.append(line)
    columns = {
        name: dict(
            zip((n for n, _ in good), column_of([row[name] for _, row in good]), strict=True)
        )
        for name in header
        if name not in ("id", "text", "title")
    }
    for number, row in enumerate(rows):
        if faults[number] != "none":
            made.bad.append(ends[number + 1])
            continue
        made.documents.append(
            Expected(
                row["text"],
                row.get("id") or None,
                row.get("title") or "",
                {n: c[number] for n, c in columns.items() if c[number] is not ABSENT},
            )
        )
    content = buffer.getvalue()
    if draw(st.integers(0, 15)) == 0:
        _, rest = content.split("\n", 1)
        twice = delimiter.join([*header, header[0]])
        return f"{twice}\n{rest}".encode("utf-8", "surrogateescape"), Generated(fault=True)
    return _disguised(draw, content.encode("utf-8", "surrogateescape"), made)


_WHEN = datetime.datetime(2024, 1, 5, 12, 30)


def parquet_columns(pa: Any) -> dict[str, tuple[Any, list[Pair]]]:
    """Types of Arrow, each with values and what they become in metadata."""
    return {
        "string": (pa.string(), [*STRINGS]),
        "int64": (pa.int64(), [*map(same, [0, 7, -7, 2**63 - 1])]),
        "uint64": (pa.uint64(), [same(7), (2**63, REFUSED)]),
        "float": (
            pa.float64(),
            [same(0.5), same(1e-5), (math.nan, ABSENT), (math.inf, ABSENT), (-math.inf, ABSENT)],
        ),
        "bool": (pa.bool_(), [same(True), same(False)]),
        "date": (pa.date32(), [(_WHEN.date(), "2024-01-05")]),
        "time": (pa.time64("us"), [(_WHEN.time(), "12:30:00")]),
        "stamp": (pa.timestamp("us"), [(_WHEN, "2024-01-05T12:30:00")]),
        "zone": (
            pa.timestamp("us", "UTC"),
            [(_WHEN.replace(tzinfo=datetime.timezone.utc), "2024-01-05T12:30:00+00:00")],
        ),
        "far": (pa.timestamp("s"), [(253402300800, REFUSED)]),  # the year 10000
        "duration": (pa.duration("ms"), [(datetime.timedelta(seconds=1.5), 1.5)]),
        "decimal": (
            pa.decimal128(38, 2),
            [(decimal.Decimal("1.50"), 1.5), (decimal.Decimal("7.00"), 7)],
        ),
        "binary": (pa.binary(), [(b"\x89PNG", "89504e47")]),
        "null": (pa.null(), []),
    }


def parquet_ids(pa: Any) -> dict[str, tuple[Any, list[Pair]]]:
    """Types of Arrow that ids come in, each with values and what they become."""
    return {
        "string": (pa.string(), [same("a"), same("007"), ("", ABSENT), ("a\0b", REFUSED)]),
        "int64": (pa.int64(), [(7, "7"), (-1, "-1"), (2**63 - 1, str(2**63 - 1))]),
        "float": (
            pa.float64(),
            [(1.0, "1"), (2.0, "2"), (math.nan, ABSENT), (1.5, REFUSED), (1e300, REFUSED)],
        ),
        "bool": (pa.bool_(), [(True, REFUSED)]),
        "date": (pa.date32(), [(_WHEN.date(), REFUSED)]),
        "binary": (pa.binary(16), [(UUID.bytes, UUID.hex), (bytes(16), "0" * 32)]),
        "decimal": (
            pa.decimal128(38, 1),
            [(decimal.Decimal("7.0"), "7"), (decimal.Decimal("7.5"), REFUSED)],
        ),
        "struct": (pa.struct([("$oid", pa.string())]), [({"$oid": "64b7"}, REFUSED)]),
    }


def _in_object(key: str, value: Any, outcome: Any) -> Any:
    """What an object with one key becomes: null stays, NaN is absent."""
    if outcome is REFUSED:
        return REFUSED
    return {} if outcome is ABSENT and value is not None else {key: in_list(outcome)}


@st.composite
def parquet_tables(draw: st.DrawFn, pa: Any) -> tuple[Any, Generated]:
    """Draws an Arrow table that is read with every column as metadata."""
    count = draw(st.integers(1, 6))
    id_type, ids = draw(st.sampled_from(list(parquet_ids(pa).values())))
    maybe: Pair = (None, ABSENT)
    id_cells = [draw(st.sampled_from([*ids, maybe])) for _ in range(count)]
    texts = [draw(mostly(STRINGS, [*STRINGS, (None, REFUSED)])) for _ in range(count)]
    kinds = parquet_columns(pa)
    columns: dict[str, tuple[Any, list[Pair]]] = {}
    for name in draw(st.lists(st.sampled_from(["n", "tag", "سنة"]), unique=True)):
        kind, pairs = kinds[draw(st.sampled_from(list(kinds)))]
        cells = [draw(st.sampled_from([*pairs, maybe])) for _ in range(count)]
        shape = draw(st.sampled_from(["plain", "list", "struct", "map"]))
        if shape == "list":
            kind = pa.list_(kind)
            cells = [([v], o if o is REFUSED else [in_list(o)]) for v, o in cells]
        elif shape == "struct":
            kind = pa.struct([("inner", kind)])
            cells = [
                (
                    {"inner": v},
                    o
                    if o is REFUSED
                    else {}
                    if o is ABSENT and v is not None
                    else {"inner": in_list(o)},
                )
                for v, o in cells
            ]
        elif shape == "map":
            kind = pa.map_(pa.string(), kind)
            cells = [
                (
                    [("k", v)],
                    o
                    if o is REFUSED
                    else {}
                    if o is ABSENT and v is not None
                    else {"k": in_list(o)},
                )
                for v, o in cells
            ]
        columns[name] = kind, cells
    table = pa.table(
        {
            "id": pa.array([v for v, _ in id_cells], id_type),
            "text": pa.array([v for v, _ in texts], pa.string()),
            **{
                name: pa.array([v for v, _ in cells], kind)
                for name, (kind, cells) in columns.items()
            },
        }
    )
    made = Generated()
    for row in range(count):
        metadata = {name: cells[row][1] for name, (_, cells) in columns.items()}
        document = expected(id_cells[row][1], "", texts[row][1], metadata)
        if document is None:
            made.bad.append(row)
        else:
            made.documents.append(document)
    return table, made


ENTRIES = (
    "text",
    "empty",
    "blank",
    "latin",
    "gzip",
    "hidden",
    "picture",
    "dangling",
    "loop",
    "fifo",
)
ENTRIES += ("socket", "folder", "folder link", "odd name", "huge", "link", "text folder")


def make_folder(root: Path, kinds: Iterable[str]) -> Generated:
    """Makes a folder of entries of these kinds."""
    made = Generated()
    named: list[tuple[str, Expected]] = []
    for number, kind in enumerate(kinds):
        stem = f"{number:02}"
        path = root / f"{stem}.txt"
        if kind in ("text", "link", "text folder", "folder", "odd name"):
            id = f"{stem}.txt"
            if kind == "text folder":  # a folder that is called like a text file
                path.mkdir()
                path, id = path / "a.md", f"{stem}.txt/a.md"
            elif kind == "folder":
                (root / stem).mkdir()
                path, id = root / stem / "a.md", f"{stem}/a.md"
            elif kind == "odd name":
                path = Path(os.fsdecode(os.fsencode(root) + f"/{stem}".encode() + b"\xe9.txt"))
                id = f"{stem}\\xe9.txt"
                made.notes += 1
            path.write_text(f"text {number}\n")
            if kind == "link":
                path.rename(root / f".{stem}")
                path.symlink_to(root / f".{stem}")
            named.append((id, Expected(f"text {number}", id)))
        elif kind == "empty":
            path.write_bytes(b"")
            made.notes += 1
        elif kind == "blank":
            path.write_bytes(b" \n")
        elif kind in ("latin", "gzip"):
            path.write_bytes(b"caf\xe9" if kind == "latin" else gzip.compress(b"bread"))
            made.bad.append(None)
        elif kind == "hidden":
            (root / f".{stem}.txt").write_text("hidden")
        elif kind == "picture":
            (root / f"{stem}.png").write_bytes(b"\x89PNG")
        else:
            made.notes += 1
            if kind == "dangling":
                path.symlink_to("nowhere")
            elif kind == "loop":
                path.symlink_to(path.name)
            elif kind == "fifo":
                os.mkfifo(path)
            elif kind == "folder link":
                (root / f"{stem}-link").symlink_to(root)
            elif kind == "huge":
                with path.open("wb") as stream:
                    stream.truncate(10**12)
            elif kind == "socket":
                place = os.open(root, os.O_RDONLY)  # a path of a socket has at most 107 bytes
                try:
                    with socket.socket(socket.AF_UNIX) as bound:
                        bound.bind(f"/proc/self/fd/{place}/{path.name}")
                finally:
                    os.close(place)
    made.documents = [document for _, document in sorted(named, key=lambda pair: _order(pair[0]))]
    return made


def _order(id: str) -> tuple[int, bytes]:
    return id.count("/"), id.encode("latin-1", "replace").replace(b"\\xe9", b"\xff")
