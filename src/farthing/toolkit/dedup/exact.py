"""Exact duplicates: texts that are the same once spelling that carries no meaning is evened out.

In: texts and the order in which they are preferred. Out: for each text the first text in that order that is the same.
`farthing.toolkit.spelling.plain_form` evens out the Unicode form (full-width letters, ligatures), case (casefold),
white space (a run becomes one space, none stays at the ends) and invisible characters. Punctuation stays: two texts
that differ by a question mark are near duplicates, not exact ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np

from farthing.toolkit.spelling import plain_form

# Digests save holding the texts a second time; with 128 bits a chance collision is out of the question.
DIGEST_BYTES = 16


def digest(text: str) -> bytes:
    # A lone surrogate is no text, but the encoder that gets it reports that better than this function could.
    return blake2b(plain_form(text).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


def first_of_each(texts: Sequence[str], order: Iterable[int]) -> tuple[np.ndarray, dict[bytes, int]]:
    """Return for each text the first text in `order` that is the same, which may be itself: int64 [texts].

    Also return a mapping from digests to these first texts, for `found_in`.
    """
    firsts = np.empty(len(texts), dtype=np.int64)
    by_digest: dict[bytes, int] = {}
    for index in order:
        firsts[index] = by_digest.setdefault(digest(texts[index]), index)
    return firsts, by_digest


def found_in(texts: Sequence[str], by_digest: dict[bytes, int]) -> np.ndarray:
    """Return for each text the text of another set that is the same, -1 for none: int64 [texts]."""
    return np.fromiter((by_digest.get(digest(text), -1) for text in texts), dtype=np.int64, count=len(texts))
