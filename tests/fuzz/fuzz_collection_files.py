#!/usr/bin/env python3
"""Corrupted files of a collection: every operation is right or raises a named error.

An input is `{"file": number, "edits": [[kind, position, size, byte], ...], "repair": bool}`: edits
of the bytes of the database, of a segment, or of the words beside one. Positions are fractions of
the file's size, so that an input means the same whatever the files' sizes.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import json_inputs

with json_inputs.instrumented(__name__ == "__main__"):
    from collection_helpers import WordsEncoder, filled, id_files, segments, word_files
    from test_collection_corrupted import use

    from nestling import NestlingError
    from nestling.collection import check as check_folder
    from nestling.collection import repair
    from nestling.collection.storage.database import DATABASE_FILE

KINDS = ("flip", "fill", "count", "copy", "delete", "cut")
SIZES = (1, 2, 4, 8, 100, 4096)
_MOST_EDITS = 20


@cache
def original() -> Path:
    return filled(Path(tempfile.mkdtemp()) / "c")


def edited(content: bytes, edits: list[Any]) -> bytes:
    out = bytearray(content)
    for edit in edits[:_MOST_EDITS]:
        match edit:
            case [
                str(kind),
                int() | float() as position,
                int(size),
                int(byte),
            ] if 0 <= position <= 1 and 0 < size <= SIZES[-1]:
                start = int(position * len(out))
            case _:
                continue
        byte &= 255
        if kind == "flip" and start < len(out):
            out[start] ^= byte or 1
        elif kind == "fill":
            out[start : start + size] = bytes([byte]) * size
        elif kind == "count":
            out[start : start + size] = (byte % 7).to_bytes(size, "big")
        elif kind == "copy":
            other = len(out) * byte // 256
            out[start : start + size] = out[other : other + size]
        elif kind == "delete":
            del out[start : start + size]
        elif kind == "cut":
            del out[start:]
    return bytes(out)


def check(value: Any) -> None:
    match value:
        case {"file": int(number), "edits": list(edits)}:
            pass
        case _:
            return
    with tempfile.TemporaryDirectory() as parent, warnings.catch_warnings():
        warnings.simplefilter("error")
        folder = Path(parent) / "c"
        shutil.copytree(original(), folder)
        paths = [folder / DATABASE_FILE, *segments(folder), *word_files(folder), *id_files(folder)]
        path = paths[number % len(paths)]
        path.write_bytes(edited(path.read_bytes(), edits))
        check_folder(folder)
        if value.get("repair") is True:
            with suppress(NestlingError):
                repair(folder, encoder=WordsEncoder())
        use(folder)


if __name__ == "__main__":
    json_inputs.main(
        check,
        keys=["file", "edits", "repair"],
        scalars=[*KINDS, *SIZES, True, False, 0, 1, 2, 3, 127, 128, 255]
        + [place / 97 for place in range(97)],
    )
