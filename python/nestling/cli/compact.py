"""`nestling compact`: the segments of a collection merged into one, without what was removed."""

from __future__ import annotations

import time

from nestling.cli.options import Folder, Json, Threads

__all__ = ["compact"]


def compact(folder: Folder, threads: Threads = None, as_json: Json = False) -> None:
    """Merge the segments of a collection, and free what removed documents took."""
    from nestling._util.console import console, print_json
    from nestling.cli.opening import open_collection

    started = time.perf_counter()
    with open_collection(folder, threads=threads) as collection:
        before = collection.info()
        collection.compact()
        after = collection.info()
    seconds = time.perf_counter() - started
    if as_json:
        print_json(
            {
                "folder": str(folder),
                **{
                    name: {"segments": facts.segments, "removed": facts.removed, "disk": facts.disk}
                    for name, facts in (("before", before), ("after", after))
                },
                "seconds": round(seconds, 3),
            }
        )
        return
    console().print(
        f"{folder}: {before.segments:,} segments → {after.segments:,}, {before.disk:,} bytes → "
        f"{after.disk:,}, in {seconds:,.1f} s",
        markup=False,
    )
