"""What clients do with a server's indexes: make, fill, search, remove.

In: typed requests, and the service whose models make the vectors. Out: typed answers. Everything that blocks is done in
threads; changes of one index wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast
from weakref import WeakValueDictionary

from starlette.concurrency import run_in_threadpool

from farthing.core.errors import FarthingError, WrongSpaceError
from farthing.server.indexes.catalogue import Catalogue
from farthing.server.indexes.models import ServedEncoder, ServedRanker, Work
from farthing.toolkit.index.index import IndexInfo, VectorIndex
from farthing.toolkit.index.search import Query, search

if TYPE_CHECKING:
    from farthing.server.service import Service
    from farthing.serving.backend import EmbedBackend
    from farthing.toolkit.documents.document import Document
    from farthing.toolkit.index.adding import Added
    from farthing.toolkit.index.result import SearchResult


class Library:
    """Raises `MissingExtraError` where what an index needs is not installed."""

    def __init__(self, folder: Path, service: Service) -> None:
        self._catalogue = Catalogue(folder)
        self._service = service
        # Only of what is being changed: clients may ask for any number of names.
        self._changes: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def _changing(self, name: str) -> asyncio.Lock:
        return self._changes.setdefault(name, asyncio.Lock())

    async def list(self) -> dict[str, IndexInfo | FarthingError]:
        """All indexes; for those that cannot be used, why."""
        return await run_in_threadpool(self._catalogue.infos)

    async def info(self, name: str) -> IndexInfo:
        """Raises `IndexNotFoundError`, `VectorIndexError`."""
        return await run_in_threadpool(lambda: self._catalogue.open(name).info())

    async def create(
        self,
        work: Work,
        name: str,
        model: str | None,
        dimensions: int | None,
        max_tokens: int | None,
        overlap_tokens: int | None,
    ) -> IndexInfo:
        """Raises what `VectorIndex.create` raises, and what finding the model raises."""
        database = self._catalogue.database(name)
        encoder = await self._encoder(work, model)
        async with self._changing(name):
            made = await run_in_threadpool(
                VectorIndex.create,
                database,
                encoder,
                dimensions=dimensions,
                max_tokens=max_tokens,
                overlap_tokens=overlap_tokens,
            )
        return made.info()

    async def add(self, work: Work, name: str, documents: Sequence[Document]) -> Added:
        """Raises what `VectorIndex.add` raises."""
        async with self._changing(name):
            index = await run_in_threadpool(self._catalogue.open, name)
            encoder = await self._encoder_of(work, index)
            return await run_in_threadpool(index.add, documents, encoder)

    async def delete(self, name: str, documents: Sequence[str]) -> int:
        """How many there were. Raises `IndexNotFoundError`, `IndexBusyError`."""
        async with self._changing(name):
            index = await run_in_threadpool(self._catalogue.open, name)
            return await run_in_threadpool(index.delete, documents)

    async def compact(self, name: str) -> IndexInfo:
        """Raises `IndexNotFoundError`, `IndexBusyError`."""
        async with self._changing(name):
            index = await run_in_threadpool(self._catalogue.open, name)
            await run_in_threadpool(index.compact)
        return await run_in_threadpool(index.info)

    async def remove(self, name: str) -> Sequence[str]:
        """Names of what else is in its folder, and stays. Raises `IndexNotFoundError`, `IndexBusyError`."""
        async with self._changing(name):
            return await run_in_threadpool(self._catalogue.remove, name)

    async def search(self, work: Work, name: str, query: Query, rerank: str | bool) -> Sequence[SearchResult]:
        """Raises what `farthing.toolkit.index.search.search` raises."""
        index = await run_in_threadpool(self._catalogue.open, name)
        encoder = None if query.mode == "keyword" else await self._encoder_of(work, index)
        ranker = ServedRanker(work, None if rerank is True else rerank) if rerank else None
        return await run_in_threadpool(search, index, query, encoder, ranker)

    async def _encoder(self, work: Work, model: str | None) -> ServedEncoder:
        name, backend = await self._service.backend_for(model, "embed")
        return ServedEncoder(work, name, cast("EmbedBackend", backend))

    async def _encoder_of(self, work: Work, index: VectorIndex) -> ServedEncoder:
        """Of the served model whose vectors the index holds: the one of its name, or any that is loaded."""
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
