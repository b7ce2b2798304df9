"""Vectors that are kept, so that a text that comes again is not computed again."""

from __future__ import annotations

from urllib.parse import urlsplit

from farthing.core.deferred import dataclass
from farthing.core.errors import SettingsError
from farthing.core.settings.field import Checked, option
from farthing.core.sizes import parse_bytes

REDIS_SCHEMES = ("redis", "rediss", "valkey", "valkeys")
MEMCACHED_SCHEMES = ("memcached",)


@dataclass(frozen=True)
class CacheSettings(Checked):
    """Vectors that a server keeps, so that a text that comes again is not computed again."""

    cache: str = option(
        "memory",
        "Where vectors are kept: in this process (memory), nowhere (off), or in this process and a store that others "
        "share and that outlives it: redis://HOST:PORT/DB, rediss:// with TLS, valkey://, memcached://HOST:PORT.",
    )
    cache_memory: str = option(
        "auto",
        "Memory for vectors in this process. A size such as 256MiB; 0B keeps none here; auto takes 32 MiB or a 64th of "
        "the memory.",
    )
    cache_timeout_ms: float = option(
        20, "Longest time that a request waits for the store; then its texts are computed.", minimum=1, maximum=10_000
    )
    cache_ttl_s: int | None = option(
        None, "Seconds after which the store forgets a vector (default: when it needs the room).", minimum=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cache_memory != "auto" and parse_bytes(self.cache_memory) is None:
            raise SettingsError(
                f"cache_memory is {self.cache_memory!r}; it must be a size such as 256MiB or 0B, or auto",
                param="cache_memory",
            )
        if self.cache not in ("memory", "off"):
            check_url(self.cache)

    @property
    def scheme(self) -> str:
        """The scheme of the store's URL; empty without a store."""
        return urlsplit(self.cache).scheme if "://" in self.cache else ""


def check_url(url: str) -> None:
    """Raise `SettingsError` unless `url` is a store's. The message does not repeat it, since it may hold a password."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in REDIS_SCHEMES + MEMCACHED_SCHEMES and bool(parts.hostname) and parts.port != 0
        is_good = is_good and (parts.scheme in MEMCACHED_SCHEMES or parts.path.strip("/").isdigit() or not parts.path)
    except ValueError:  # a port that is no number
        is_good = False
    if not is_good:
        raise SettingsError(
            "cache must be memory, off, or the URL of a store: redis://HOST:PORT/DB, rediss://, valkey://, valkeys:// "
            "or memcached://HOST:PORT",
            param="cache",
        )
