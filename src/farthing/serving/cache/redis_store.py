"""Redis and Valkey, through redis-py: one MGET for all that is asked, one pipeline of SETs for all that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from farthing.core.errors import MissingExtraError
from farthing.serving.cache.store import GIVE_UP_S, name_of

try:
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ModuleNotFoundError as error:
    raise MissingExtraError("A cache in Redis or Valkey", "redis") from error

MAX_CONNECTIONS = 8


class RedisStore:
    """
    Args:
        url: redis:// or rediss://, valkey:// or valkeys://; redis-py's own parameters may follow (?ssl_ca_certs=...).
        ttl_s: seconds after which entries go; with None they go when Redis needs the room (its `maxmemory-policy`).
    """

    name = "redis"

    def __init__(self, url: str, ttl_s: int | None) -> None:
        if url.startswith("valkey"):
            url = "redis" + url[len("valkey") :]
        # No retries: a caller does not have the time to wait for them.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=GIVE_UP_S,
            socket_timeout=GIVE_UP_S,
            socket_connect_timeout=GIVE_UP_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._client = Redis.from_pool(pool)
        self._ttl_s = ttl_s

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        found = await self._client.mget([name_of(key) for key in keys])
        if not isinstance(found, list):
            raise TypeError(f"MGET was answered with {type(found).__name__}, not a list")
        return [value if isinstance(value, bytes) else None for value in found]

    async def set(self, values: Mapping[bytes, bytes]) -> None:
        async with self._client.pipeline(transaction=False) as pipeline:
            for key, value in values.items():
                pipeline.set(name_of(key), value, ex=self._ttl_s)
            answers = await pipeline.execute()
        if not all(answer is True for answer in answers):
            raise TypeError("SET was answered with something else than OK")

    async def close(self) -> None:
        await self._client.aclose()
