"""The stems that FTS5's tokenizer `porter` gives to English words.

Highlights must know which words of a text the index took for a word of the query. This is Porter's
algorithm (1980, "An algorithm for suffix stripping") exactly as FTS5 has it, which reads the UTF-8
bytes of a word; a test compares both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Final

__all__ = ["stem"]

_LENGTHS: Final = range(3, 65)  # bytes of the words that FTS5 stems
_VOWELS: Final = frozenset("aeiou")

_Condition = Callable[[str], bool]
_Rules = tuple[tuple[str, str], ...]


def _rules(text: str) -> _Rules:
    pairs = (rule.partition(">") for rule in text.split())
    return tuple((suffix, replacement) for suffix, _, replacement in pairs)


_STEP_2: Final = _rules("""
ational>ate tional>tion enci>ence anci>ance izer>ize logi>log bli>ble alli>al entli>ent eli>e
ousli>ous ization>ize ation>ate ator>ate alism>al iveness>ive fulness>ful ousness>ous aliti>al
iviti>ive biliti>ble
""")
_STEP_3: Final = _rules("ical>ic ness> icate>ic iciti>ic ful> ative> alize>al")
_STEP_4: Final = _rules("""
al> ance> ence> er> ic> able> ible> ant> ement> ment> ent> ion> ou> ism> ate> iti> ous> ive> ize>
""")


def stem(word: str) -> str:
    """Returns the stem of a word in lower case.

    Example:
        >>> stem("libraries"), stem("running"), stem("مكتبة")
        ('librari', 'run', 'مكتبة')
    """
    if not "a" <= word[-1:] <= "z":  # every rule removes or replaces an ASCII letter at the end
        return word
    text = word if word.isascii() else word.encode().decode("latin-1")
    if len(text) not in _LENGTHS:
        return word
    text = _without_past_or_progressive(_without_plural(text))
    if text[-1] == "y" and _has_vowel(text[:-1]):
        text = f"{text[:-1]}i"
    text = _replaced(text, _STEP_2, _measures_1)
    text = _replaced(text, _STEP_3, _measures_1)
    text = _replaced(text, _STEP_4, _measures_2)
    body = text[:-1]
    if text[-1] == "e" and (_measures_2(body) or (_measures_1(body) and not _is_short(body))):
        text = body
    if text.endswith("ll") and _measures_2(text[:-1]):
        text = text[:-1]
    return text if word.isascii() else text.encode("latin-1").decode()


def _without_plural(text: str) -> str:
    if text.endswith("s"):
        if (text.endswith("sses") and len(text) > 4) or (text.endswith("ies") and len(text) > 3):
            return text[:-2]
        if not text.endswith("ss"):
            return text[:-1]
    return text


def _without_past_or_progressive(text: str) -> str:
    if text.endswith("eed") and len(text) > 3:
        return text[:-1] if _measures_1(text[:-3]) else text
    for suffix in ("ed", "ing"):
        body = text.removesuffix(suffix)
        if body != text and _has_vowel(body):
            break
    else:
        return text
    if len(body) > 2 and body.endswith(("at", "bl", "iz")):
        return f"{body}e"
    last = body[-1]
    if last == body[-2:-1] and last not in _VOWELS and last not in "lsz":
        return body[:-1]
    if _measures_1(body) and not _measures_2(body) and _is_short(body):
        return f"{body}e"
    return body


def _replaced(text: str, rules: Iterable[tuple[str, str]], condition: _Condition) -> str:
    """Applies the first rule whose suffix fits, if the rest of the word meets the condition."""
    for suffix, replacement in rules:
        if text.endswith(suffix) and len(text) > len(suffix):
            body = text[: -len(suffix)]
            fits = condition(body) and (suffix != "ion" or body[-1] in "st")
            return body + replacement if fits else text
    return text


def _consonants(text: str) -> list[bool]:
    """Returns whether each letter is a consonant; "y" is one unless it follows another."""
    found = []
    consonant = False
    for letter in text:
        consonant = not (letter in _VOWELS or (letter == "y" and consonant))
        found.append(consonant)
    return found


def _measure(text: str) -> int:
    """Returns how often a consonant follows a vowel."""
    kinds = _consonants(text)
    return sum(after and not before for before, after in pairwise(kinds))


def _measures_1(text: str) -> bool:
    return _measure(text) > 0


def _measures_2(text: str) -> bool:
    return _measure(text) > 1


def _is_short(text: str) -> bool:
    """Returns whether it ends with consonant, vowel, consonant, the last not one of w, x, y."""
    return text[-1:] not in "wxy" and _consonants(text)[-3:] == [True, False, True]


def _has_vowel(text: str) -> bool:
    return not _VOWELS.isdisjoint(text) or "y" in text[1:]
