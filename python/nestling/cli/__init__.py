"""The command line: `nestling index | add | search | delete | …`, one file per command.

Results go to stdout; progress and messages go to stderr. With --json, stdout holds one JSON
document, or for a search one JSON line per question, and nothing else.

Exit codes: 0 success, 1 a `NestlingError` (printed on stderr) or problems that `check` found,
2 wrong usage, 130 interrupted, 143 terminated.

Every command imports what it needs when it runs, so that `nestling --help` answers at once.
"""

from nestling.cli.app import app, main

__all__ = ["app", "main"]
