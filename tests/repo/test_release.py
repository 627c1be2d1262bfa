"""What a release rests on: workflows, versions, notices, and no address that is not ours yet."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")
if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
PYTHONS = [
    classifier.rpartition(" ")[2]
    for classifier in PROJECT["classifiers"]
    if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", classifier)
]

in_clone = pytest.mark.skipif(not GITHUB.exists(), reason="a source distribution has no .github")


def load(path: Path) -> dict[str, Any]:
    """Returns a workflow; YAML 1.1 reads the key `on` as true."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def job(workflow: str, name: str) -> dict[str, Any]:
    return load(GITHUB / "workflows" / f"{workflow}.yml")["jobs"][name]


# An address of the project stands in [project.urls] alone, once there is one.

ADDRESS = re.compile(
    r"(?:https?://|www\.|git@|\bgithub\.com/|\bgitlab\.com/|\bcodeberg\.org/)[^\s\"'<>()\[\]`]*nestling"
    r"|[\w.+-]+@[\w.-]*nestling[\w-]*\.\w+",
    re.IGNORECASE,
)


def addresses(text: str) -> list[str]:
    return [match[0] for match in ADDRESS.finditer(text)]


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/someone/nestling",
        "see github.com/someone/nestling.",
        "git@example.org:someone/nestling.git",
        "https://nestling.example.org/docs",
        "write to security@nestling.example",
    ],
)
def test_an_address_of_the_project_is_found(text: str) -> None:
    assert addresses(text)


def test_no_file_names_an_address_of_the_project() -> None:
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if name == "tests/repo/test_release.py" or not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", errors="ignore")
        if name == "pyproject.toml":
            text = re.sub(r"^\[project\.urls\]\n(?:.+\n)*", "", text, flags=re.MULTILINE)
        found += [f"{name}: {address}" for address in addresses(text)]
    assert not found


# Versions of Python and of the package.


def test_every_supported_python_is_declared_once() -> None:
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    minors = [int(version.partition(".")[2]) for version in PYTHONS]
    assert minors == list(range(minors[0], minors[0] + len(minors)))
    oldest = PYTHONS[0].replace(".", "")
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{oldest}"
    assert PYPROJECT["tool"]["mypy"]["python_version"] == PYTHONS[0]


@in_clone
def test_every_supported_python_is_tested_and_built() -> None:
    assert job("test", "python")["strategy"]["matrix"]["python"] == PYTHONS
    built = [f"cp{version.replace('.', '')}-*" for version in PYTHONS]
    assert PYPROJECT["tool"]["cibuildwheel"]["build"] == built


@in_clone
def test_every_platform_is_tested_and_built() -> None:
    platforms = job("test", "python")["strategy"]["matrix"]["platform"]
    wheels = job("wheels", "wheels")["strategy"]["matrix"]["include"]
    core = job("test", "core")["strategy"]["matrix"]["include"]
    tested = {(platform["name"], platform["runner"]) for platform in platforms}
    assert len(tested) == 3
    assert {(platform["name"], platform["runner"]) for platform in wheels} == tested
    assert tested <= {(platform["name"], platform["runner"]) for platform in core}


# The workflows: little power, no secret, no action that moves under our feet.


