"""The words of a text, as keyword search counts them, in any language.

In: a text. Out: its words in order, folded to one form. Chinese is segmented by jieba's dictionary (rjieba), Japanese
by Sudachi's, whose words come in the form that the dictionary lists; other scripts are cut between letters and
everything else, and English endings are taken off (Snowball; words of other languages in Latin script lose what looks
like one, in queries and documents alike). Scripts that are written without spaces and have no segmenter here (Thai,
Lao, Khmer, Burmese) are counted by pairs of letters.

What is indexed and what is asked for must come from the same version of this: `VERSION` is kept with an index.
"""

from __future__ import annotations

import functools
import re
import threading
import unicodedata
from collections.abc import Iterator
from typing import Any

from farthing.toolkit.extra import needed

VERSION = 1

HAN = r"\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = r"\u3041-\u309f\u30a0-\u30ff\u31f0-\u31ff"
UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
RUN = re.compile(rf"(?P<han>[{HAN}{KANA}]+)|(?P<unspaced>[{UNSPACED}]+)|(?P<spaced>[^\W_{HAN}{KANA}{UNSPACED}]+)")
HAS_KANA = re.compile(rf"[{KANA}]")
IS_WORD = re.compile(r"\w")
# Of a Japanese text's words: particles, auxiliary verbs, marks and blanks say nothing of what it is about.
FUNCTION_WORDS = ("助詞", "助動詞", "補助記号", "空白")
# Longer pieces are no words; a run of letters without an end must not become one.
MAX_WORD_CHARS = 64


class Segmenter:
    """Cuts texts into words. Any thread may use it; they take turns. Dictionaries are loaded when they are needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def words(self, text: str) -> list[str]:
        """Raises `MissingExtraError` where a segmenter that the text needs is not installed."""
        folded = unicodedata.normalize("NFKC", text).casefold()
        is_japanese = HAS_KANA.search(folded) is not None
        with self._lock:
            return [word[:MAX_WORD_CHARS] for run in RUN.finditer(folded) for word in self._words_of(run, is_japanese)]

    def surfaces(self, text: str) -> list[str]:
        """The words of its scripts without spaces, as they are written: to be found again in another text."""
        is_japanese = HAS_KANA.search(text) is not None
        with self._lock:
            return [
                surface
                for run in RUN.finditer(text)
                if run.lastgroup != "spaced"
                for surface in self._surfaces_of(run, is_japanese)
            ]

    def _surfaces_of(self, run: re.Match[str], is_japanese: bool) -> Iterator[str]:
        if run.lastgroup == "unspaced":
            yield run.group()
        elif is_japanese:
            for morpheme in self._japanese.tokenize(run.group()):
                if morpheme.part_of_speech()[0] not in FUNCTION_WORDS:
                    yield morpheme.surface()
        else:
            yield from self._chinese.cut_for_search(run.group())

    def _words_of(self, run: re.Match[str], is_japanese: bool) -> Iterator[str]:
        found = run.group()
        if run.lastgroup == "spaced":
            yield self._english.stemWord(found)
        elif run.lastgroup == "unspaced":
            yield from (found[at : at + 2] for at in range(max(1, len(found) - 1)))
        elif is_japanese:
            for morpheme in self._japanese.tokenize(found):
                if morpheme.part_of_speech()[0] not in FUNCTION_WORDS:
                    yield morpheme.normalized_form()
        else:
            yield from (word for word in self._chinese.cut_for_search(found) if IS_WORD.match(word))

    @functools.cached_property
    def _english(self) -> Any:
        with needed("Searching by words"):
            import Stemmer
        return Stemmer.Stemmer("english")

    @functools.cached_property
    def _chinese(self) -> Any:
        with needed("Searching Chinese by words"):
            import rjieba
        return rjieba

    @functools.cached_property
    def _japanese(self) -> Any:
        with needed("Searching Japanese by words"):
            from sudachipy import SplitMode
            from sudachipy.dictionary import Dictionary
        return Dictionary(dict="small").tokenizer(mode=SplitMode.A)
