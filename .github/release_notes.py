"""Prints the changelog of a tag, after checking that tag, version and changelog agree.

Run it as `python .github/release_notes.py v1.2.3`, with Python 3.11 or later.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[1]


def notes(tag: str, pyproject: str, changelog: str) -> str:
    """Returns the section of the changelog for a tag.

    Args:
        tag: The tag, such as "v1.2.3".
        pyproject: The text of pyproject.toml.
        changelog: The text of CHANGELOG.md, the newest version first.

    Returns:
        The text between the heading of the version and the next one.

    Raises:
        SystemExit: The tag is not the version, or the changelog has no dated section for it on top.
    """
    version = tomllib.loads(pyproject)["project"]["version"]
    if tag != f"v{version}":
        raise SystemExit(f"the tag is {tag}, but the version in pyproject.toml is {version}")
    sections = re.split(r"^## +", changelog, flags=re.MULTILINE)[1:]
    heading, _, body = sections[0].partition("\n") if sections else ("", "", "")
    if not re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", heading.strip()):
        raise SystemExit(
            f"CHANGELOG.md must begin with '## {version} (YYYY-MM-DD)', not '## {heading.strip()}'"
        )
    if not body.strip():
        raise SystemExit(f"the section of {version} in CHANGELOG.md is empty")
    return body.strip() + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: release_notes.py TAG")
    sys.stdout.write(
        notes(
            sys.argv[1],
            (ROOT / "pyproject.toml").read_text(encoding="utf-8"),
            (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        )
    )
