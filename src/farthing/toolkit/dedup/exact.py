"""Exact duplicates: texts that are the same once spelling that carries no meaning is evened out.

In: texts and the order in which they are preferred. Out: for each text the first in that order that is the same.
Evened out are the Unicode form (full-width letters, ligatures), case (casefold), white space (runs of it are one space,
none at the ends) and what is not seen: `farthing.toolkit.spelling.plain_form`. Punctuation stays: with and without a
question mark are near duplicates, not exact ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np

from farthing.toolkit.spelling import plain_form

# 128 bits: the texts themselves are not held a second time, and a chance collision is out of the question.
DIGEST_BYTES = 16


def digest(text: str) -> bytes:
    # A lone surrogate is no text, but what embeds it says so better than this could.
    return blake2b(plain_form(text).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


def first_of_each(texts: Sequence[str], order: Iterable[int]) -> tuple[np.ndarray, dict[bytes, int]]:
    """For each text the first one in `order` that is the same, itself if there is none before it: int64 [texts].

    Also that first one by digest, for `found_in`.
    """
    firsts = np.empty(len(texts), dtype=np.int64)
    by_digest: dict[bytes, int] = {}
    for index in order:
        firsts[index] = by_digest.setdefault(digest(texts[index]), index)
    return firsts, by_digest


def found_in(texts: Sequence[str], by_digest: dict[bytes, int]) -> np.ndarray:
    """For each text the one of another set that is the same, -1 for none: int64 [texts]."""
    return np.fromiter((by_digest.get(digest(text), -1) for text in texts), dtype=np.int64, count=len(texts))
