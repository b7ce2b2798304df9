"""Limits on how many requests and tokens a caller may use per minute.

In: callers with their limits. Out: a `RateLimitError` for a caller that has used up a limit, and what is left, for the
headers that OpenAI's API has. `farthing.server.limits.rate_counts` says how a minute is counted.

A request is counted when it arrives. Its tokens are known only when it has been answered. So an estimate of them is
taken before any work begins, as long as any tokens are left, and the difference to the true number is paid or given
back at the end: requests that arrive at once cannot all be let in for the same tokens. All tokens count, cached or not,
so that the same request always costs the same.
"""

from __future__ import annotations

import math
from typing import Final

from farthing.core.errors import RateLimitError
from farthing.server.callers.keys import Caller
from farthing.server.limits.rate_counts import ANY_AMOUNT, RateCounts, Spent

JUST_BELOW = 0.01  # requests or tokens below a limit


class Rate:
    """One limit of one caller; `what` is "requests" or "tokens"."""

    def __init__(self, counts: RateCounts, caller: str, what: str, limit: int) -> None:
        self._counts: Final = counts
        self._key = f"{what}/{caller}"
        self.what = what
        self.limit = limit
        self.spent: Spent | None = None  # as of the last answer of the counts

    async def take(self, amount: int, *, own: int = 0) -> bool:
        """Spend `amount`, if any of the limit is left; what this request has already spent, `own`, does not count."""
        is_taken, self.spent = await self._counts.spend(self._key, self.limit, amount, own=own)
        return is_taken

    async def pay(self, amount: int) -> None:
        """Spend `amount` even beyond the limit, or give it back where it is negative."""
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
    """The limits of a request's caller, and what this request has spent of them."""

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
        """Count the request. Raises `RateLimitError`; a request that is refused is not counted."""
        if self._tokens is not None and not await self._tokens.take(0):
            raise self._tokens.refusal()
        if self._requests is not None and not await self._requests.take(1):
            raise self._requests.refusal()

    async def reserve(self, num_tokens: int) -> None:
        """Reserve `num_tokens` in all, unless other requests have used up the limit meanwhile.

        What was reserved before is a part of `num_tokens`. Raises `RateLimitError`; then the request costs nothing.
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
        """Add `num_tokens` to what the request has cost."""
        self._used += num_tokens

    def keep(self) -> None:
        """Note that an unknown part of the request was computed: the request then costs at least what was reserved."""
        self._keeps = True

    async def settle(self, *, is_known: bool) -> None:
        """Pay what the request has cost in place of what was reserved for it. Only the first call counts.

        Where the cost is not known, since the work was given up halfway, the request pays at least what was reserved.
        """
        if self._tokens is None or self._is_settled:
            return
        self._is_settled = True
        owed = self._used if is_known and not self._keeps else max(self._used, self._reserved)
        if owed != self._reserved:
            await self._tokens.pay(owed - self._reserved)

    def headers(self) -> dict[str, str]:
        """Return the headers that say what is left, under the names that OpenAI's API has."""
        rates = (rate for rate in (self._requests, self._tokens) if rate is not None)
        return {name: value for rate in rates for name, value in rate.headers().items()}


def format_duration(seconds: float) -> str:
    """Return a duration as OpenAI writes it: 120ms, 8.64s, 1m30s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{math.ceil(seconds * 100) / 100:g}s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s"
