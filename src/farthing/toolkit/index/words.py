"""The words of a text, as keyword search counts them, in any language.

In: a text. Out: its words in order, folded to one form (`farthing.toolkit.spelling.search_form`). Chinese is segmented
by jieba's dictionary (rjieba), Japanese by Sudachi's, whose words come in the form that the dictionary lists. In other
scripts a word is a run of letters with their marks, and English endings are taken off (Snowball; words of other
languages in Latin script lose what looks like an English ending, in queries and documents alike). Scripts that are
written without spaces and have no segmenter here (Thai, Lao, Khmer, Burmese) are counted by pairs of letters.

The words that are indexed and the words that are asked for must come from the same version of this module: `VERSION` is
kept with an index.
"""

from __future__ import annotations

import functools
import re
import threading
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from farthing.serving.text.clean import JOINERS
from farthing.toolkit.index.content import (
    CHINESE_CONTENT,
    CHINESE_FUNCTION_WORDS,
    CHINESE_STOP_WORDS,
    ENGLISH_FUNCTION_WORDS,
    ENGLISH_STOP_WORDS,
    JAPANESE_CONTENT,
    JAPANESE_FORMAL_NOUNS,
    JAPANESE_HELPERS,
    JAPANESE_STOP_KINDS,
    JAPANESE_STOP_WORDS,
)
from farthing.toolkit.optional import needed
from farthing.toolkit.spelling import IGNORABLE, compatible, marks, search_form

VERSION = 2
T = TypeVar("T")

HAN = r"\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = r"\u3041-\u309f\u30a0-\u30ff\u31f0-\u31ff"
UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
LETTER = rf"[^\W_{HAN}{KANA}{UNSPACED}]"
# A word may be written with marks, joiners and soft hyphens inside.
SPACED = rf"{LETTER}(?:{LETTER}|[{marks()}{JOINERS}{IGNORABLE}])*"
UNLIKE_SPACED = rf"(?P<han>[{HAN}{KANA}]+)|(?P<unspaced>[{UNSPACED}]+)"
RUN = re.compile(rf"{UNLIKE_SPACED}|(?P<spaced>{SPACED})")
HYPHEN = re.compile("[-\u2010\u2011]")
HAS_KANA = re.compile(rf"[{KANA}]")
IS_WORD = re.compile(r"\w")
# The kinds of Japanese words that say nothing of what a text is about: particles, auxiliary verbs, marks and blanks.
FUNCTION_WORDS = ("助詞", "助動詞", "補助記号", "空白")
# A longer piece is not a word: a run of letters without an end must not become one.
MAX_WORD_CHARS = 64
# As in "state-of-the-art"; more words with hyphens between them are an address or a code.
MAX_JOINED_WORDS = 4
# Texts are segmented so many characters at a time. A segmenter lets no other thread run meanwhile, which takes at worst
# 20 ms for so many, and Sudachi takes no more than 49,149 bytes.
PIECE_CHARS = 2_000


@functools.cache
def shown_run() -> re.Pattern[str]:
    """As `RUN`, for what people read, where words that hyphens join are one word: "top-up". Searches never need it."""
    return re.compile(rf"{UNLIKE_SPACED}|(?P<spaced>{SPACED}(?:{HYPHEN.pattern}{SPACED})*)")


class Asked(NamedTuple):
    """The words of a query.

    Attributes:
        every: all words, as `Segmenter.words` gives those of a passage.
        content: the words without those that have no meaning of their own ("how do I"), unless there are no others.
    """

    every: list[str]
    content: list[str]


