"""A request's answer put together from entries of the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from farthing.core.space import VectorSpace
from farthing.serving.cache.entry import is_truncated, is_unknown, read_entries
from farthing.serving.request import EmbedRequest, EmbedResult, Terms
from farthing.serving.text.vocabulary import Unknown
from farthing.serving.timings import NOT_TIMED, Timings

# Texts that are worked on before the event loop does something else.
AT_A_TIME = 256


@dataclass(frozen=True)
class Lookup:
    """What was found for a request.

    Attributes:
        keys: of each text; None where a zero vector is the answer.
        entries: by key, those found first and then those computed.
        num_cached: texts whose entry was found.
        num_computed_tokens, num_unknown_tokens: of the others; `timings` and `warnings` are theirs.
    """

    keys: Sequence[bytes | None]
    entries: dict[bytes, bytes]
    num_cached: int
    num_computed_tokens: int = 0
    num_unknown_tokens: int = 0
    timings: Timings = NOT_TIMED
    warnings: tuple[str, ...] = ()


class Answer:
    """`vectors` are zeros [texts, dimensions], which `fill` fills."""

    def __init__(self, vectors: np.ndarray, num_texts: int) -> None:
        self.vectors = vectors
        self._text_tokens = [0] * num_texts
        self._truncated: list[int] = []
        self._unknown: list[int] = []

    def fill(self, lookup: Lookup, start: int, hidden: int, *, normalize: bool) -> None:
        """Read `AT_A_TIME` entries, of vectors of `hidden` dimensions, from text `start` on."""
        part = enumerate(lookup.keys[start : start + AT_A_TIME], start)
        entries = {place: lookup.entries[key] for place, key in part if key is not None}
        if not entries:
            return
        found = read_entries(list(entries.values()), hidden, self.vectors.shape[1], normalize=normalize)
        self.vectors[list(entries)] = found.vectors
        for place, num_tokens in zip(entries, found.num_tokens, strict=True):
            self._text_tokens[place] = num_tokens
        self._truncated += [place for place, entry in entries.items() if is_truncated(entry)]
        self._unknown += [place for place, entry in entries.items() if is_unknown(entry)]

    def result(self, request: EmbedRequest, terms: Terms, space: VectorSpace, lookup: Lookup) -> EmbedResult:
        num_texts = sum(key is not None for key in lookup.keys)
        return EmbedResult(
            self.vectors,
            num_tokens=sum(self._text_tokens),
            num_computed_tokens=lookup.num_computed_tokens,
            space=replace(space, dimensions=self.vectors.shape[1], normalized=request.normalize),
            truncated=tuple(self._truncated),
            warnings=terms.warnings + tuple(text for text in lookup.warnings if text not in terms.warnings),
            timings=lookup.timings,
            text_tokens=tuple(self._text_tokens),
            unknown=Unknown(tuple(self._unknown), lookup.num_unknown_tokens),
            num_cached=lookup.num_cached,
            num_uncached=num_texts - lookup.num_cached,
        )
