"""The loop of the bulk job. Two chunks are in flight, so that one is read or written while the other is computed.

In: rows from a reader. Out: chunks committed to the folder in order, each with the reasons why rows have no vector.
In a strict job the first row without a vector ends the job with its error; the rows before it are committed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from farthing.core.deferred import dataclass
from farthing.core.errors import InputError
from farthing.core.space import VectorSpace
from farthing.serving.request import EmbedRequest, EmbedResult
from farthing.toolkit.bulk.folder import PartialFolder
from farthing.toolkit.bulk.progress import Progress
from farthing.toolkit.bulk.writer import Writer
from farthing.toolkit.encoder import AsyncEncoder, check_unchanged
from farthing.toolkit.records.fields import placed_error
from farthing.toolkit.records.reader import Reader
from farthing.toolkit.records.rows import Rows, readable

CHUNKS_IN_FLIGHT = 2
# A chunk is committed every few seconds on any machine.
CHUNK_SECONDS = 5.0
FIRST_ROWS = 16
# A step up is bounded, because the first chunks of a run say little about the rest.
LARGEST_STEP = 4


class ChunkSize:
    """`rows` is the size of the next chunk: `fixed` if given, else what the last chunk suggests, at most `limit`."""

    def __init__(self, fixed: int | None, limit: int) -> None:
        self.fixed = fixed
        self.limit = limit
        self.rows = fixed or min(FIRST_ROWS, limit)

    def observe(self, num_rows: int, seconds: float) -> None:
        """Learn from a chunk of `num_rows` that took `seconds`."""
        if self.fixed is None:
            wanted = round(num_rows * CHUNK_SECONDS / max(seconds, 1e-3))
            self.rows = max(1, min(wanted, self.rows * LARGEST_STEP, self.limit))


@dataclass(frozen=True)
class RunningChunk:
    """A chunk in flight: `task` computes the vectors of its `good` rows, the ones that could be read."""

    rows: Rows
    good: Sequence[int]
    task: asyncio.Task[EmbedResult]


class BulkPipeline:
    """Embeds the rows that `reader` has left. `request` is sent with each chunk's texts as its inputs.

    All vectors are of `space`, however long they are.
    """

    def __init__(
        self,
        encoder: AsyncEncoder,
        space: VectorSpace,
        request: EmbedRequest,
        reader: Reader,
        writer: Writer,
        folder: PartialFolder,
        chunk_size: ChunkSize,
        progress: Progress,
        *,
        strict: bool,
    ) -> None:
        self.encoder = encoder
        self.space = space
        self.request = request
        self.reader = reader
        self.writer = writer
        self.folder = folder
        self.chunk_size = chunk_size
        self.progress = progress
        self.strict = strict
        self.num_rows = folder.num_rows
        self.last_commit = time.monotonic()

    async def run(self) -> None:
        """Embed and commit all rows.

        Raises:
            InputError: in a strict job, for the first row that cannot be read or embedded.
            SpaceChangedError: the encoder has changed its weights.
            EngineError, ServingError: the computation failed.
        """
        in_flight: deque[RunningChunk] = deque()
        try:
            while (rows := await asyncio.to_thread(self.reader.take, self.chunk_size.rows)) is not None:
                in_flight.append(self.start(rows))
                if len(in_flight) == CHUNKS_IN_FLIGHT:
                    await self.commit(in_flight.popleft())
            while in_flight:
                await self.commit(in_flight.popleft())
        finally:
            for running in in_flight:
                running.task.cancel()
            await asyncio.gather(*(running.task for running in in_flight), return_exceptions=True)

    def start(self, rows: Rows) -> RunningChunk:
        good = readable(rows)
        texts = rows.texts
        request = replace(self.request, inputs=[texts[index] for index in good], leaves_out=True)
        return RunningChunk(rows, good, asyncio.create_task(self.encoder.embed_async(request)))

    async def commit(self, running: RunningChunk) -> None:
        rows, good, result = running.rows, running.good, await running.task
        check_unchanged(self.space, result.space)
        lost = dict(rows.errors)
        for index, error in result.errors.items():
            lost[good[index]] = placed_error(error, rows.place(good[index]))
        vectors = result.vectors
        if len(good) < len(rows):
            vectors = np.zeros((len(rows), vectors.shape[1]), dtype=vectors.dtype)
            vectors[good] = result.vectors
        stop = min(lost) if lost and self.strict else len(rows)
        if stop:
            await asyncio.to_thread(self._write, rows, vectors, stop, {} if self.strict else lost)
        if stop < len(rows):
            raise lost[stop]
        self.progress.add(result, len(rows), self.reader.estimate_rows())
        now = time.monotonic()
        self.chunk_size.observe(len(rows), now - self.last_commit)
        self.last_commit = now

    def _write(self, rows: Rows, vectors: np.ndarray, stop: int, lost: Mapping[int, InputError]) -> None:
        """Commit the chunk's rows before `stop`."""
        kept = [index for index in range(stop) if index not in lost]
        part = rows if len(kept) == len(rows) else rows.chosen(kept)

        def write(path: Path) -> None:
            self.writer.write_chunk(path, part, vectors[:stop], kept)

        self.folder.commit(self.num_rows, rows.identities()[:stop], write, lost)
        self.num_rows += stop