class Segmenter:
    """Cuts texts into words. Any thread may use it; they take turns. Dictionaries are loaded when they are needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def words(self, text: str) -> list[str]:
        """The words of a text, in order. Raises `MissingExtraError` where a segmenter that the text needs is not
        installed."""
        return [word[:MAX_WORD_CHARS] for word in self._of_pieces(text, search_form, self._words_of)]

    def asked(self, query: str) -> Asked:
        """The words of a query; English, Chinese and Japanese words without a meaning of their own are told apart.

        English words in capital letters are names (IT, WHO, US), unless the whole query is in capitals. Raises what
        `words` raises.
        """
        names = {search_form(run.group()) for run in RUN.finditer(query) if run.group().isupper() and len(run[0]) > 1}
        if query.isupper():
            names = set()
        found = self._of_pieces(query, search_form, self._asked_of)
        every = [word[:MAX_WORD_CHARS] for word, _, _ in found]
        content = [word[:MAX_WORD_CHARS] for word, written, is_stop in found if not is_stop or written in names]
        return Asked(every, content or every)

    def surfaces(self, query: str) -> list[str]:
        """The words of the query in scripts without spaces, as they are written, to be found again in another text.

        Words without a meaning of their own are left out, unless there are no others.
        """
        found = self._of_pieces(query, str, self._asked_surfaces_of)
        return found or self._of_pieces(query, str, self._surfaces_of)

    def load_dictionaries(self) -> None:
        """Load now what the first Chinese and the first Japanese text would load: 65 MiB in 0.2 s.

        Each dictionary is loaded in one call that holds the interpreter's lock, for which a server with clients cannot
        wait. Raises what `words` raises.
        """
        with self._lock:
            self._chinese.cut("")
            self._japanese.tokenize("")

    def content_words(self, text: str) -> list[tuple[str, str]]:
        """The words that say what a text is about, for people to read: (the form that counts, the form as written) of
        each.

        Pronouns, particles, numbers and the like are left out, in English, Chinese and Japanese; so are scripts without
        spaces that have no segmenter here. Words that hyphens join are one word, unlike in searches. Raises what
        `words` raises.
        """
        return self._of_pieces(text, compatible, self._content_of, shown_run())

    def _of_pieces(
        self,
        text: str,
        change: Callable[[str], str],
        cut: Callable[[re.Match[str], bool], Iterator[T]],
        run_of_letters: re.Pattern[str] = RUN,
    ) -> list[T]:
        """What `cut` makes of each run of letters in the changed text. Other threads have their turn after each
        piece."""
        # The text is cut again after the change: a character may become many.
        changed = [part for piece in pieces(text) for part in pieces(change(piece))]
        is_japanese = any(HAS_KANA.search(piece) for piece in changed)
        found: list[T] = []
        for piece in changed:
            with self._lock:
                found += [item for run in run_of_letters.finditer(piece) for item in cut(run, is_japanese)]
        return found

    def _surfaces_of(self, run: re.Match[str], is_japanese: bool) -> Iterator[str]:
        if run.lastgroup == "unspaced":
            yield run.group()
        elif run.lastgroup == "han" and is_japanese:
            for morpheme in self._japanese.tokenize(run.group()):
                if morpheme.part_of_speech()[0] not in FUNCTION_WORDS:
                    yield morpheme.surface()
        elif run.lastgroup == "han":
            yield from self._chinese.cut_for_search(run.group())

    def _asked_surfaces_of(self, run: re.Match[str], is_japanese: bool) -> Iterator[str]:
        if run.lastgroup == "han" and is_japanese:
            for morpheme in self._japanese.tokenize(run.group()):
                if morpheme.part_of_speech()[0] not in FUNCTION_WORDS and not is_japanese_stop(morpheme):
                    yield morpheme.surface()
        else:
            yield from (word for word in self._surfaces_of(run, is_japanese) if word not in CHINESE_STOP_WORDS)

    def _content_of(self, run: re.Match[str], is_japanese: bool) -> Iterator[tuple[str, str]]:
        found = run.group()
        if run.lastgroup == "spaced":
            parts = HYPHEN.split(found)
            if len(parts) > MAX_JOINED_WORDS or len(found) > MAX_WORD_CHARS:
                for part in parts:
                    yield from self._shown_word([part])
            else:
                yield from self._shown_word(parts)
        elif run.lastgroup == "han" and is_japanese:
            for morpheme in self._japanese.tokenize(found):
                kind, detail = morpheme.part_of_speech()[:2]
                helps = detail in JAPANESE_HELPERS or morpheme.surface() in JAPANESE_FORMAL_NOUNS
                if kind in JAPANESE_CONTENT and not helps:
                    yield morpheme.normalized_form(), morpheme.dictionary_form()
        elif run.lastgroup == "han":
            for word, kind in self._chinese.tag(found):
                is_content = kind[0] in CHINESE_CONTENT and word not in CHINESE_FUNCTION_WORDS
                if is_content and (len(word) > 1 or kind[0] == "n"):
                    yield word, word

    def _shown_word(self, parts: list[str]) -> Iterator[tuple[str, str]]:
        """The word for people to read, or nothing. Parts that hyphens join are one word, whichever hyphens they are."""
        word = "-".join(parts)
        folded = [search_form(part) for part in parts]
        if not 1 < len(word) <= MAX_WORD_CHARS or all(part.isdigit() for part in parts):
            return
        if len(parts) > 1 or folded[0] not in ENGLISH_FUNCTION_WORDS:
            yield "-".join(map(self._english.stemWord, folded)), word

    def _words_of(self, run: re.Match[str], is_japanese: bool) -> Iterator[str]:
        return (word for word, _, _ in self._asked_of(run, is_japanese))

    def _asked_of(self, run: re.Match[str], is_japanese: bool) -> Iterator[tuple[str, str, bool]]:
        """(the form that counts, the form as written, whether it has no meaning of its own) of each word."""
        found = run.group()
        if run.lastgroup == "spaced":
            yield self._english.stemWord(found), found, found in ENGLISH_STOP_WORDS
        elif run.lastgroup == "unspaced":
            yield from ((found[at : at + 2], found, False) for at in range(max(1, len(found) - 1)))
        elif is_japanese:
            for morpheme in self._japanese.tokenize(found):
                if morpheme.part_of_speech()[0] not in FUNCTION_WORDS:
                    yield morpheme.normalized_form(), morpheme.surface(), is_japanese_stop(morpheme)
        else:
            for word in self._chinese.cut_for_search(found):
                if IS_WORD.match(word):
                    yield word, word, word in CHINESE_STOP_WORDS

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


def is_japanese_stop(morpheme: Any) -> bool:
    return morpheme.part_of_speech()[0] in JAPANESE_STOP_KINDS or morpheme.normalized_form() in JAPANESE_STOP_WORDS


def pieces(text: str) -> Iterator[str]:
    """The text in parts of at most `PIECE_CHARS`, each cut at a blank or mark if there is one in its second half."""
    start = 0
    while len(text) - start > PIECE_CHARS:
        end = start + PIECE_CHARS
        border = next((at for at in range(end, end - PIECE_CHARS // 2, -1) if is_border(text[at - 1])), end)
        yield text[start:border]
        start = border
    yield text[start:]


def is_border(letter: str) -> bool:
    """Whether no word goes on after this letter. The dot ・ stands inside of Japanese names."""
    return letter.isspace() or (unicodedata.category(letter) in ("Po", "Ps", "Pe") and letter != "・")
