"""The levels behind one another: this process, then the store that others share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from farthing.core.sizes import mebibytes
from farthing.serving.cache.entry import MOST_TOKENS
from farthing.serving.cache.memory import MemoryLevel
from farthing.serving.cache.remote import RemoteLevel
from farthing.serving.cache.stats import CacheStats

# While a step to save memory is taken, so much less is held here.
SHORT_OF_MEMORY = 4


class VectorCache:
    """Entries by their keys; one for all models of a process, whose keys differ. `remote` may be None.

    Attributes:
        absent: why the store did not answer when the server started; empty where it did, or nobody has looked.
    """

    def __init__(self, memory: MemoryLevel, remote: RemoteLevel | None = None) -> None:
        self._memory, self._remote = memory, remote
        self.absent = ""

    @property
    def has_store(self) -> bool:
        return self._remote is not None

    def held(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Those that are in this process."""
        return self._memory.get(keys)

    def all_held(self, keys: Collection[bytes]) -> dict[bytes, bytes] | None:
        """All of them, when all are in this process."""
        return self._memory.get_all(keys)

    async def fetch(self, keys: Sequence[bytes], entry_bytes: int, max_tokens: int = MOST_TOKENS) -> dict[bytes, bytes]:
        """Those that the store has, which this process holds from now on. Raises nothing.

        Entries of texts with more than `max_tokens` are nothing that a model wrote.
        """
        found = await self._remote.get(keys, entry_bytes, max_tokens) if self._remote is not None else {}
        self._memory.put(found)
        return found

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Hold them here, and write them to the store in the background."""
        self._memory.put(entries)
        if self._remote is not None:
            self._remote.put(entries)

    def on_memory_step(self, step: int) -> None:
        """As `ServedModel.on_memory_step` tells it; from any thread."""
        self._memory.trim(SHORT_OF_MEMORY if step else 1)

    def in_words(self) -> str:
        """For start-up output."""
        held = f"up to {mebibytes(self._memory.stats().limit_bytes)} in memory"
        if self._remote is None:
            return held
        name = self._remote.stats().name
        if not self.absent:
            return f"{held}, then {name}"
        return f"{held}; {name} does not answer now ({self.absent}) and is tried again while the server runs"

    def stats(self) -> CacheStats:
        return CacheStats(self._memory.stats(), None if self._remote is None else self._remote.stats())

    async def close(self) -> None:
        """Write what waits and disconnect from the store; on the event loop that used it."""
        if self._remote is not None:
            await self._remote.close()
