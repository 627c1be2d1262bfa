"""Mutates the database or a segment of a collection: only named errors, and no wrong document.

Run: `python tests/fuzz/collection_files.py --seconds 300`.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import traceback
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

from pool import main  # isort: skip - it finds the modules below

from collection_helpers import WordsEncoder, filled, segments
from test_collection_corrupted import use

from nestling import NestlingError
from nestling.collection import check, repair
from nestling.collection.storage.database import DATABASE_FILE


@cache
def original() -> Path:
    return filled(Path(tempfile.mkdtemp()) / "c")


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Some bytes flipped, set, cut out, doubled, or taken from elsewhere in the file."""
    out = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 5, 50])):
        place = rng.randrange(len(out) + 1)
        size = rng.choice([1, 2, 4, 8, 100, 4096])
        kind = rng.randrange(6)
        if kind == 0 and place < len(out):
            out[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[place : place + size] = bytes([rng.choice([0, 1, 0x7F, 0x80, 0xFF])]) * size
        elif kind == 2:
            out[place : place + size] = rng.randbytes(size)
        elif kind == 3:
            other = rng.randrange(len(out) + 1)
            out[place : place + size] = out[other : other + size]
        elif kind == 4:
            del out[place : place + size]
        else:
            del out[place:]
    return bytes(out)


def case(seed: int) -> str | None:
    rng = random.Random(seed)
    warnings.simplefilter("error")
    folder = Path(tempfile.mkdtemp()) / "c"
    shutil.copytree(original(), folder)
    try:
        paths = [folder / DATABASE_FILE] * 4 + segments(folder)
        path = rng.choice(paths)
        path.write_bytes(mutated(path.read_bytes(), rng))
        check(folder)
        if rng.random() < 0.3:
            with suppress(NestlingError):
                repair(folder, encoder=WordsEncoder())
        use(folder)
    except Exception:
        return f"{path.name}: {traceback.format_exc()}"
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)
    return None


if __name__ == "__main__":
    main(case, __doc__)
