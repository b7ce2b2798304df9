"""Brings spellings that mean the same into one form, for code that compares texts.

There are two forms. `plain_form` finds duplicates and keeps whatever a reader would call another text: 10² is not 102.
`search_form` is for searching words, and in it a spelling also finds its neighbours: `cafe` finds Café, and a word with
vowel points finds the one without.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator

from farthing.serving.text.clean import JOINERS, without_invisible

# Unicode's Default_Ignorable_Code_Point without the joiners: soft hyphens, marks of direction, variation selectors,
# fillers and tags. Marks of annotations and of musical notation are added, since they are not seen either.
IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# Keeps the flags of England, Scotland and the like, which differ in their tags alone.
UNSEEN = re.compile(f"(\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f)|[{IGNORABLE}]+")
JOINER_RUNS = re.compile(f"[{JOINERS}]+")

# Compatibility decompositions (UnicodeData.txt) that give another shape of the same character. Of those marked
# <compat>, only letters (ligatures), punctuation and blanks do so. All others, such as ², ½, ①, Ⅳ and ℃, say more than
# their parts.
SAME_CHARACTER = (
    *("<wide>", "<narrow>", "<small>", "<vertical>", "<noBreak>", "<font>"),
    *("<initial>", "<medial>", "<final>", "<isolated>"),
)
PARTLY_SAME, SAME_CATEGORIES = "<compat>", "LPZ"

# All scripts with marks, and all characters with compatibility decompositions, have been put below this place so far.
FIRST_BEYOND_ASCII, LAST_OF_SCRIPTS = 0x80, 0x20000
# The marks of these scripts are left out where words are searched: many people write without them what others write
# with them.
POINTED = "a-z\u00c0-\u024f\u0370-\u03ff\u05d0-\u05ea\u0620-\u064a\u066e-\u06d3"
POINTS = (
    "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed"
)
POINTED_LETTER = re.compile(f"([{POINTED}])[{POINTS}]+")
# Letters that the Unicode database does not call a letter with a mark; the lengthening of Arabic letters means nothing.
LETTERS = str.maketrans(
    {"đ": "d", "ø": "o", "ł": "l", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "ё": "е", "\u0640": ""}
)


def plain_form(text: str) -> str:
    """One form for texts that differ only in case, letter width, ligatures, white space and invisible characters."""
    shown = without_unseen(without_invisible(text)).translate(same_characters())
    return " ".join(unicodedata.normalize("NFC", folded(unicodedata.normalize("NFC", shown))).split())


def search_form(text: str) -> str:
    """One form, in lower case, for words that should find each other."""
    if text.isascii():  # then all steps but that of case change nothing
        return text.lower()
    spread = unicodedata.normalize("NFD", folded(compatible(text)))
    return unicodedata.normalize("NFC", POINTED_LETTER.sub(r"\1", spread)).translate(LETTERS)


def compatible(text: str) -> str:
    """The text in letters that are written everywhere (NFKC). A number that is one character stays one: 10² becomes 10
    and 2."""
    if text.isascii():
        return text
    shown = JOINER_RUNS.sub("", without_unseen(text))
    return unicodedata.normalize("NFKC", number_beside_digit().sub(" ", shown))


def without_unseen(text: str) -> str:
    return text if text.isascii() else UNSEEN.sub(lambda found: found.group(1) or "", text)


def folded(text: str) -> str:
    """The text without case. The Turkish İ becomes an i, without the second dot that Unicode would leave it."""
    return text.casefold().replace("i\u0307", "i")


@functools.cache
def same_characters() -> dict[int, str]:
    """The table for `str.translate` that replaces other shapes of a character by the character itself."""
    return {place: unicodedata.normalize("NFKC", char) for place, char in characters() if is_same_character(char)}


def is_same_character(char: str) -> bool:
    kind = unicodedata.decomposition(char).partition(" ")[0]
    return kind in SAME_CHARACTER or (kind == PARTLY_SAME and unicodedata.category(char)[0] in SAME_CATEGORIES)


@functools.cache
def number_beside_digit() -> re.Pattern[str]:
    """A pattern for the place between a digit and a character that is a number of its own, such as ² and ½."""
    numbers = ranges("No")
    return re.compile(rf"(?<=\d)(?=[{numbers}])|(?<=[{numbers}])(?=[\d{numbers}])")


@functools.cache
def marks() -> str:
    """All marks that stand on, under and around letters, as the inside of a regular expression's set."""
    return ranges("M[a-z]")


def characters() -> Iterator[tuple[int, str]]:
    return ((place, chr(place)) for place in range(FIRST_BEYOND_ASCII, LAST_OF_SCRIPTS))


def ranges(category: str) -> str:
    """The characters beyond ASCII of a category, as the inside of a regular expression's set.

    `category` is a regular expression for one of Unicode's categories or several, such as "No".
    """
    runs = re.finditer(f"(?:{category})+", categories())
    places = ((FIRST_BEYOND_ASCII + run.start() // 2, FIRST_BEYOND_ASCII + run.end() // 2 - 1) for run in runs)
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in places)


@functools.cache
def categories() -> str:
    """The categories of all characters beyond ASCII, a capital and a small letter each, one behind the other.

    A regular expression finds all characters of a category in it ten times as fast as a loop does.
    """
    return "".join(map(unicodedata.category, map(chr, range(FIRST_BEYOND_ASCII, LAST_OF_SCRIPTS))))
