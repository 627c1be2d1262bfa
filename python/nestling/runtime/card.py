"""Nesting dims from a model card: the README.md of a repository of the hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["nesting_of_card"]

_FRONT_MATTER: Final = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
# `matryoshka_dims: [768, 256]`, or a YAML list of one dim a line; other YAML is passed over.
_FLOW: Final = re.compile(
    r"^[ \t]*matryoshka_dim(?:ension)?s[ \t]*:[ \t]*\[([\d,\s]+)\]", re.MULTILINE
)
_BLOCK: Final = re.compile(
    r"^[ \t]*matryoshka_dim(?:ension)?s[ \t]*:[ \t]*\n"
    r"((?:[ \t]*-[ \t]*\d+[ \t]*(?:#[^\n]*)?(?:\n|\Z))+)",
    re.MULTILINE,
)
# The settings of MatryoshkaLoss as sentence-transformers writes them, a JSON block under "Loss:".
# A loss inside another one, or one that JSON cannot hold, is there as Python writes it.
_LOSS: Final = re.compile(r"matryoshka_dims(?:[\"']\s*:\s*|=)[\[(]([\d,\s]+)[\])]")
_COMMENT: Final = re.compile(r"#.*")
_LARGEST: Final = 1 << 20  # bytes of a card that are read


def nesting_of_card(path: Path) -> tuple[int, ...]:
    r"""Returns the nesting dims that a model card states, in ascending order; () for none.

    They are `matryoshka_dims` of the YAML front matter, or those of the settings of
    `MatryoshkaLoss` in the text. Of several losses the dims that all of them trained count.

    Example:
        >>> card = "---\nmatryoshka_dims: [768, 256, 48]\n---\n# A model"
        >>> _ = Path("README.md").write_text(card)
        >>> nesting_of_card(Path("README.md"))
        (48, 256, 768)
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_LARGEST)
    except OSError:
        return ()
    front = _FRONT_MATTER.search(text)
    if front is not None:
        for pattern in (_FLOW, _BLOCK):
            if found := pattern.search(front[1]):
                return _dims(_COMMENT.sub("", found[1]))
    losses = [set(_dims(found)) for found in _LOSS.findall(text)]
    return tuple(sorted(set.intersection(*losses))) if losses else ()


def _dims(text: str) -> tuple[int, ...]:
    """Returns the positive numbers in a text, in ascending order."""
    return tuple(sorted({int(number) for number in re.findall(r"\d{1,6}", text)} - {0}))
