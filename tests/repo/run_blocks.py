"""Runs Python blocks one after the other, each in a namespace and an empty folder of its own.

Reads a list of `{"name": …, "source": …}` as JSON from standard input, and writes the tracebacks of
those that failed, by name, as JSON to the file that the command line names. What the blocks print
goes to standard output.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from types import ModuleType


def run(source: str, name: str) -> str | None:
    """Runs one block; returns the traceback if it fails."""
    home = Path.cwd()
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        try:
            exec(compile(source, name, "exec"), module.__dict__)
        except BaseException:  # noqa: BLE001, RUF100
            return traceback.format_exc()
        finally:
            os.chdir(home)
    return None


def main() -> None:
    failures = {}
    for block in json.load(sys.stdin):
        failure = run(block["source"], block["name"])
        if failure is not None:
            failures[block["name"]] = failure
    Path(sys.argv[1]).write_text(json.dumps(failures), encoding="utf-8")


if __name__ == "__main__":
    main()
