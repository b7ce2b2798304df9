"""How many requests and tokens a minute a caller may have.

In: callers with their limits. Out: a `RateLimitError` for who has used them up, and what is left, for the headers that
OpenAI's API has. A minute slides: what was spent in the running window counts in full, and of the window before it the
part that still lies within the last 60 seconds (`limits`' sliding window counter).

A request is counted when it comes. Its tokens are known only when it has been tokenised: it is let in while any are
left, and pays when it has been answered, if need be with tokens of the time to come. All tokens count, cached or not,
so that the same request always costs the same; one that fails costs none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from farthing.core.errors import RateLimitError
from farthing.server.keys import Caller
from farthing.server.rate_counts import WINDOW_S, RateCounts

NO_LIMIT = 2**62
JUST_BELOW = 0.01  # of a limit


@dataclass(frozen=True)
class Spent:
    """Counts of two windows, and how long they still count; the running one counts in full, then fades for a window."""

    previous: int
    previous_ttl_s: float
    current: int
    current_ttl_s: float

    @property
    def amount(self) -> float:
        return self.previous * self.previous_ttl_s / WINDOW_S + self.current

    def wait_s(self, most: float) -> float:
        """Seconds until no more than `most` counts, if nothing more is spent."""
        if self.amount <= most:
            return 0.0
        if self.current <= most:
            return self.previous_ttl_s - (most - self.current) * WINDOW_S / self.previous
        return max(self.current_ttl_s - most * WINDOW_S / self.current, 0.0)


class Rate:
    """One limit of one caller; `what` is requests or tokens."""

    def __init__(self, counts: RateCounts, caller: str, what: str, limit: int) -> None:
        self._counts: Final = counts
        self._key = f"{what}/{caller}"
        self.what = what
        self.limit = limit
        self.spent: Spent | None = None  # when it was last read

    async def read(self) -> Spent:
        self.spent = Spent(*await self._counts.read(self._key))
        return self.spent

    async def take(self, amount: int, limit: int) -> bool:
        """Spend `amount` unless more than `limit` would be spent then."""
        taken = await self._counts.take(self._key, limit, amount)
        await self.read()
        return taken

    def refusal(self) -> RateLimitError:
        assert self.spent is not None
        wait_s = self.spent.wait_s(self.limit - JUST_BELOW)
        return RateLimitError(
            f"The limit of {self.limit} {self.what} a minute is used up. Try again in {format_duration(wait_s)}.",
            retry_after_s=wait_s,
        )

    def headers(self) -> dict[str, str]:
        if self.spent is None:
            return {}
        return {
            f"x-ratelimit-limit-{self.what}": str(self.limit),
            f"x-ratelimit-remaining-{self.what}": str(max(self.limit - math.floor(self.spent.amount), 0)),
            f"x-ratelimit-reset-{self.what}": format_duration(self.spent.wait_s(0)),
        }


class Allowance:
    """The limits of one request's caller."""

    def __init__(self, counts: RateCounts, caller: Caller) -> None:
        requests, tokens = caller.requests_per_minute, caller.tokens_per_minute
        self._requests = Rate(counts, caller.name, "requests", requests) if requests else None
        self._tokens = Rate(counts, caller.name, "tokens", tokens) if tokens else None

    async def admit(self) -> None:
        """Count the request. Raises `RateLimitError`; who is refused is not counted."""
        if self._tokens is not None:
            spent = await self._tokens.read()
            if spent.amount >= self._tokens.limit:
                raise self._tokens.refusal()
        if self._requests is not None and not await self._requests.take(1, self._requests.limit):
            raise self._requests.refusal()

    async def charge(self, num_tokens: int) -> None:
        """Count the tokens of the request."""
        if self._tokens is not None and num_tokens:
            await self._tokens.take(num_tokens, NO_LIMIT)

    def headers(self) -> dict[str, str]:
        """What is left, under the names that OpenAI's API has."""
        rates = (rate for rate in (self._requests, self._tokens) if rate is not None)
        return {name: value for rate in rates for name, value in rate.headers().items()}


def format_duration(seconds: float) -> str:
    """As OpenAI writes it: 120ms, 8.64s, 1m30s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{math.ceil(seconds * 100) / 100:g}s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s"
