"""Memcached, through emcache, the one asyncio client for it that is kept up: one get for all that is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

from farthing.core.errors import MissingExtraError
from farthing.serving.cache.store import GIVE_UP_S, name_of

try:
    from emcache import Client, MemcachedHostAddress, create_client
except ModuleNotFoundError as error:
    raise MissingExtraError("A cache in Memcached", "memcached") from error

DEFAULT_PORT = 11211
MAX_CONNECTIONS = 8
# Memcached takes larger numbers of seconds for a date (its protocol.txt, "Expiration times").
LONGEST_TTL_S = 30 * 24 * 3600


class MemcachedStore:
    """
    Args:
        url: memcached://HOST:PORT, with USER:PASSWORD@ where the server asks for them.
        ttl_s: seconds after which entries go; with None they go when Memcached needs the room.
    """

    name = "memcached"

    def __init__(self, url: str, ttl_s: int | None) -> None:
        self._url, self._ttl_s = urlsplit(url), ttl_s
        self._client: Client | None = None

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        client = await self._connected()
        found = await client.get_many([name_of(key) for key in keys])
        items = (found.get(name_of(key)) for key in keys)
        return [None if item is None else item.value for item in items]

    async def set(self, values: Mapping[bytes, bytes]) -> None:
        client = await self._connected()
        await asyncio.gather(
            *(client.set(name_of(key), value, exptime=self._expiry()) for key, value in values.items())
        )

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _connected(self) -> Client:
        """The client. It is made when it is first used, because it belongs to the event loop that it is made on."""
        if self._client is None:
            username, password = self._url.username, self._url.password
            self._client = await create_client(
                [MemcachedHostAddress(self._url.hostname or "localhost", self._url.port or DEFAULT_PORT)],
                timeout=GIVE_UP_S,
                connection_timeout=GIVE_UP_S,
                max_connections=MAX_CONNECTIONS,
                username=unquote(username) if username else None,
                password=unquote(password) if password else None,
            )
        return self._client

    def _expiry(self) -> int:
        if self._ttl_s is None:
            return 0
        return self._ttl_s if self._ttl_s <= LONGEST_TTL_S else int(time.time()) + self._ttl_s
