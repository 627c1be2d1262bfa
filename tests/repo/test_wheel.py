"""What is installed: every file of the package, those that are no Python among them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_wheel_has_every_file_of_the_package(tmp_path: Path) -> None:
    """Without the core, which takes minutes to compile and is no file of the tree."""
    pytest.importorskip("scikit_build_core")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--config-settings=wheel.cmake=false"]
    subprocess.run([*command, "--wheel-dir", tmp_path, ROOT], check=True, timeout=200)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(
        ["git", "-C", ROOT / "python", "ls-files", "nestling"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("no checkout of git")
    files = set(listed.stdout.split())
    assert {f"nestling/models/adaptors/{name}.npz" for name in ("e5", "minilm")} <= files
    assert files <= packed
