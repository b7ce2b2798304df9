"""In which script each text is written, and vectors from which that is taken out.

Many multilingual models put texts of one language nearer to each other than translations of one text. The mean of a
language's vectors is most of that, and taking it away is the simplest remedy (Libovicky, Rosa and Fraser, 2020,
https://arxiv.org/abs/2004.05160). Here a script stands for its languages: no language is recognised, so languages
that share a script keep what tells them apart.
"""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from farthing.toolkit.cluster.neighbours import SAME_DISTANCE

LETTERS_READ = 200
# Fewer texts of a script have no mean worth the name: they are centred on that of all texts.
MIN_TEXTS = 50
KANA = ("HIRAGANA", "KATAKANA")


def writings_of(texts: Sequence[str]) -> np.ndarray:
    """Names of scripts, as Unicode has them ("LATIN", "CJK"): str [texts]. Han beside kana is "JAPANESE"."""
    return np.array([writing_of(text) for text in texts], dtype=np.str_)


def writing_of(text: str) -> str:
    """The script of most of the first letters; "NONE" for a text without letters."""
    scripts = Counter(filter(None, map(script_of, text[: 2 * LETTERS_READ])))
    kana = sum(scripts[name] for name in KANA)
    if kana:
        # In Japanese at least every tenth of these is kana; a Chinese text may quote one.
        scripts["JAPANESE" if kana * 10 >= kana + scripts["CJK"] else "CJK"] += kana + scripts.pop("CJK", 0)
        for name in KANA:
            scripts.pop(name, None)
    return scripts.most_common(1)[0][0] if scripts else "NONE"


@functools.lru_cache(maxsize=65536)
def script_of(letter: str) -> str | None:
    """The first word of the letter's name: "LATIN", "CYRILLIC", "CJK". None for what is no letter."""
    return unicodedata.name(letter, "").partition(" ")[0] or None if letter.isalpha() else None


def without_writing(vectors: np.ndarray, writings: np.ndarray) -> np.ndarray:
    """Centred on the mean of their script, of length 1 but where they are that mean.

    Args:
        vectors: float [vectors, dimensions].
        writings: str [vectors].

    Returns:
        float32 [vectors, dimensions], a copy.
    """
    centred = np.array(vectors, dtype=np.float32)
    overall = centred.mean(axis=0)
    for writing, count in zip(*np.unique(writings, return_counts=True), strict=True):
        rows = writings == writing
        centred[rows] -= centred[rows].mean(axis=0) if count >= MIN_TEXTS else overall
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    # A text whose vector is the mean itself has no direction but that of rounding, and stays at the centre.
    np.divide(centred, lengths, out=centred, where=lengths > SAME_DISTANCE)
    return centred
