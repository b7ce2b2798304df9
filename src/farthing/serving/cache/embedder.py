"""A backend with a cache in front of it: the same surface, but texts that were seen before are not computed.

In: requests for vectors. Out: what the backend would answer, rounded as the cache rounds it, no matter whether a text
was found or computed. All vectors of an answer are of one space: if the weights change meanwhile, the whole request is
computed without the cache. Requests for vectors of every token pass by the cache. So do requests with token ids: a
client that tokenises may send other ids for the same text, and ids have to be checked against the vocabulary before
they mean anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from farthing.core.deferred import dataclass
from farthing.core.errors import InputError
from farthing.core.settings import ServingSettings
from farthing.core.space import VectorSpace
from farthing.serving.cache.entry import (
    MOST_TOKENS,
    TRUNCATED,
    UNKNOWN,
    entry_type,
    is_truncated,
    namespace,
    read_entries,
    text_keys,
    write_entries,
)
from farthing.serving.request import NOT_TIMED, CheckedRequest, EmbedRequest, EmbedResult, Timings
from farthing.serving.text.clean import clean_input
from farthing.serving.text.vocabulary import Unknown

if TYPE_CHECKING:
    from farthing.models.forward.heads import Task
    from farthing.serving.backend import EmbedBackend
    from farthing.serving.cache.vectors import VectorCache
    from farthing.serving.governor import MemoryState
    from farthing.serving.local_model import ServedModel
    from farthing.serving.stats import Health, ServingStats

# Characters of a request whose keys are made on the event loop. For more it would take milliseconds, in which nobody
# else is served.
SMALL_CHARS = 2**16
# Characters of texts whose keys are made before it is checked whether anybody still waits for them.
STEP_CHARS = 2**20
# Texts that are worked on before the event loop does something else.
AT_A_TIME = 256


@dataclass(frozen=True)
class Lookup:
    """What was found for a request.

    Attributes:
        space: space that the entries are of.
        texts: the request's texts as they came out of `clean_input`.
        keys: key of each text; None where a zero vector is the answer.
        entries: entries by key: first those that were found, then also those that were computed.
        num_cached: texts whose entry was found.
        num_computed_tokens, num_unknown_tokens: tokens of the other texts; `timings` and `warnings` are theirs, too.
    """

    space: VectorSpace
    texts: Sequence[Any]
    keys: Sequence[bytes | None]
    entries: dict[bytes, bytes]
    num_cached: int = 0
    num_computed_tokens: int = 0
    num_unknown_tokens: int = 0
    timings: Timings = NOT_TIMED
    warnings: tuple[str, ...] = ()


class CachedAnswer:
    """The answer to a request while it is made of what was found for it."""

    def __init__(self, checked: CheckedRequest, lookup: Lookup) -> None:
        self._checked, self._lookup = checked, lookup
        self._dimensions = checked.request.dimensions or lookup.space.dimensions
        self._vectors: np.ndarray | None = None  # [texts, dimensions]; zeros where a text has no key
        self._text_tokens = [0] * len(lookup.keys)
        self._truncated: list[int] = []
        self._unknown: list[int] = []

    def fill(self, start: int) -> None:
        """Read `AT_A_TIME` entries, beginning with that of text `start`."""
        lookup, request = self._lookup, self._checked.request
        keys = {
            place: key for place, key in enumerate(lookup.keys[start : start + AT_A_TIME], start) if key is not None
        }
        if not keys:
            return
        entries = [lookup.entries[key] for key in keys.values()]
        found = read_entries(entries, lookup.space.dimensions, self._dimensions, normalize=request.normalize)
        if len(keys) == len(lookup.keys):
            self._vectors = found.vectors
        else:
            self._vectors = self._so_far()
            self._vectors[list(keys)] = found.vectors
        for place, num_tokens, flags in zip(keys, found.num_tokens, found.flags, strict=True):
            self._text_tokens[place] = num_tokens
            if flags & TRUNCATED:
                self._truncated.append(place)
            if flags & UNKNOWN:
                self._unknown.append(place)

    def _so_far(self) -> np.ndarray:
        if self._vectors is None:
            return np.zeros((len(self._lookup.keys), self._dimensions), dtype=np.float32)
        return self._vectors

    def result(self) -> EmbedResult:
        lookup, terms = self._lookup, self._checked.terms
        num_texts = sum(key is not None for key in lookup.keys)
        return EmbedResult(
            self._so_far(),
            num_tokens=sum(self._text_tokens),
            num_computed_tokens=lookup.num_computed_tokens,
            space=lookup.space.of_vectors(self._dimensions, normalized=self._checked.request.normalize),
            truncated=tuple(self._truncated),
            warnings=terms.warnings + tuple(text for text in lookup.warnings if text not in terms.warnings),
            timings=lookup.timings,
            text_tokens=tuple(self._text_tokens),
            unknown=Unknown(tuple(self._unknown), lookup.num_unknown_tokens),
            num_cached=lookup.num_cached,
            num_uncached=num_texts - lookup.num_cached,
        )


class CachedEmbedder:
    """A backend with a cache in front of it.

    `serving` is the backend's own settings, by which it cleans and refuses texts.
    """

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

    def close(self) -> None:
        """Close the backend. Whoever made the cache closes it, on the event loop (`VectorCache.close`)."""
        self._backend.close()

    def check(self, request: EmbedRequest) -> CheckedRequest:
        """As the backend's `check`. A request of a few short texts that are all held in this process is answered."""
        checked = self._backend.check(request)
        if not can_be_kept(request):
            return checked
        space, prefix = self._backend.space, checked.terms.prefix
        num_chars = sum(map(len, request.inputs), len(prefix))
        if num_chars > SMALL_CHARS or len(request.inputs) > AT_A_TIME:
            return replace(checked, lookup=Lookup(space, (), (), {}))
        texts = self._clean(request.inputs, 0, prefix)
        lookup = self._held(checked, space, texts, keys_of(texts, text_keys(self._namespace(space), prefix)))
        keys = lookup.keys
        if all(key is None or key in lookup.entries for key in keys):
            return replace(checked, result=self._filled(checked, lookup))
        return replace(checked, lookup=lookup)

    async def compute(self, checked: CheckedRequest) -> EmbedResult:
        """As the backend's `compute`."""
        lookup = checked.lookup
        if not isinstance(lookup, Lookup):
            return await self._backend.compute(checked)
        if not lookup.keys:
            lookup = await self._look_up(checked, lookup)
        lookup = await self._fetched(checked, lookup)
        missing = first_places(lookup)
        if missing:
            computed = await self._compute(checked, missing, lookup)
            if computed is None:
                return await self._backend.compute(replace(checked, lookup=None))
            lookup = computed
        return await self._answer(checked, lookup)

    async def embed_async(self, request: EmbedRequest) -> EmbedResult:
        """The vectors of one request. Raises as `check` and `compute`."""
        checked = self.check(request)
        return checked.result or await self.compute(checked)

    async def _look_up(self, checked: CheckedRequest, lookup: Lookup) -> Lookup:
        """Look for a large request's entries in this process.

        Its texts are cleaned and hashed in threads, and the event loop is free meanwhile.
        """
        inputs, prefix = checked.request.inputs, checked.terms.prefix
        key_of = await asyncio.to_thread(text_keys, self._namespace(lookup.space), prefix)
        texts: list[Any] = []
        keys: list[bytes | None] = []

        def go_on(start: int, stop: int) -> None:
            cleaned = self._clean(inputs[start:stop], start, prefix)
            texts.extend(cleaned)
            keys.extend(keys_of(cleaned, key_of))

        for start, stop in steps(inputs):
            await asyncio.to_thread(go_on, start, stop)
        return self._held(checked, lookup.space, texts, keys)

    def _held(
        self, checked: CheckedRequest, space: VectorSpace, texts: Sequence[Any], keys: Sequence[bytes | None]
    ) -> Lookup:
        """What this process holds for cleaned texts and their keys."""
        entries = self._usable(checked, self._cache.held(dict.fromkeys(key for key in keys if key is not None)))
        return Lookup(space, texts, keys, entries, num_cached=sum(key in entries for key in keys))

    async def _fetched(self, checked: CheckedRequest, lookup: Lookup) -> Lookup:
        """The lookup with the entries that the store holds, where there is a store."""
        if not self._cache.has_store:
            return lookup
        missing = [key for key in dict.fromkeys(lookup.keys) if key is not None and key not in lookup.entries]
        if not missing:
            return lookup
        # Servers elsewhere may know another context than this process, and their tokens may be estimated.
        max_tokens = self.context_length if self.local is not None else MOST_TOKENS
        found = await self._cache.fetch(missing, entry_type(lookup.space.dimensions).itemsize, max_tokens)
        entries = self._usable(checked, lookup.entries | found)
        return replace(lookup, entries=entries, num_cached=sum(key in entries for key in lookup.keys))

    def _usable(self, checked: CheckedRequest, entries: dict[bytes, bytes]) -> dict[bytes, bytes]:
        truncate = checked.request.truncate
        if self._serving.truncate if truncate is None else truncate:
            return entries
        # A text that is too long is refused, not answered.
        return {key: entry for key, entry in entries.items() if not is_truncated(entry)}

    def _clean(self, inputs: Sequence[Any], start: int, prefix: str) -> list[Any]:
        """The texts from index `start` on, cleaned; None where a zero vector is the answer. Raises `InputError`."""
        return [clean_input(item, index, self._serving, len(prefix)) for index, item in enumerate(inputs, start)]

    async def _compute(self, checked: CheckedRequest, places: Sequence[int], lookup: Lookup) -> Lookup | None:
        """The lookup with what was missing; None where the request has to be computed as a whole.

        That is the case when the weights changed, and when a text is refused: only then does its error name the right
        index.
        """
        texts = [lookup.texts[place] for place in places]
        request = replace(checked.request, inputs=texts, dimensions=None, normalize=False)
        try:
            result = await self._backend.compute(CheckedRequest(request, replace(checked.terms, warnings=()), True))
        except InputError:
            if len(places) == len(lookup.keys):
                raise
            return None
        if result.space.fingerprint != lookup.space.fingerprint:
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

    async def _answer(self, checked: CheckedRequest, lookup: Lookup) -> EmbedResult:
        answer = CachedAnswer(checked, lookup)
        for start in range(0, len(lookup.keys), AT_A_TIME):
            if start:
                await asyncio.sleep(0)
            answer.fill(start)
        return answer.result()

    def _filled(self, checked: CheckedRequest, lookup: Lookup) -> EmbedResult:
        """As `_answer`, for so few texts that the event loop need not be left."""
        answer = CachedAnswer(checked, lookup)
        answer.fill(0)
        return answer.result()

    def _namespace(self, space: VectorSpace) -> bytes:
        facts = space.fingerprint, self.context_length
        if facts not in self._namespaces:
            self._namespaces[facts] = namespace(space, self.context_length)
        return self._namespaces[facts]


