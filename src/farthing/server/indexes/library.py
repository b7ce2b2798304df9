"""The operations of clients on a server's indexes: make, fill, search, remove.

In: typed requests, and the service whose models make the vectors. Out: typed answers. Everything that blocks is done in
separate threads, with a bounded line of requests before them; changes of one index wait for each other.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, cast
from weakref import WeakValueDictionary

from farthing.core.errors import FarthingError, WrongSpaceError
from farthing.server.indexes.catalogue import Catalogue
from farthing.server.indexes.models import ServedEncoder, ServedRanker, Work
from farthing.server.indexes.workers import Workers
from farthing.toolkit.index.index import IndexInfo, VectorIndex
from farthing.toolkit.index.search import Query, search

if TYPE_CHECKING:
    from farthing.server.models.service import Service
    from farthing.serving.backend import EmbedBackend
    from farthing.toolkit.documents.document import Document
    from farthing.toolkit.index.adding import Added
    from farthing.toolkit.index.result import SearchResult

T = TypeVar("T")

# The threads wait most of their time for a model, or for the disk. A change holds the documents of its request.
SEARCH_THREADS_AND_PLACES = 16, 256
CHANGE_THREADS_AND_PLACES = 8, 64
# How many searches may be at work at once, not counting those that wait for a model.
SEARCHES_AT_ONCE = 4


class Library:
    """The operations on indexes.

    Cancelling a call of a method stops its work. Every method may also raise `QueueFullError`. The constructor raises
    `MissingExtraError` where a package that an index needs is not installed.
    """

    def __init__(self, place: str, service: Service) -> None:
        self._catalogue = Catalogue(place)
        self._service = service
        # Changes have threads of their own, so that searches do not wait for them.
        self._readers = Workers("searches", *SEARCH_THREADS_AND_PLACES)
        self._writers = Workers("changes", *CHANGE_THREADS_AND_PLACES)
        self._turns = threading.Semaphore(SEARCHES_AT_ONCE)
        # Only indexes that are being changed have a lock here: clients may ask for any number of names.
        self._changes: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def close(self) -> None:
        """Stop all work; it ends soon after, and this does not wait for it."""
        self._readers.close()
        self._writers.close()

    def _changing(self, name: str) -> asyncio.Lock:
        return self._changes.setdefault(name, asyncio.Lock())

    async def list(self, work: Work) -> dict[str, IndexInfo | FarthingError]:
        """Return all indexes; for an index that cannot be used, the reason."""
        call = self._readers.thread(lambda: self._catalogue.infos(work.check))
        return await self._readers.run(work, call)

    async def info(self, work: Work, name: str) -> IndexInfo:
        """Return the facts of an index. Raises `IndexNotFoundError`, `VectorIndexError`."""
        return await self._readers.run(work, self._readers.thread(lambda: self._catalogue.open(name).info()))

    async def create(
        self,
        work: Work,
        name: str,
        model: str | None,
        dimensions: int | None,
        max_tokens: int | None,
        overlap_tokens: int | None,
    ) -> IndexInfo:
        """Make an index. Raises what `VectorIndex.create` raises, and what finding the model raises."""
        database = self._catalogue.database(name)

        async def steps() -> IndexInfo:
            encoder = await self._encoder(work, model)

            def make() -> IndexInfo:
                sizes = {"dimensions": dimensions, "max_tokens": max_tokens, "overlap_tokens": overlap_tokens}
                return VectorIndex.create(database, encoder, **sizes).info()

            async with self._changing(name):
                return await self._writers.thread(make)

        return await self._writers.run(work, steps())

    async def add(self, work: Work, name: str, documents: Sequence[Document]) -> Added:
        """Add documents to an index. Raises what `VectorIndex.add` raises."""

        async def steps() -> Added:
            async with self._changing(name):
                index = await self._writers.thread(lambda: self._catalogue.open(name))
                encoder = await self._encoder_of(work, index)
                return await self._writers.thread(lambda: index.add(documents, encoder, on_step=work.check))

        return await self._writers.run(work, steps())

    async def delete(self, work: Work, name: str, documents: Sequence[str]) -> int:
        """Delete documents, and return how many of them there were. Raises `IndexNotFoundError`, `IndexBusyError`."""
        return await self._changed(work, name, lambda: self._catalogue.open(name).delete(documents))

    async def compact(self, work: Work, name: str) -> IndexInfo:
        """Compact an index. Raises `IndexNotFoundError`, `IndexBusyError`."""

        def compact() -> IndexInfo:
            index = self._catalogue.open(name)
            index.compact()
            return index.info()

        return await self._changed(work, name, compact)

    async def remove(self, work: Work, name: str) -> Sequence[str]:
        """Remove an index, and return the names of other files in its folder, which stay.

        Raises `IndexNotFoundError`, `IndexBusyError`.
        """
        return await self._changed(work, name, lambda: self._catalogue.remove(name))

    async def _changed(self, work: Work, name: str, change: Callable[[], T]) -> T:
        async def steps() -> T:
            async with self._changing(name):
                return await self._writers.thread(change)

        return await self._writers.run(work, steps())

    async def search(
        self,
        work: Work,
        name: str,
        query: Query,
        rerank: str | bool,
        write: Callable[[Sequence[SearchResult]], T],
    ) -> T:
        """Return what `write`, called in a thread, makes of the results.

        Raises what `farthing.toolkit.index.search.search` raises.
        """
        ranker = ServedRanker(work, None if rerank is True else rerank) if rerank else None

        async def steps() -> T:
            index = await self._readers.thread(lambda: self._catalogue.open(name))
            encoder = None if query.mode == "keyword" else await self._encoder_of(work, index)

            def answer() -> T:
                with work.computing(self._turns):
                    return write(search(index, query, encoder, ranker, work.check))

            return await self._readers.thread(answer)

        return await self._readers.run(work, steps())

    async def _encoder(self, work: Work, model: str | None) -> ServedEncoder:
        name, backend = await self._service.backend_for(model, "embed")
        return ServedEncoder(work, name, cast("EmbedBackend", backend))

    async def _encoder_of(self, work: Work, index: VectorIndex) -> ServedEncoder:
        """Return the served model whose vectors the index holds: the model of that name, or any that is loaded."""
        manifest = index.manifest
        names = [entry.name for entry in self._service.models.entries if manifest.model in (entry.name, *entry.aliases)]
        names += [entry.name for entry, backend in self._service.loaded if backend.task == "embed"]
        encoders = [await self._encoder(work, name) for name in dict.fromkeys(names)]
        for encoder in encoders:
            if manifest.is_of(encoder.space):
                return encoder
        served = ", ".join(encoder.model for encoder in encoders) or "none"
        raise WrongSpaceError(
            f"The index holds vectors of {manifest.model} (space {manifest.space.id}), and no model of this server "
            f"makes such vectors; it serves {served}. Serve that model too, or move the index to one that is served "
            "with: farthing index reindex"
        )
