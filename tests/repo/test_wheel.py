"""What is built and installed: every file of the package, its licences, and nothing shared."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIP = [sys.executable, "-m", "pip"]
OFFLINE = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]

# What lies at the top of a source distribution.
SOURCES = {
    *("CMakeLists.txt", "CMakePresets.json", "mkdocs.yml", "pyproject.toml"),
    *("CHANGELOG.md", "CITATION.cff", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "LICENSE", "NOTICE"),
    *("PKG-INFO", "README.md", "SECURITY.md"),
    *("benchmarks", "cpp", "deploy", "docs", "examples", "python", "tests", "web"),
}


def tracked(folder: Path) -> set[str]:
    """Returns the files below a folder that git knows, relative to it."""
    listed = subprocess.run(
        ["git", "-C", folder, "ls-files"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return set(listed.stdout.split())


def visible(folder: Path) -> set[str]:
    """Returns what lies in a folder, without the caches of tools."""
    return {path.name for path in folder.iterdir() if not path.name.startswith((".", "__"))}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel without the core, which takes a minute to compile and is not a file of the tree."""
    pytest.importorskip("scikit_build_core")
    folder = tmp_path_factory.mktemp("wheel")
    command = [*PIP, "wheel", *OFFLINE, "--config-settings=wheel.cmake=false"]
    subprocess.run([*command, "--wheel-dir", folder, ROOT], check=True, timeout=200)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_has_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    files = {f"nestling/{name}" for name in tracked(ROOT / "python" / "nestling")}
    assert {f"nestling/models/adaptors/{name}.npz" for name in ("e5", "minilm")} <= files
    assert files <= set(wheel.namelist())


def test_the_wheel_has_the_package_and_its_metadata_only(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops - {"nestling"} == {top for top in tops if top.endswith(".dist-info")}


def test_the_wheel_has_the_licence_and_the_notice(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    folder = metadata.rpartition("/")[0]
    for name in ("LICENSE", "NOTICE"):
        assert wheel.read(f"{folder}/licenses/{name}") == (ROOT / name).read_bytes()
    fields = message_from_bytes(wheel.read(metadata))
    assert fields.get_all("License-File") == ["LICENSE", "NOTICE"]
    assert fields["License-Expression"] == "Apache-2.0"


def test_the_source_distribution_has_what_a_packager_needs(tmp_path: Path) -> None:
    """All sources, tests and documentation; not what only a clone has a use for."""
    pytest.importorskip("scikit_build_core")
    files = tracked(ROOT)
    script = f"from scikit_build_core.build import build_sdist; build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)
    (path,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(path, tmp_path)
    root = tmp_path / path.name.removesuffix(".tar.gz")
    packed = {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()}
    clone_only = {
        name
        for name in files
        if name.startswith((".ci/", ".github/"))
        or name in {".gitignore", ".pre-commit-config.yaml"}
    }
    missing = files - clone_only - packed
    assert not {name for name in missing if (ROOT / name).exists()}
    assert not clone_only & packed
    tops = {name.split("/")[0] for name in packed if not name.startswith(".clang-")}
    assert tops <= SOURCES, "files that do not belong there, or a new part of the project?"
    compiled = {name for name in packed if name.endswith((".so", ".pyc", ".o"))}
    assert not compiled


@pytest.mark.slow
@pytest.mark.timeout(1200)  # two compilations side by side
def test_two_installs_from_one_tree_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Without optimisation, as it is not the compiled code that is tested here."""
    for module in ("scikit_build_core", "pybind11"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    if shutil.which("cmake") is None or shutil.which("ninja") is None:
        pytest.skip("cmake or ninja is not installed")
    setting = "--config-settings=cmake.build-type=Debug"
    before = visible(ROOT)
    targets = [tmp_path / name for name in ("one", "other")]
    installs = [
        subprocess.Popen(
            [*PIP, "install", *OFFLINE, setting, "--target", target, ROOT],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for target in targets
    ]
    outputs = [install.communicate()[0] for install in installs]
    assert [install.returncode for install in installs] == [0, 0], "\n".join(outputs)
    script = (
        "import sys; sys.path.insert(0, {!r}); import numpy as np, nestling; "
        "index = nestling.Index(8); index.add(np.eye(8)); "
        "print(nestling.__file__, *index.search(np.eye(8), k=1).ids.ravel())"
    )
    for target in targets:
        command = [sys.executable, "-c", script.format(str(target))]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        assert answer.stdout.split() == [
            str(target / "nestling" / "__init__.py"),
            *"01234567",
        ]
    assert visible(ROOT) <= before, "an install leaves files in the tree"