def keys_of(texts: Sequence[Any], key_of: Callable[[str], bytes]) -> list[bytes | None]:
    """The keys of texts; None where a zero vector is the answer."""
    return [key_of(text) if isinstance(text, str) else None for text in texts]


def steps(inputs: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Yield starts and stops of parts of about `STEP_CHARS` characters."""
    start = num_chars = 0
    for stop, item in enumerate(inputs, 1):
        num_chars += len(item)
        if num_chars >= STEP_CHARS or stop == len(inputs):
            yield start, stop
            start, num_chars = stop, 0


def first_places(lookup: Lookup) -> list[int]:
    """The place of the first text of each key that has no entry."""
    places: dict[bytes, int] = {}
    for place, key in enumerate(lookup.keys):
        if key is not None and key not in lookup.entries:
            places.setdefault(key, place)
    return list(places.values())


def can_be_kept(request: EmbedRequest) -> bool:
    """Whether the cache can answer a request.

    Token ids and vectors of tokens pass it by. So do the rare wishes to cut texts at their start, or to fewer tokens
    than the context has, because keys do not tell them apart.
    """
    if request.per_token or request.truncate_from != "end" or request.max_tokens is not None:
        return False
    return bool(request.inputs) and all(isinstance(item, str) for item in request.inputs)
