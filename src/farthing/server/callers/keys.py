"""API keys: their names, and the limits of each.

In: the settings, and a TOML file with one table per key::

    [search-team]                  # the key's name: letters, digits, and . _ -
    key = "2f9c..."                # the key itself, or
    sha256 = "9b74c9897bac..."     # the SHA-256 of it, in hexadecimal
    requests_per_minute = 600      # in place of the server's own; 0 for no limit
    tokens_per_minute = 100_000

Out: the caller whose key a request sent. Only the digest of a key is kept, and no message repeats a key.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from farthing.core.deferred import dataclass
from farthing.core.errors import SettingsError
from farthing.core.files import user_path
from farthing.core.resolve import read_toml
from farthing.core.settings.access import KEY_RULE, AccessSettings, is_key

logger = logging.getLogger(__name__)

DEFAULT_NAME = "default"  # the name of the key that is given as a setting
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
HEX_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
RATES = ("requests_per_minute", "tokens_per_minute")
FIELDS = ("key", "sha256", *RATES)
SHORT_CHARS = 16


@dataclass(frozen=True)
class Caller:
    """The holder of a key, or an address, for whom rates are counted. A rate of None means no limit."""

    name: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


Keys = dict[bytes, Caller]  # by the SHA-256 of the key


def find_caller(keys: Keys, key: bytes) -> Caller | None:
    """Return the caller to whom `key` belongs.

    The time that this takes says nothing about the keys: the lookup is by digest, and nobody without a key can choose
    digests that come closer and closer to a known one. The digest takes the same time for all keys of a length.
    """
    return keys.get(sha256(key).digest())


def read_keys(settings: AccessSettings) -> Keys:
    """Return all keys of the settings and of their file. Raises `SettingsError`."""
    own = Caller("", settings.requests_per_minute, settings.tokens_per_minute)
    named: list[tuple[str, object]] = []
    if settings.api_key is not None:
        named.append((DEFAULT_NAME, {"key": settings.api_key}))
    if settings.api_keys_file is not None:
        named.extend(read_tables(Path(settings.api_keys_file)))
    keys: Keys = {}
    names: set[str] = set()
    for name, table in named:
        digest, caller = read_key(name, table, own)
        if name in names:
            raise SettingsError(f"There are two API keys of the name {name!r}.", param="api_keys_file")
        if digest in keys:
            raise SettingsError(f"The API keys {keys[digest].name!r} and {name!r} are the same.", param="api_keys_file")
        keys[digest] = caller
        names.add(name)
    return keys


def read_tables(path: Path) -> list[tuple[str, object]]:
    tables = read_toml(user_path(str(path)), "file of API keys")
    if not tables:
        raise SettingsError(f"The file of API keys {path} has no key.", param="api_keys_file")
    return list(tables.items())


def read_key(name: str, table: object, own: Caller) -> tuple[bytes, Caller]:
    """Return the digest and the caller of one table of the file; `own` has the limits that the table does not set."""

    def refuse(what: str) -> SettingsError:
        return SettingsError(f"API key {name!r}: {what}", param="api_keys_file")

    if not NAME.fullmatch(name):
        raise refuse("a name has 1 to 64 letters, digits, and . _ -")
    if not isinstance(table, dict):
        raise refuse(f'it must be a table, [{name}], with key = "..." or sha256 = "..." in it.')
    for field in table:
        if field not in FIELDS:
            raise refuse(f"unknown field {field!r}; known are {', '.join(FIELDS)}.")
    if ("key" in table) == ("sha256" in table):
        raise refuse("it needs either key or sha256.")
    for rate in RATES:
        value = table.get(rate, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise refuse(f"{rate} must be a whole number; 0 for no limit.")
    caller = replace(own, name=name, **{rate: table[rate] or None for rate in RATES if rate in table})
    if "sha256" in table:
        if not isinstance(table["sha256"], str) or not HEX_DIGEST.fullmatch(table["sha256"]):
            raise refuse("sha256 must be 64 hexadecimal digits.")
        return bytes.fromhex(table["sha256"]), caller
    if not isinstance(table["key"], str) or not is_key(table["key"]):
        raise refuse(f"key must be {KEY_RULE}.")
    if len(table["key"]) < SHORT_CHARS:
        logger.warning(
            "The API key %r has fewer than %d characters. Take one that nobody can guess: openssl rand -hex 24",
            name,
            SHORT_CHARS,
        )
    return sha256(table["key"].encode()).digest(), caller
