"""Where a text can be cut in two so that the tokens of the parts are those of the whole.

In: a tokenizer. Out: places in texts for a tokenizer that is known well enough, and nothing for others. The first or
last part of a long text then tells the first or last tokens of the whole, without tokenising all of it.

A place lies between a letter or digit and a character at which the tokenizer begins anew. Three kinds of tokenizers are
known, and for each of them

- normalisation looks at no character on the other side of a place: the letters below neither compose with what may
  follow them, nor are put into one grapheme with it;
- words are split at a place, whatever stands around it, and tokens do not reach beyond a word;
- no added token has a place inside it, or takes away characters that stand at one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer, models

from farthing.checkpoint.tokenizer_file import SPLITS

# Letters of widely used scripts, as these scripts were before any tokenizer was made: different libraries put
# characters that Unicode added later into different classes.
LETTERS = (
    "0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0391-\u03a1\u03a3-\u03a9\u03ac-\u03ce\u0400-\u0481\u048a-\u04ff"
    "\u05d0-\u05ea\u0621-\u063a\u0641-\u064a\u0905-\u0939\u0e01-\u0e30\u3041-\u3094\u30a1-\u30fa\u4e00-\u9fa5"
    "\uac00-\ud7a3"
)
BLANKS, SPACE = " \n\t", " "
# Signs that no normalisation changes into letters or joins with letters.
PUNCTUATION = ".,;:!?()\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f"
# A place is looked for in this many characters at the end of a part.
WINDOW = 1024

LOCAL_NORMALIZERS = ("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Precompiled", "StripAccents")
SPACES_TO_ONE = {"Regex": " {2,}"}


class Boundaries:
    """Finds places in texts; `starters` are the characters that may follow a place."""

    def __init__(self, starters: str) -> None:
        self._place = re.compile(f"(?<=[{LETTERS}])[{re.escape(starters)}]")

    def last(self, text: str, stop: int) -> int | None:
        """The last place at or before `stop`, if there is one near it."""
        places = [found.start() for found in self._place.finditer(text, max(0, stop - WINDOW), stop + 1)]
        return places[-1] if places else None

    def first(self, text: str, start: int) -> int | None:
        """The first place at or behind `start`, if there is one near it."""
        found = self._place.search(text, start, start + WINDOW)
        return None if found is None else found.start()


def boundaries_of(tokenizer: Tokenizer) -> Boundaries | None:
    """The places of a tokenizer's texts, or None where the tokenizer is of no known kind."""
    if not all(map(is_local, parts(state(tokenizer.normalizer), "normalizers"))):
        return None
    starters = starters_of(tokenizer)
    for token in tokenizer.get_added_tokens_decoder().values():
        if token.rstrip or token.single_word or (token.normalized and not token.content.isascii()):
            return None
        starters = "".join(character for character in starters if character not in token.content[1:])
    return Boundaries(starters) if starters else None


def starters_of(tokenizer: Tokenizer) -> str:
    model, splitters = tokenizer.model, list(parts(state(tokenizer.pre_tokenizer), "pretokenizers"))
    kinds = [splitter["type"] for splitter in splitters]
    if isinstance(model, models.WordPiece):
        return BLANKS + PUNCTUATION if kinds == ["BertPreTokenizer"] else ""
    if isinstance(model, models.Unigram):
        is_split = kinds in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]) and splitters[-1].get("split", True)
        return SPACE if is_split else ""
    if not isinstance(model, models.BPE) or model.dropout is not None:
        return ""
    is_split = (kinds == ["ByteLevel"] and splitters[0]["use_regex"]) or (
        kinds == ["Split", "ByteLevel"] and splits_words(splitters[0])
    )
    if not is_split:
        return ""
    return SPACE if splitters[-1]["add_prefix_space"] else BLANKS + PUNCTUATION  # a part would begin with a space


def splits_words(splitter: dict[str, Any]) -> bool:
    is_known = splitter["pattern"] in [{"Regex": pattern} for pattern in SPLITS.values()]
    return is_known and splitter["behavior"] == "Isolated" and not splitter["invert"]


def is_local(normalizer: dict[str, Any]) -> bool:
    kind = normalizer["type"]
    if kind == "Replace":
        return bool(normalizer["pattern"] == SPACES_TO_ONE)
    if kind == "Strip":
        return not normalizer["strip_left"]
    return kind in LOCAL_NORMALIZERS


def parts(whole: dict[str, Any] | None, name: str) -> Iterator[dict[str, Any]]:
    """The steps of a sequence and of sequences in it, in order; a step that is no sequence is its own only part."""
    if whole is None:
        return
    if whole["type"] != "Sequence":
        yield whole
        return
    for part in whole[name]:
        yield from parts(part, name)


def state(step: Any) -> dict[str, Any] | None:
    """A step of a tokenizer as it stands in tokenizer.json."""
    if step is None:
        return None
    found: dict[str, Any] = json.loads(step.__getstate__())
    return found
