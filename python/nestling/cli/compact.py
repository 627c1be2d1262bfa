"""`nestling compact`: merges the segments of a collection and drops removed documents."""

from __future__ import annotations

import time

from nestling.cli.options import Folder, Json, Threads

__all__ = ["compact"]


def compact(folder: Folder, threads: Threads = None, as_json: Json = False) -> None:
    """Merge the segments of a collection, and give the room of removed documents back.

    Example: nestling compact articles
    """
    from nestling._util.console import console, print_json
    from nestling.cli.paths import open_collection

    started = time.perf_counter()
    with open_collection(folder, threads=threads) as collection:
        before = collection.info()
        freed = collection.compact().result().freed
        after = collection.info()
    seconds = time.perf_counter() - started
    if as_json:
        print_json(
            {
                "folder": str(folder),
                **{
                    name: {"segments": info.segments, "removed": info.removed, "disk": info.disk}
                    for name, info in (("before", before), ("after", after))
                },
                "freed": freed,
                "seconds": round(seconds, 3),
            }
        )
        return
    console().print(
        f"{folder}: segments: {before.segments:,} → {after.segments:,}; bytes: {before.disk:,} → "
        f"{after.disk:,} ({freed:,} given back); in {seconds:,.1f} s",
        markup=False,
    )
