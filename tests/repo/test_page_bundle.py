"""The page that is committed is what its sources make, and names no other host."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
PAGE = ROOT / "python" / "nestling" / "server" / "page"
# What files of the page name and never ask for: namespaces, the errors of Svelte's runtime, and the
# link in a bar of the map's view that is not shown.
NAMED = (
    "http://www.w3.org/",
    "https://svelte.dev/e/",
    "https://apple.github.io/embedding-atlas",
)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_the_bundle_is_what_the_sources_make(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    shutil.copytree(WEB, tmp_path / "web", ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "python" / "nestling" / "server").mkdir(parents=True)
    environment = os.environ | {"NO_COLOR": "1"}
    for command in (["ci", "--ignore-scripts"], ["run", "build"]):
        done = subprocess.run(
            [npm, *command], cwd=tmp_path / "web", env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    made = files(tmp_path / "python" / "nestling" / "server" / "page")
    assert made.keys() == files(PAGE).keys(), "build the page again: npm ci && npm run build"
    assert made == files(PAGE), "build the page again: npm ci && npm run build"


def test_the_lock_file_names_packages_and_no_registry() -> None:
    lock = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert {"node_modules/preact", "node_modules/embedding-atlas"} <= packages.keys()
    for name, entry in packages.items():
        assert "resolved" not in entry, name
        assert entry["integrity"].startswith("sha512-"), name


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(PAGE.iterdir()) if path.suffix != ".txt"],
    ids=lambda path: path.suffix[1:] + path.name[0],
)
def test_the_page_names_no_other_host(path: Path) -> None:
    urls = re.findall(r"https?://[^\s\"'`)\\]*", path.read_text(encoding="utf-8"))
    assert not [url for url in urls if not url.startswith(NAMED)]
