"""A backend with a cache before it: the same surface, but texts that were seen before are not computed.

In: requests for vectors. Out: what the backend would answer, rounded as the cache rounds it, whether a text was found
or computed. Every vector of an answer is of one space: should the weights change meanwhile, the whole request is
computed without the cache. Requests for vectors of every token pass by. So do those with token ids: a client that
tokenises is sent another way's ids for the same text, and ids have to be checked against the vocabulary before they
mean anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from farthing.core.errors import InputError
from farthing.core.settings import ServingSettings
from farthing.core.space import VectorSpace
from farthing.models.heads import Task
from farthing.serving.backend import EmbedBackend
from farthing.serving.cache.entry import entry_type, is_truncated, read_entries, write_entries
from farthing.serving.cache.key import namespace, text_keys
from farthing.serving.cache.vectors import VectorCache
from farthing.serving.governor import MemoryState
from farthing.serving.health import Health
from farthing.serving.prepare import clean_input
from farthing.serving.request import EmbedRequest, EmbedResult, Terms
from farthing.serving.served import ServedModel
from farthing.serving.stats import ServingStats

# Texts that are worked on before the event loop does something else.
AT_A_TIME = 256


@dataclass(frozen=True)
class Lookup:
    """What was found for a request.

    Attributes:
        keys: of each text; None where a zero vector is the answer.
        entries: by key, those found first and then those computed.
        num_cached: texts whose entry was found.
        num_computed_tokens: for the others.
    """

    keys: Sequence[bytes | None]
    entries: dict[bytes, bytes]
    num_cached: int
    num_computed_tokens: int = 0


class CachedEmbedder:
    """`serving`: the backend's own settings, by which it cleans and refuses texts."""

    task: ClassVar[Task] = "embed"

    def __init__(self, backend: EmbedBackend, cache: VectorCache, serving: ServingSettings) -> None:
        self._backend, self._cache, self._serving = backend, cache, serving
        self.model = backend.model
        self._namespaces: dict[tuple[str, int], bytes] = {}

    @property
    def local(self) -> ServedModel | None:
        return self._backend.local

    @property
    def context_length(self) -> int:
        return self._backend.context_length

    @property
    def dimensions(self) -> int:
        return self._backend.dimensions

    @property
    def space(self) -> VectorSpace:
        return self._backend.space

    def facts(self) -> dict[str, str]:
        return {**self._backend.facts(), "cache": self._cache.in_words()}

    def health(self) -> Health:
        return self._backend.health()

    def stats(self) -> ServingStats:
        return self._backend.stats()

    def memory(self) -> MemoryState | None:
        return self._backend.memory()

    def terms(self, request: EmbedRequest) -> Terms:
        return self._backend.terms(request)

    def close(self) -> None:
        """The backend. The cache is its maker's, on the event loop (`VectorCache.close`)."""
        self._backend.close()

    async def embed_async(self, request: EmbedRequest) -> EmbedResult:
        """As the backend's. Nothing is waited for when all texts are held in this process."""
        if request.per_token or not request.inputs or not all(isinstance(item, str) for item in request.inputs):
            return await self._backend.embed_async(request)
        terms, space = self._backend.terms(request), self._backend.space  # refused, whatever is in the cache
        lookup = await self._look_up(request, terms.prefix, space)
        missing = first_places(lookup)
        if missing:
            computed = await self._compute(request, missing, space, lookup)
            if computed is None:
                return await self._backend.embed_async(request)
            lookup = computed
        return await self._answer(request, terms, space, lookup)

    async def _look_up(self, request: EmbedRequest, prefix: str, space: VectorSpace) -> Lookup:
        key_of = text_keys(self._namespace(space), prefix)
        keys: list[bytes | None] = []
        for start in range(0, len(request.inputs), AT_A_TIME):
            if start:
                await asyncio.sleep(0)
            for index, item in enumerate(request.inputs[start : start + AT_A_TIME], start):
                text = clean_input(item, index, self._serving)
                keys.append(key_of(text) if isinstance(text, str) else None)
        wanted = dict.fromkeys(key for key in keys if key is not None)
        entries = self._cache.held(wanted)
        if self._cache.has_store and len(entries) < len(wanted):
            missing = [key for key in wanted if key not in entries]
            entries |= await self._cache.fetch(missing, entry_type(space.dimensions).itemsize)
        cuts = self._serving.truncate if request.truncate is None else request.truncate
        if not cuts:  # a text that is too long is refused, not answered
            entries = {key: entry for key, entry in entries.items() if not is_truncated(entry)}
        return Lookup(keys, entries, sum(key in entries for key in keys))

    async def _compute(
        self, request: EmbedRequest, places: Sequence[int], space: VectorSpace, lookup: Lookup
    ) -> Lookup | None:
        """With what was missing; None where the request has to be computed as a whole.

        That is when the weights changed, and when a text is refused: only then does its error name the right index.
        """
        wanted = replace(request, inputs=[request.inputs[place] for place in places], dimensions=None, normalize=False)
        try:
            result = await self._backend.embed_async(wanted)
        except InputError:
            if len(places) == len(request.inputs):
                raise
            return None
        if result.space.fingerprint != space.fingerprint:
            return None
        made: dict[bytes, bytes] = {}
        truncated = set(result.truncated)
        for start in range(0, len(places), AT_A_TIME):
            if start:
                await asyncio.sleep(0)
            part = slice(start, start + AT_A_TIME)
            cut = [index - start for index in truncated if start <= index < start + AT_A_TIME]
            entries = write_entries(result.vectors[part], result.text_tokens[part], cut)
            for place, entry in zip(places[part], entries, strict=True):
                key = lookup.keys[place]
                assert key is not None
                made[key] = entry
        self._cache.put(made)
        return replace(lookup, entries=lookup.entries | made, num_computed_tokens=result.num_computed_tokens)

    async def _answer(self, request: EmbedRequest, terms: Terms, space: VectorSpace, lookup: Lookup) -> EmbedResult:
        dimensions = request.dimensions or space.dimensions
        vectors = np.zeros((len(lookup.keys), dimensions), dtype=np.float32)
        text_tokens = [0] * len(lookup.keys)
        truncated: list[int] = []
        for start in range(0, len(lookup.keys), AT_A_TIME):
            if start:
                await asyncio.sleep(0)
            part = enumerate(lookup.keys[start : start + AT_A_TIME], start)
            entries = {place: lookup.entries[key] for place, key in part if key is not None}
            if not entries:
                continue
            found = read_entries(list(entries.values()), space.dimensions, dimensions, normalize=request.normalize)
            vectors[list(entries)] = found.vectors
            for place, num_tokens in zip(entries, found.num_tokens, strict=True):
                text_tokens[place] = num_tokens
            truncated += [place for place, entry in entries.items() if is_truncated(entry)]
        num_texts = sum(key is not None for key in lookup.keys)
        return EmbedResult(
            vectors,
            num_tokens=sum(text_tokens),
            num_computed_tokens=lookup.num_computed_tokens,
            space=replace(space, dimensions=dimensions, normalized=request.normalize),
            truncated=tuple(truncated),
            warnings=terms.warnings,
            text_tokens=tuple(text_tokens),
            num_cached=lookup.num_cached,
            num_uncached=num_texts - lookup.num_cached,
        )

    def _namespace(self, space: VectorSpace) -> bytes:
        facts = space.fingerprint, self.context_length
        if facts not in self._namespaces:
            self._namespaces[facts] = namespace(space, self.context_length)
        return self._namespaces[facts]


def first_places(lookup: Lookup) -> list[int]:
    """Where each key that has no entry stands first."""
    places: dict[bytes, int] = {}
    for place, key in enumerate(lookup.keys):
        if key is not None and key not in lookup.entries:
            places.setdefault(key, place)
    return list(places.values())
