"""Properties of characters that the analysis of words needs and Python's `unicodedata` lacks.

The ranges come from Unicode 17; a test computes them again from the properties. A range may cover
characters that never occur in a word, such as punctuation and unassigned ones.
"""

from __future__ import annotations

from typing import Final

__all__ = ["IGNORABLE", "UNSPACED"]


def _class(ranges: str) -> str:
    """Returns ranges of hexadecimal codes as the inside of a regular expression's [...]."""
    ends = (part.partition("-") for part in ranges.split())
    return "".join(
        f"{chr(int(first, 16))}-{chr(int(last or first, 16))}" for first, _, last in ends
    )


# Inside a word but not part of it: what is Default_Ignorable (soft hyphen, joiners and non-joiners,
# zero-width spaces, directions of writing, fillers, variation selectors) or a format character.
IGNORABLE: Final = _class("""
00AD 034F 0600-0605 061C 06DD 070F 0890-0891 08E2 115F-1160 17B4-17B5 180B-180F 200B-200F 202A-202E
2060-206F 3164 FE00-FE0F FEFF FFA0 FFF0-FFFB 110BD 110CD 13430-1343F 1BCA0-1BCA3 1D173-1D17A
E0000-E0FFF
""")

# Letters between which a line may break without a space, because no spaces separate the words:
# Line_Break SA (Thai, Lao, Khmer, Myanmar, Tai scripts, Ahom), ID, CJ and NS (Chinese, Japanese,
# Yi, Tangut, Nushu), AK, AP and AS (Balinese, Javanese, Cham, Batak). And Hangul (H2, H3, JL, JV,
# JT), where particles are written to words. Full-width Latin letters are left out.
UNSPACED: Final = _class("""
0E01-0E46 0E81-0EC6 0EDC-0EDF 1000-103F 1050-108E 1100-11FF 1780-17DC 1950-19C9 1A20-1A54 1AA7-1B4C
1BC0-1BE5 3005-3034 3038-318E 31A0-31FF 3400-A48C A960-A9B2 A9E0-A9EF A9FA-AA28 AA60-AADD AC00-FAD9
FF66-FFDC 11003-11037 11071-11075 11305-11339 11350 1135E-113D3 11700-1171A 11740-11746 11900-11941
11EE0-11EF1 11F02-11F33 16100-1611D 16FE0-18AFF 18D00-191D2 1B000-1B2FB 20000-3FFFD
""")
