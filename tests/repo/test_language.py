"""Phrases that a native engineer would not write do not come back.

Only the few that were frequent are listed: the rest is a matter of reading.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A pattern, and what to write instead.
PHRASES = {
    r"(?<!here )\b(?:is|are|was|were|be) no (?!longer|more\b|doubt|such|need|less|worse|better|"
    r"guarantee|substitute|over|faster|slower|lower|higher|larger|smaller)[a-z]+": "is not a …",
    r"\banew\b": "again, rebuilt",
    r"\bcan(?:not)? be had\b|\bto be had\b": "cannot be loaded, is available",
    r"\blets? fall\b|\blet fall\b|\bfallen\b": "dropped",
    r"\btells? of\b": "reports, is about",
    r"\bis taken up\b|\bare taken up\b": "resumes",
    r"\bkeeps still\b|\bas it takes\b": "",
    r"\bwants? (?:a|an) (?:rewrite|backup|rebuild)\b": "needs",
    r"\bunaltered\b|\bwas altered\b|\bwere altered\b": "corrupted, unchanged",
    r"\bmended\b|\bmends\b": "fixed, sanitized",
    r"\ban? [a-z]+ of one's own\b|\ban? [a-z]+ of (?:its|their|your) own that\b": "your own …",
    r"\blone (?:query|queries|text|search|latency)\b": "single",
}
SUFFIXES = {".py", ".pyi", ".cpp", ".hpp", ".md", ".toml", ".yml", ".yaml"}
FILES = sorted(
    path
    for place in ("python", "cpp", "docs", "tests", "benchmarks", "examples", ".")
    for path in (ROOT / place).glob("*" if place == "." else "**/*")
    if path.is_file()
    and path.suffix in SUFFIXES
    and path != Path(__file__)
    and not {"golden", "corpus", ".git", "site", "build"} & set(path.relative_to(ROOT).parts[:-1])
)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_the_english_is_plain(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [
        f"{name(path)}:{number}: {match[0]!r}; write: {better or 'something plainer'}"
        for number, line in enumerate(lines, 1)
        for phrase, better in PHRASES.items()
        for match in re.finditer(phrase, line, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "sentence",
    ["this is no list", "built anew", "the model cannot be had", "it tells of rows"],
)
def test_a_listed_phrase_is_found(sentence: str) -> None:
    assert any(re.search(phrase, sentence) for phrase in PHRASES)


@pytest.mark.parametrize("sentence", ["there is no list", "it is no longer there"])
def test_plain_english_passes(sentence: str) -> None:
    assert not any(re.search(phrase, sentence) for phrase in PHRASES)
