"""The loop of the bulk job: two chunks on their way, so that one is read or written while the other is computed.

In: rows from a reader. Out: chunks committed to the folder, in order. When a row cannot be embedded or read, what
stands before it is committed first, and the error names its place in the input.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, replace

from farthing.cli.bulk.folder import PartialFolder
from farthing.cli.bulk.pace import Pace
from farthing.cli.bulk.progress import Progress
from farthing.cli.bulk.writer import Writer
from farthing.core.errors import InputError
from farthing.serving.embedder import Embedder
from farthing.serving.request import EmbedRequest, EmbedResult
from farthing.toolkit.records.placed import errors_placed
from farthing.toolkit.records.reader import Reader
from farthing.toolkit.records.rows import Rows

CHUNKS_IN_FLIGHT = 2


@dataclass(frozen=True)
class Running:
    """A chunk whose vectors are being computed."""

    rows: Rows
    task: asyncio.Task[EmbedResult]


class Pipeline:
    """Embeds what `reader` has left. `request` is sent with each chunk's texts as its inputs."""

    def __init__(
        self,
        embedder: Embedder,
        request: EmbedRequest,
        reader: Reader,
        writer: Writer,
        folder: PartialFolder,
        pace: Pace,
        progress: Progress,
    ) -> None:
        self.embedder = embedder
        self.request = request
        self.reader = reader
        self.writer = writer
        self.folder = folder
        self.pace = pace
        self.progress = progress
        self.num_rows = folder.num_rows
        self.last_commit = time.monotonic()

    async def run(self) -> None:
        """Raises `InputError` for the first row that cannot be read or embedded."""
        in_flight: deque[Running] = deque()
        unreadable: InputError | None = None
        try:
            while True:
                try:
                    rows = await asyncio.to_thread(self.reader.take, self.pace.rows)
                except InputError as error:
                    unreadable = error  # raised below, when what stands before it is committed
                    break
                if rows is None:
                    break
                in_flight.append(self.start(rows))
                if len(in_flight) == CHUNKS_IN_FLIGHT:
                    await self.commit(in_flight.popleft())
            while in_flight:
                await self.commit(in_flight.popleft())
        finally:
            for running in in_flight:
                running.task.cancel()
            await asyncio.gather(*(running.task for running in in_flight), return_exceptions=True)
        if unreadable is not None:
            raise unreadable

    def start(self, rows: Rows) -> Running:
        request = replace(self.request, inputs=rows.texts)
        return Running(rows, asyncio.create_task(self.embedder.embed_async(request)))

    async def commit(self, running: Running) -> None:
        rows = running.rows
        with errors_placed(rows.place):
            result = await running.task
        await asyncio.to_thread(
            self.folder.commit,
            self.num_rows,
            rows.identities(),
            lambda path: self.writer.write_chunk(path, rows, result.vectors),
        )
        self.num_rows += len(result.vectors)
        self.progress.add(result, self.reader.estimate_rows())
        now = time.monotonic()
        self.pace.observe(len(result.vectors), now - self.last_commit)
        self.last_commit = now