@in_clone
def test_there_are_workflows() -> None:
    assert {path.stem for path in WORKFLOWS} == {"docs", "full", "release", "test", "wheels"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_and_little_more(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert "group" in workflow["concurrency"]
    assert "secrets." not in path.read_text(encoding="utf-8")
    more = {
        name: tuple(entry["permissions"])
        for name, entry in workflow["jobs"].items()
        if "permissions" in entry
    }
    allowed = {
        "docs": {"deploy": ("pages", "id-token")},
        "release": {"publish": ("id-token",), "release": ("contents",)},
    }
    assert more == allowed.get(path.stem, {})


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_ends_and_its_actions_have_a_version(path: Path) -> None:
    for name, entry in load(path)["jobs"].items():
        assert "timeout-minutes" in entry or "uses" in entry, name
        for step in entry.get("steps", []):
            action = step.get("uses", "")
            owner, _, version = action.partition("@")
            if not action:
                continue
            assert re.fullmatch(r"v\d+(\.\d+)*|release/v\d+|[0-9a-f]{40}", version), action
            assert owner.partition("/")[0] in {"actions", "pypa"}, action
            if owner == "actions/checkout":
                assert step["with"] == {"persist-credentials": False}


@in_clone
def test_a_release_is_published_after_tests_and_wheels_and_without_a_token() -> None:
    publish = job("release", "publish")
    assert set(publish["needs"]) == {"test", "wheels"}
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"] == "pypi"
    assert all("password" not in step.get("with", {}) for step in publish["steps"])
    assert {job("release", name)["needs"] for name in ("test", "wheels")} == {"notes"}


# The notes of a release.


@pytest.fixture(scope="module")
def release_notes() -> ModuleType:
    path = GITHUB / "release_notes.py"
    if not path.exists():
        pytest.skip("a source distribution has no .github")
    if sys.version_info < (3, 11):
        pytest.skip("it needs tomllib")
    spec = importlib.util.spec_from_file_location("release_notes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VERSION = '[project]\nname = "x"\nversion = "1.2.3"\n'
CHANGES = "# Changelog\n\n## 1.2.3 (2030-01-31)\n\n- Faster.\n\n## 1.2.2 (2029-01-31)\n\n- Older.\n"


def test_the_notes_are_the_newest_section(release_notes: ModuleType) -> None:
    assert release_notes.notes("v1.2.3", VERSION, CHANGES) == "- Faster.\n"


@pytest.mark.parametrize(
    ("tag", "changes", "message"),
    [
        ("v1.2.4", CHANGES, r"the tag is v1\.2\.4, but the version in pyproject\.toml is 1\.2\.3"),
        ("v1.2.3", CHANGES.replace("2030-01-31", "unreleased"), "must begin with"),
        ("v1.2.3", CHANGES.replace("1.2.3", "1.3.0"), "must begin with"),
        ("v1.2.3", CHANGES.replace("- Faster.\n", ""), "is empty"),
        ("v1.2.3", "# Changelog\n", "must begin with"),
    ],
)
def test_a_tag_that_is_not_ready_is_refused(
    release_notes: ModuleType, tag: str, changes: str, message: str
) -> None:
    with pytest.raises(SystemExit, match=message):
        release_notes.notes(tag, VERSION, changes)


def test_the_changelog_has_a_heading_for_this_version(release_notes: ModuleType) -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+) \((unreleased|\d{4}-\d\d-\d\d)\)$", text, re.MULTILINE)
    assert newest is not None
    assert newest[1] == PROJECT["version"]


# Licences.


@pytest.mark.parametrize("name", ["LICENSE", "NOTICE"])
def test_the_licence_files_are_declared(name: str) -> None:
    assert name in PROJECT["license-files"]
    assert (ROOT / name).read_text(encoding="utf-8").strip()


def test_the_notice_names_what_each_shipped_adaptor_was_trained_on() -> None:
    folder = ROOT / "python" / "nestling" / "models" / "adaptors"
    notice = " ".join((ROOT / "NOTICE").read_text(encoding="utf-8").split())
    cards = sorted(folder.glob("*.json"))
    assert {card.stem for card in cards} == {path.stem for path in folder.glob("*.npz")}
    for card in cards:
        _, _, section = notice.partition(f"{card.stem}.npz is used with ")
        section = section.partition(".npz is used with ")[0]
        assert section, card.stem
        about = json.loads(card.read_text(encoding="utf-8"))
        for entry in about["data"]:
            for source in re.findall(r"SQuAD 1\.1|AAQAD|TyDi QA|MLQA|CC BY-SA [34]\.0", entry):
                assert source in section, (card.stem, source)
        known = r"SQuAD|documentation strings|AAQAD|Comparable Wikipedia Corpus|Python packages"
        for entry in about["data"]:
            match = re.search(known, entry)
            assert match is not None, f"{card.name} has data that this test does not know: {entry}"
            assert match[0] in section, (card.stem, match[0])


def test_the_citation_agrees_with_the_package() -> None:
    citation = load(ROOT / "CITATION.cff")
    assert citation["title"] == PROJECT["name"]
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == [{"name": author["name"]} for author in PROJECT["authors"]]
    assert "version" not in citation, "the version stands in pyproject.toml alone"
