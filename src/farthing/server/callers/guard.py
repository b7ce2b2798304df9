"""The dependency of every route: it checks that the caller is known, and has requests and tokens left.

In: a request's headers and address. Out: nothing, or a typed error that the route's dialect answers. The guard leaves
what it found out with the request: the key's name for the access line, and `allowance` for
`farthing.server.dialects.answer`.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from typing import Any

from fastapi import Depends
from starlette.datastructures import Headers
from starlette.requests import Request

from farthing.core.errors import AuthenticationError, RateLimitError, SettingsError
from farthing.core.settings import AccessSettings
from farthing.server.callers.forwarded import parse_address
from farthing.server.callers.keys import Caller, find_caller, read_keys
from farthing.server.http.request_record import exchange_of
from farthing.server.limits.rate_counts import RateCounts
from farthing.server.limits.rates import Allowance, format_duration

logger = logging.getLogger(__name__)

# Pages that say what the server is and how to call it. They refer to /openapi.json, which has no dependencies.
ALWAYS_PUBLIC = ("/", "/docs")
READING = ("GET", "HEAD")
UNIX_SOCKET = "unix"  # stands for all callers that come over it, since they have no address


class Guard:
    """Checks the keys and limits of callers. Raises `SettingsError` when a key cannot be read."""

    def __init__(self, settings: AccessSettings) -> None:
        self._settings = settings
        self._keys = read_keys(settings)
        self._public = {
            *ALWAYS_PUBLIC,
            *(["/health"] if settings.public_health else []),
            *(["/metrics"] if settings.public_metrics else []),
        }
        self._is_limited = bool(settings.requests_per_minute or settings.tokens_per_minute or settings.api_keys_file)
        self._counts = RateCounts(settings.rate_limit_storage)

    @property
    def has_keys(self) -> bool:
        return bool(self._keys)

    @property
    def has_limits(self) -> bool:
        """Whether any caller has a limit, or may have one when the keys have been read again."""
        return self._is_limited

    @property
    def has_checks(self) -> bool:
        """Whether any request is checked."""
        return self.has_keys or self.has_limits

    @property
    def dependencies(self) -> list[Any]:
        """The dependencies of the application: none where there is nothing to check, so that it costs nothing."""
        return [Depends(self.check)] if self.has_checks else []

    def is_public(self, method: str, path: str) -> bool:
        """Return whether anybody may ask for `path` as often as they like. Only reading is public: POST / is work."""
        return method in READING and path in self._public

    async def check(self, request: Request) -> None:
        """Check the request's caller. Raises `AuthenticationError` and `RateLimitError`."""
        if self.is_public(request.scope["method"], request.scope["path"]):
            return
        state = request.scope["state"]
        if self._keys:
            caller = await self._authenticate(request)
            exchange_of(request).note(key=caller.name)
        else:
            caller = self._anybody(address_of(request))
        if caller.requests_per_minute or caller.tokens_per_minute:
            allowance = Allowance(self._counts, caller)
            state["allowance"] = allowance
            await allowance.admit()

    def reload(self) -> None:
        """Read the file of keys again, if there is one. The old keys stay in force when it cannot be read."""
        if self._settings.api_keys_file is None:
            logger.info("There is no file of API keys to read again (--api-keys-file)")
            return
        try:
            self._keys = read_keys(self._settings)
        except SettingsError as error:
            logger.error("The API keys stay as they were: %s", error)
        else:
            logger.info("Read %d API keys", len(self._keys))

    async def close(self) -> None:
        await self._counts.close()

    async def _authenticate(self, request: Request) -> Caller:
        sent = sent_keys(request.headers)
        for key in sent:
            caller = find_caller(self._keys, key.encode("latin-1"))
            if caller is not None:
                return caller
        if sent:
            await self._count_wrong_key(address_of(request))
        raise AuthenticationError(
            ("This server does not know the API key that was sent. " if sent else "No API key was sent. ")
            + "Send one as 'Authorization: Bearer KEY' or 'x-api-key: KEY'."
        )

    async def _count_wrong_key(self, address: str) -> None:
        """Count a wrong key, and raise `RateLimitError` for an address that has sent too many.

        A known key is never held back by this, since many callers may share an address. What protects keys from being
        guessed is their length; this count makes guessing slow, and the log tells of it.
        """
        limit = self._settings.wrong_keys_per_minute
        is_counted, spent = await self._counts.spend(f"wrong-keys/{address}", limit, 1)
        if not is_counted:
            wait_s = spent.wait_s(limit - 1)
            raise RateLimitError(
                f"This server does not know the API key that was sent, and {limit} others like it came from this "
                f"address within a minute. Try again in {format_duration(wait_s)}; a known key is answered at once.",
                retry_after_s=wait_s,
            )
        if spent.amount > limit - 1:
            logger.warning("%d unknown API keys came from %s within a minute; further ones get 429", limit, address)

    def _anybody(self, address: str) -> Caller:
        return Caller(address, self._settings.requests_per_minute, self._settings.tokens_per_minute)


async def reserve_tokens(request: Request, estimate: Callable[[], int]) -> None:
    """Reserve the estimated tokens of a request before they are computed.

    Without this call only the tokens of its body are reserved, which are too few where a text of the body is computed
    several times. Raises `RateLimitError` when other requests of the caller have used up the limit.
    """
    allowance = request.scope["state"].get("allowance")
    if allowance is not None and allowance.limits_tokens:
        await allowance.reserve(estimate())


def keep_reservation(request: Request) -> None:
    """Make the caller pay at least what was reserved, because the request fails after a part of it was computed."""
    allowance = request.scope["state"].get("allowance")
    if allowance is not None:
        allowance.keep()


async def charge_tokens(request: Request, num_tokens: int) -> None:
    """Charge the caller `num_tokens`, where there are limits; they are paid when the answer begins."""
    allowance = request.scope["state"].get("allowance")
    if allowance is not None:
        allowance.charge(num_tokens)


def sent_keys(headers: Headers) -> list[str]:
    """Return the keys that a request sent, in either header. Both count, since a client that lets its user set one
    header may still send a placeholder in the other."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    candidates = (token.strip() if scheme.lower() == "bearer" else "", headers.get("x-api-key", ""))
    return [key for key in candidates if key]


def address_of(request: Request) -> str:
    """Return the address of the caller; for IPv6 its network of 64 bits, since one customer has all of that network."""
    address = parse_address(request.client.host) if request.client is not None else None
    if address is None:
        return UNIX_SOCKET
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)
