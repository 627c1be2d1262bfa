"""What the tests of the documentation read from Markdown: fenced blocks, inline code, links."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>[\w-]*)[^\n`]*\n"
    r"(?P<body>.*?)^(?P=indent)(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)|\b(?:src|srcset|href)=\"([^\"\s]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: The page's path from the root of the repository.
        line: Where its first line stands in the page, from 1.
        language: The word after the fence; may be empty.
        text: Its lines, dedented.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Page:
    """A Markdown file of the repository."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self, *languages: str) -> list[Block]:
        text = self.text
        return [
            Block(
                self.name,
                text.count("\n", 0, match.start("body")) + 1,
                match["language"],
                textwrap.dedent(match["body"]),
            )
            for match in _FENCE.finditer(text)
            if match["language"] in languages
        ]

    def prose(self) -> str:
        """The page without fenced blocks and comments."""
        return _COMMENT.sub("", _FENCE.sub("", self.text))

    def inline_code(self) -> Iterator[str]:
        for match in _INLINE.finditer(self.prose()):
            yield match[1]

    def links(self) -> Iterator[Path]:
        """The files of the repository that the page links to."""
        for match in _LINK.finditer(_INLINE.sub("", self.prose())):
            target = (match[1] or match[2]).partition("#")[0]
            if target and not re.match(r"[a-z][a-z0-9+.-]*:", target):
                yield self.path.parent / unquote(target)


def pages() -> list[Page]:
    """The README, the documentation, and what else at the root explains the repository."""
    paths = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    return [Page(path) for path in sorted(paths)]
