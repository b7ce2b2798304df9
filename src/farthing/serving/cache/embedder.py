"""A backend with a cache before it: the same surface, but texts that were seen before are not computed.

In: requests for vectors. Out: what the backend would answer, rounded as the cache rounds it, whether a text was found
or computed. Every vector of an answer is of one space: should the weights change meanwhile, the whole request is
computed without the cache. Requests for vectors of every token pass by. So do those with token ids: a client that
tokenises is sent another way's ids for the same text, and ids have to be checked against the vocabulary before they
mean anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from farthing.core.errors import InputError
from farthing.core.settings import ServingSettings
from farthing.core.space import VectorSpace
from farthing.serving.cache.entry import (
    MOST_TOKENS,
    entry_type,
    is_truncated,
    is_unknown,
    namespace,
    read_entries,
    text_keys,
    write_entries,
)
from farthing.serving.request import NOT_TIMED, EmbedRequest, EmbedResult, Terms, Timings
from farthing.serving.text.clean import clean_input
from farthing.serving.text.vocabulary import Unknown

if TYPE_CHECKING:
    from farthing.core.space import VectorSpace
    from farthing.models.heads import Task
    from farthing.serving.backend import EmbedBackend
    from farthing.serving.cache.vectors import VectorCache
    from farthing.serving.governor import MemoryState
    from farthing.serving.local_model import ServedModel
    from farthing.serving.stats import Health, ServingStats

# Characters of a request whose keys are made on the event loop. Of more it would take milliseconds, in which nobody
# else is served.
SMALL_CHARS = 2**16
# Of texts whose keys are made before it is seen whether anybody still waits for them.
STEP_CHARS = 2**20
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

    def held(self, request: EmbedRequest) -> EmbedResult | None:
        """The answer to a request of some short texts that are all held in this process; None of any other."""
        if len(request.inputs) > AT_A_TIME or not can_be_kept(request):
            return None
        terms, space = self._backend.terms(request), self._backend.space  # refused, whatever is in the cache
        if sum(map(len, request.inputs), len(terms.prefix)) > SMALL_CHARS:
            return None
        keys = self._keys(request.inputs, 0, terms.prefix, text_keys(self._namespace(space), terms.prefix))
        entries = self._cache.all_held({key for key in keys if key is not None})
        if entries is None or not (self._cuts(request) or not any(map(is_truncated, entries.values()))):
            return None
        lookup = Lookup(keys, entries, sum(key is not None for key in keys))
        answer = Answer(np.zeros((len(keys), request.dimensions or space.dimensions), dtype=np.float32), len(keys))
        answer.fill(lookup, 0, space.dimensions, normalize=request.normalize)
        return answer.result(request, terms, space, lookup)

    async def embed_async(self, request: EmbedRequest) -> EmbedResult:
        """As the backend's."""
        if not can_be_kept(request):
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
        keys = await self._all_keys(request.inputs, prefix, self._namespace(space))
        wanted = dict.fromkeys(key for key in keys if key is not None)
        entries = self._cache.held(wanted)
        if self._cache.has_store and len(entries) < len(wanted):
            missing = [key for key in wanted if key not in entries]
            # Servers elsewhere may know another context than this process, and their tokens may be estimated.
            max_tokens = self.context_length if self.local is not None else MOST_TOKENS
            entries |= await self._cache.fetch(missing, entry_type(space.dimensions).itemsize, max_tokens)
        if not self._cuts(request):  # a text that is too long is refused, not answered
            entries = {key: entry for key, entry in entries.items() if not is_truncated(entry)}
        return Lookup(keys, entries, sum(key in entries for key in keys))

    async def _all_keys(self, inputs: Sequence[Any], prefix: str, space_key: bytes) -> list[bytes | None]:
        """As `_keys`, of all texts of a request; of large ones in threads, with the event loop free meanwhile."""
        if sum(map(len, inputs), len(prefix)) <= SMALL_CHARS:
            key_of = text_keys(space_key, prefix)
            keys: list[bytes | None] = []
            for start in range(0, len(inputs), AT_A_TIME):
                if start:
                    await asyncio.sleep(0)
                keys += self._keys(inputs[start : start + AT_A_TIME], start, prefix, key_of)
            return keys
        key_of, keys = await asyncio.to_thread(text_keys, space_key, prefix), []
        for start, stop in steps(inputs):
            keys += await asyncio.to_thread(self._keys, inputs[start:stop], start, prefix, key_of)
        return keys

    def _keys(
        self, inputs: Sequence[Any], start: int, prefix: str, key_of: Callable[[str], bytes]
    ) -> list[bytes | None]:
        """Of a request's texts from index `start` on; None where a zero vector is the answer. Raises `InputError`."""
        texts = (clean_input(item, index, self._serving, len(prefix)) for index, item in enumerate(inputs, start))
        return [key_of(text) if isinstance(text, str) else None for text in texts]

    def _cuts(self, request: EmbedRequest) -> bool:
        return self._serving.truncate if request.truncate is None else request.truncate

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
        truncated, unknown = set(result.truncated), set(result.unknown.texts)
        for start in range(0, len(places), AT_A_TIME):
            if start:
                await asyncio.sleep(0)
            part = slice(start, start + AT_A_TIME)
            flagged = [
                [index - start for index in indices if start <= index < start + AT_A_TIME]
                for indices in (truncated, unknown)
            ]
            entries = write_entries(result.vectors[part], result.text_tokens[part], *flagged)
            for place, entry in zip(places[part], entries, strict=True):
                key = lookup.keys[place]
                assert key is not None
                made[key] = entry
        self._cache.put(made)
        return replace(
            lookup,
            entries=lookup.entries | made,
            num_computed_tokens=result.num_computed_tokens,
            num_unknown_tokens=result.unknown.num_tokens,
            timings=result.timings,
            warnings=result.warnings,
        )

    async def _answer(self, request: EmbedRequest, terms: Terms, space: VectorSpace, lookup: Lookup) -> EmbedResult:
        num_inputs = len(lookup.keys)
        vectors = np.zeros((num_inputs, request.dimensions or space.dimensions), dtype=np.float32)
        answer = Answer(vectors, num_inputs)
        for start in range(0, num_inputs, AT_A_TIME):
            if start:
                await asyncio.sleep(0)
            answer.fill(lookup, start, space.dimensions, normalize=request.normalize)
        return answer.result(request, terms, space, lookup)

    def _namespace(self, space: VectorSpace) -> bytes:
        facts = space.fingerprint, self.context_length
        if facts not in self._namespaces:
            self._namespaces[facts] = namespace(space, self.context_length)
        return self._namespaces[facts]


def steps(inputs: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Starts and stops of parts of about `STEP_CHARS` characters."""
    start = num_chars = 0
    for stop, item in enumerate(inputs, 1):
        num_chars += len(item)
        if num_chars >= STEP_CHARS or stop == len(inputs):
            yield start, stop
            start, num_chars = stop, 0


def first_places(lookup: Lookup) -> list[int]:
    """Where each key that has no entry stands first."""
    places: dict[bytes, int] = {}
    for place, key in enumerate(lookup.keys):
        if key is not None and key not in lookup.entries:
            places.setdefault(key, place)
    return list(places.values())


def can_be_kept(request: EmbedRequest) -> bool:
    """Token ids and vectors of tokens pass by, and so do the rare wishes to cut texts at their start, or to fewer
    tokens than the context has, which no key tells."""
    if request.per_token or request.truncate_from != "end" or request.max_tokens is not None:
        return False
    return bool(request.inputs) and all(isinstance(item, str) for item in request.inputs)
