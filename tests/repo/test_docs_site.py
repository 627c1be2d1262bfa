"""The documentation site: it builds without a warning, and shows everything that is public."""

from __future__ import annotations

import importlib
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
API = DOCS / "reference" / "api"

PUBLIC = (
    *("nestling", "nestling.collection", "nestling.corpus", "nestling.evaluation"),
    *("nestling.training", "nestling.tuning"),
)
INTERNAL = {
    "nestling.tuning.TuningTarget",  # the tuner, which `Index.tune` calls
    "nestling.tuning.Prefer",  # a type alias, shown where it is used
    "nestling.tuning.tune",
}


class _Loaded(HTMLParser):
    """The addresses that a browser loads with a page, and what the page says of its direction."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.language = self.direction = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag == "html":
            self.language = values.get("lang", "")
        if tag == "body":
            self.direction = values.get("dir", "")
        if tag in ("script", "img", "iframe", "source", "video", "audio"):
            self.addresses.append(values.get("src", ""))
        if tag == "link" and values.get("rel") != "canonical":
            self.addresses.append(values.get("href", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install '.[docs]'")
    pytest.importorskip("mkdocstrings_handlers.python")
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    built = subprocess.run(
        [*command, "--site-dir", str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    yield target
    shutil.rmtree(target)


def loaded(page: Path) -> _Loaded:
    parser = _Loaded()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


@pytest.mark.slow
def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        foreign = [a for a in loaded(page).addresses if re.match(r"(https?:)?//", a)]
        assert not foreign, page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", style.read_text(encoding="utf-8")), style


@pytest.mark.slow
def test_the_arabic_page_alone_is_laid_out_right_to_left(site: Path) -> None:
    arabic = site / "ar" / "getting-started" / "index.html"
    for page in site.rglob("*.html"):
        found = loaded(page)
        wanted = ("ar", "rtl") if page == arabic else ("en", "ltr")
        assert (found.language, found.direction) == wanted, page


@pytest.mark.slow
def test_every_option_of_the_command_line_is_shown(site: Path) -> None:
    text = (site / "reference" / "command-line" / "index.html").read_text(encoding="utf-8")
    assert "options:" not in text.split("</head>")[1]
    for option in ("--recall", "--no-vectors", "--max-minutes", "--on-conflict"):
        assert option in text


def test_every_command_is_described() -> None:
    from nestling.cli import app

    commands = runpy.run_path(str(DOCS / "_site" / "commands.py"))["_commands"](app)
    text = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
    for name, _ in commands:
        assert f"\n## {name}\n" in text
        assert f"\n<!-- options: {name} -->\n" in text


@pytest.mark.parametrize("module", PUBLIC)
def test_everything_public_is_in_the_reference(module: str) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in API.glob("*.md"))
    shown = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    found = importlib.import_module(module)
    missing = []
    for name in found.__all__:
        public = getattr(found, name)
        own = getattr(public, "__module__", "")
        if name.startswith("__") or f"{module}.{name}" in INTERNAL or own == "nestling.errors":
            continue  # the errors' page shows their whole module
        if not {f"{module}.{name}", f"nestling.{name}"} & shown:
            missing.append(name)
    assert not missing


def test_pictures_show_the_measured_figures() -> None:
    draw = runpy.run_path(str(DOCS / "pictures" / "draw.py"))
    for name, svg in draw["pictures"]().items():
        if not name.startswith("cells-"):  # a k-means, whose last digits depend on the machine
            assert (DOCS / "assets" / name).read_text(encoding="utf-8") == svg, name
