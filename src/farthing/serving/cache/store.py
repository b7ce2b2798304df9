"""What a store that others share has to do, whatever it is.

Its methods raise what its client raises, and take as long as that takes: `farthing.serving.cache.remote` sees to both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

# After which a client gives a connection up. A request has gone on long before (`cache_timeout_ms`).
GIVE_UP_S = 1.0
PREFIX = b"farthing:"


class Store(Protocol):
    @property
    def name(self) -> str:
        """In metrics."""
        ...

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """One value, or None, for each key, in one round trip."""
        ...

    async def set(self, values: Mapping[bytes, bytes]) -> None: ...

    async def close(self) -> None: ...


def name_of(key: bytes) -> bytes:
    """Under which a key is stored: letters that every store takes and people can look for."""
    return PREFIX + key.hex().encode()
