"""What of a text's spelling carries no meaning, for those that compare texts.

In: a text. Out: one form of all its spellings. Duplicates are told by `plain_form`, which keeps whatever a reader would
call another text: 10² is not 102. Words are searched by `search_form`, in which a spelling also finds its neighbours:
`cafe` finds Café, and a word with vowel points the one without.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator

from farthing.serving.text.clean import JOINERS, without_invisible

# Default_Ignorable_Code_Point of Unicode without the joiners: soft hyphens, marks of direction, variation selectors,
# fillers, tags. And marks of annotations and of musical notation, which are not seen either.
IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# The flags of England, Scotland and the like are told apart by tags alone.
UNSEEN = re.compile(f"(\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f)|[{IGNORABLE}]+")
JOINER_RUNS = re.compile(f"[{JOINERS}]+")

# Compatibility decompositions (UnicodeData.txt) that are another shape of the same character, and those of which only
# letters (ligatures), punctuation and blanks are: the others, such as ², ½, ①, Ⅳ and ℃, say more than their parts.
SAME_CHARACTER = (
    *("<wide>", "<narrow>", "<small>", "<vertical>", "<noBreak>", "<font>"),
    *("<initial>", "<medial>", "<final>", "<isolated>"),
)
PARTLY_SAME, SAME_CATEGORIES = "<compat>", "LPZ"

# Everywhere that scripts with marks, and characters with compatibility decompositions, were put until now.
LAST_OF_SCRIPTS = 0x20000
# Of these scripts marks are left out where words are searched: many write without them what others write with them.
POINTED = "a-z\u00c0-\u024f\u0370-\u03ff\u05d0-\u05ea\u0620-\u064a\u066e-\u06d3"
POINTS = (
    "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed"
)
POINTED_LETTER = re.compile(f"([{POINTED}])[{POINTS}]+")
# What the Unicode database does not call a letter with a mark; the lengthening of Arabic letters has no meaning.
LETTERS = str.maketrans(
    {"đ": "d", "ø": "o", "ł": "l", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "ё": "е", "\u0640": ""}
)


def plain_form(text: str) -> str:
    """One form of texts that differ in case, width of letters, ligatures, white space and what is not seen alone."""
    shown = without_unseen(without_invisible(text)).translate(same_characters())
    return " ".join(unicodedata.normalize("NFC", folded(unicodedata.normalize("NFC", shown))).split())


def search_form(text: str) -> str:
    """One form of words that should find each other, in lower case."""
    spread = unicodedata.normalize("NFD", folded(compatible(text)))
    return unicodedata.normalize("NFC", POINTED_LETTER.sub(r"\1", spread)).translate(LETTERS)


def compatible(text: str) -> str:
    """In letters that are written everywhere (NFKC). A number that is one character stays one: 10² is 10 and 2."""
    shown = JOINER_RUNS.sub("", without_unseen(text))
    return unicodedata.normalize("NFKC", number_beside_digit().sub(" ", shown))


def without_unseen(text: str) -> str:
    return text if text.isascii() else UNSEEN.sub(lambda found: found.group(1) or "", text)


def folded(text: str) -> str:
    """Without case. The Turkish İ becomes an i, which Unicode leaves a second dot."""
    return text.casefold().replace("i\u0307", "i")


@functools.cache
def same_characters() -> dict[int, str]:
    """What `str.translate` takes."""
    return {place: unicodedata.normalize("NFKC", char) for place, char in characters() if is_same_character(char)}


def is_same_character(char: str) -> bool:
    kind = unicodedata.decomposition(char).partition(" ")[0]
    return kind in SAME_CHARACTER or (kind == PARTLY_SAME and unicodedata.category(char)[0] in SAME_CATEGORIES)


@functools.cache
def number_beside_digit() -> re.Pattern[str]:
    """Between a digit and a character that is a number of its own, such as ² and ½."""
    numbers = ranges(place for place, char in characters() if unicodedata.category(char) == "No")
    return re.compile(rf"(?<=\d)(?=[{numbers}])|(?<=[{numbers}])(?=[\d{numbers}])")


@functools.cache
def marks() -> str:
    """All that stands on, under and around letters, as the inside of a regular expression's set."""
    return ranges(place for place, char in characters() if unicodedata.category(char)[0] == "M")


def characters() -> Iterator[tuple[int, str]]:
    return ((place, chr(place)) for place in range(0x80, LAST_OF_SCRIPTS))


def ranges(places: Iterable[int]) -> str:
    """Of places in order."""
    found: list[list[int]] = []
    for place in places:
        if found and place == found[-1][1] + 1:
            found[-1][1] = place
        else:
            found.append([place, place])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in found)
