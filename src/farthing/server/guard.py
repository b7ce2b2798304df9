"""The dependency of every route: is this caller known, and has it requests and tokens left?

In: a request's headers and address. Out: nothing, or a typed error that the route's dialect answers. What it found out
is left with the request: the key's name for the access line, `allowance` for `farthing.server.work`.
"""

from __future__ import annotations

import ipaddress
import logging
from typing import Any

from fastapi import Depends
from starlette.datastructures import Headers
from starlette.requests import Request

from farthing.core.errors import AuthenticationError, SettingsError
from farthing.core.settings import AccessSettings
from farthing.server.exchange import exchange_of
from farthing.server.keys import Caller, find_caller, read_keys
from farthing.server.rate_counts import RateCounts
from farthing.server.rate_limits import Allowance

logger = logging.getLogger(__name__)

# Pages that say what the server is and how to call it. /openapi.json, which they refer to, has no dependencies.
ALWAYS_PUBLIC = ("/", "/docs")
READING = ("GET", "HEAD")
MAX_NAME = 64
UNIX_SOCKET = "unix"  # all who come over it without an address


class Guard:
    """Raises `SettingsError` when a key cannot be read."""

    def __init__(self, settings: AccessSettings) -> None:
        self._settings = settings
        self._keys = read_keys(settings)
        self._public = {
            *ALWAYS_PUBLIC,
            *(["/health"] if settings.public_health else []),
            *(["/metrics"] if settings.public_metrics else []),
        }
        is_limited = settings.requests_per_minute or settings.tokens_per_minute or settings.api_keys_file
        self._counts = RateCounts(settings.rate_limit_storage) if is_limited else None

    @property
    def has_keys(self) -> bool:
        return bool(self._keys)

    @property
    def has_limits(self) -> bool:
        """Whether any caller has a limit, or may have one when the keys are read again."""
        return self._counts is not None

    @property
    def dependencies(self) -> list[Any]:
        """Of the application: none where there is nothing to check, so that it costs nothing."""
        return [Depends(self.check)] if self._keys or self._counts is not None else []

    def is_public(self, method: str, path: str) -> bool:
        """Whether anybody may ask for `path` as often as they like. Pages alone: POST / is work."""
        return method in READING and path in self._public

    async def check(self, request: Request) -> None:
        """Raises `AuthenticationError` and `RateLimitError`."""
        if self.is_public(request.scope["method"], request.scope["path"]):
            return
        state = request.scope["state"]
        if self._keys:
            caller = self._authenticate(request.headers)
            exchange_of(request).note(key=caller.name)
        else:
            caller = self._anybody(address_of(request))
        if self._counts is not None and (caller.requests_per_minute or caller.tokens_per_minute):
            allowance = Allowance(self._counts, caller)
            state["allowance"] = allowance
            await allowance.admit()

    def reload(self) -> None:
        """Read the file of keys again; what it was stays in force when it cannot be read."""
        try:
            self._keys = read_keys(self._settings)
        except SettingsError as error:
            logger.error("The API keys stay as they were: %s", error)
        else:
            logger.info("Read %d API keys", len(self._keys))

    async def close(self) -> None:
        if self._counts is not None:
            await self._counts.close()

    def _authenticate(self, headers: Headers) -> Caller:
        sent = False
        for key in sent_keys(headers):
            sent = True
            caller = find_caller(self._keys, key.encode("latin-1"))
            if caller is not None:
                return caller
        raise AuthenticationError(
            ("This server does not know the API key that was sent. " if sent else "No API key was sent. ")
            + "Send one as 'Authorization: Bearer KEY' or 'x-api-key: KEY'."
        )

    def _anybody(self, address: str) -> Caller:
        return Caller(address, self._settings.requests_per_minute, self._settings.tokens_per_minute)


async def charge_tokens(request: Request, num_tokens: int) -> None:
    """Have the request's caller pay, where there are limits."""
    allowance = request.scope["state"].get("allowance")
    if allowance is not None:
        await allowance.charge(num_tokens)


def sent_keys(headers: Headers) -> list[str]:
    """Clients that let one set a header still send a placeholder as the other, so that both count."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    candidates = (token.strip() if scheme.lower() == "bearer" else "", headers.get("x-api-key", ""))
    return [key for key in candidates if key]


def address_of(request: Request) -> str:
    """Where the request came from; of IPv6 the network of 64 bits, since a single customer has all of one."""
    if request.client is None or not request.client.host:
        return UNIX_SOCKET
    host = request.client.host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # what a proxy forwarded need not be an address
        return host[:MAX_NAME]
    return str(ipaddress.ip_network((int(address), 64), strict=False)) if address.version == 6 else host
