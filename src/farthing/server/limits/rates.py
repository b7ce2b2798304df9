"""How many requests and tokens a minute a caller may have.

In: callers with their limits. Out: a `RateLimitError` for who has used them up, and what is left, for the headers that
OpenAI's API has. How a minute counts is in `farthing.server.limits.rate_counts`.

A request is counted when it comes. Its tokens are known only when it has been answered. So an estimate of them is taken
before any work, while any tokens are left, and the difference to the true number is paid or given back at the end:
requests that come at once cannot all be let in for the same tokens. All tokens count, cached or not, so that the same
request always costs the same.
"""

from __future__ import annotations

import math
from typing import Final

from farthing.core.errors import RateLimitError
from farthing.server.callers.keys import Caller
from farthing.server.limits.rate_counts import ANY_AMOUNT, RateCounts, Spent

JUST_BELOW = 0.01  # of a limit


class Rate:
    """One limit of one caller; `what` is requests or tokens."""

    def __init__(self, counts: RateCounts, caller: str, what: str, limit: int) -> None:
        self._counts: Final = counts
        self._key = f"{what}/{caller}"
        self.what = what
        self.limit = limit
        self.spent: Spent | None = None  # when it was last read

    async def take(self, amount: int, *, own: int = 0) -> bool:
        """Spend `amount`, if any of the limit is left; of what was spent, `own` is this request's."""
        is_taken, self.spent = await self._counts.spend(self._key, self.limit, amount, own=own)
        return is_taken

    async def pay(self, amount: int) -> None:
        """Spend `amount` in any case, or give it back where it is negative."""
        await self.take(amount, own=ANY_AMOUNT)

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
    """The limits of one request's caller, and what this request has spent of them."""

    def __init__(self, counts: RateCounts, caller: Caller) -> None:
        requests, tokens = caller.requests_per_minute, caller.tokens_per_minute
        self._requests = Rate(counts, caller.name, "requests", requests) if requests else None
        self._tokens = Rate(counts, caller.name, "tokens", tokens) if tokens else None
        self._reserved = self._used = 0  # tokens
        self._is_settled = self._keeps = False

    @property
    def limits_tokens(self) -> bool:
        return self._tokens is not None

    async def admit(self) -> None:
        """Count the request. Raises `RateLimitError`; who is refused is not counted."""
        if self._tokens is not None and not await self._tokens.take(0):
            raise self._tokens.refusal()
        if self._requests is not None and not await self._requests.take(1):
            raise self._requests.refusal()

    async def reserve(self, num_tokens: int) -> None:
        """Take so many tokens, those among them that were reserved before, unless others have used all up meanwhile.

        Raises `RateLimitError`; then the request costs nothing.
        """
        more = num_tokens - self._reserved
        if self._tokens is None or self._is_settled or more <= 0:
            return
        if await self._tokens.take(more, own=self._reserved):
            self._reserved = num_tokens
            return
        await self.settle(is_known=True)
        if self._requests is not None:
            await self._requests.pay(-1)
        raise self._tokens.refusal()

    def charge(self, num_tokens: int) -> None:
        """The request has cost so many tokens more."""
        self._used += num_tokens

    def keep(self) -> None:
        """Something of the request was computed and nobody knows how much: it costs no less than was reserved."""
        self._keeps = True

    async def settle(self, *, is_known: bool) -> None:
        """Pay what the request has cost in place of what was reserved for it, once.

        Where that is not known, since the work was given up in its middle, what was reserved is the least.
        """
        if self._tokens is None or self._is_settled:
            return
        self._is_settled = True
        owed = self._used if is_known and not self._keeps else max(self._used, self._reserved)
        if owed != self._reserved:
            await self._tokens.pay(owed - self._reserved)

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
