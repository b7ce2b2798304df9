"""Finds the script that each text is written in, and takes its influence out of the vectors.

Many multilingual models put texts of one language nearer to each other than translations of one text. Most of that is
in the mean of a language's vectors, and subtracting this mean is the simplest remedy (Libovicky, Rosa and Fraser, 2020,
https://arxiv.org/abs/2004.05160). Here a script stands for its languages. Languages themselves are not recognised, so
languages that share a script stay as far apart as before.
"""

from __future__ import annotations

import functools
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

from farthing.toolkit.cluster.neighbours import SAME_DISTANCE

LETTERS_READ = 200
# The mean of fewer texts says little about a script; they are centred on the mean of all texts instead.
MIN_TEXTS = 50
KANA = ("HIRAGANA", "KATAKANA")


def writings_of(texts: Sequence[str]) -> np.ndarray:
    """Return each text's script by its Unicode name ("LATIN", "CJK"): str [texts]. Han with kana is "JAPANESE"."""
    return np.array([writing_of(text) for text in texts], dtype=np.str_)


def writing_of(text: str) -> str:
    """Return the script of most of the text's first letters; "NONE" for a text without letters."""
    scripts = Counter(filter(None, map(script_of, text[: 2 * LETTERS_READ])))
    kana = sum(scripts[name] for name in KANA)
    if kana:
        # In Japanese at least a tenth of kana and Han together is kana; a Chinese text may quote some kana.
        scripts["JAPANESE" if kana * 10 >= kana + scripts["CJK"] else "CJK"] += kana + scripts.pop("CJK", 0)
        for name in KANA:
            scripts.pop(name, None)
    return scripts.most_common(1)[0][0] if scripts else "NONE"


@functools.lru_cache(maxsize=65536)
def script_of(letter: str) -> str | None:
    """Return the first word of the letter's name: "LATIN", "CYRILLIC", "CJK". None for other characters."""
    return unicodedata.name(letter, "").partition(" ")[0] or None if letter.isalpha() else None


def without_writing(vectors: np.ndarray, writings: np.ndarray) -> np.ndarray:
    """Centre vectors on the mean of their script, and scale them to length 1, except vectors that are that mean.

    Args:
        vectors: float [vectors, dimensions].
        writings: each vector's script, str [vectors].

    Returns:
        float32 [vectors, dimensions], a copy.
    """
    centred = np.array(vectors, dtype=np.float32)
    overall = centred.mean(axis=0)
    for writing, count in zip(*np.unique(writings, return_counts=True), strict=True):
        rows = writings == writing
        centred[rows] -= centred[rows].mean(axis=0) if count >= MIN_TEXTS else overall
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    # Where a vector is the mean itself, only rounding errors are left; it stays at the centre.
    np.divide(centred, lengths, out=centred, where=lengths > SAME_DISTANCE)
    return centred
