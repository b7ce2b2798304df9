"""One upstream of a pool: whether it is used, what it has to do, and what became of its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from farthing.upstream.attempt import AttemptFailedError
from farthing.upstream.client import UpstreamClient

T = TypeVar("T")

MAX_FAILURES = 3  # in a row, so that one text that every upstream fails at takes none of them out
MAX_REST_S = 60.0


@dataclass(frozen=True)
class UpstreamState:
    """A snapshot for metrics. `reason` says why it is not used; the counters only ever grow."""

    url: str
    is_up: bool
    reason: str
    running_requests: int
    requests_total: int
    failures_total: int


class Member:
    """
    Attributes:
        is_up: whether it is used.
        down_at: when it was left out last, in the loop's time.
        rested_at: when it can be asked again after it had too much to do.
        weight: characters that it is computing.
        is_suspect: it failed since it last computed the probe, at `probed_at`; another model may run there now.
        needs_probe: set when it becomes suspect.
    """

    def __init__(self, client: UpstreamClient) -> None:
        self.client = client
        self.is_up, self.reason = False, "has not been asked yet"
        self.is_suspect, self.probed_at = True, float("-inf")
        self.needs_probe = asyncio.Event()
        self.down_at = self.rested_at = float("-inf")
        self.weight = self.num_running = self.num_requests = self.num_failures = 0
        self._failures_in_a_row = 0

    @property
    def name(self) -> str:
        return self.client.name

    async def run(self, call: Callable[[UpstreamClient], Awaitable[T]], weight: int) -> T:
        """Raises what `call` raises."""
        self.weight += weight
        self.num_running += 1
        self.num_requests += 1
        try:
            result = await call(self.client)
        finally:
            self.weight -= weight
            self.num_running -= 1
        self._failures_in_a_row = 0
        return result

    def rest(self, seconds: float) -> None:
        """Ask it nothing for so long."""
        self.rested_at = asyncio.get_running_loop().time() + min(seconds, MAX_REST_S)

    def fail(self, error: AttemptFailedError) -> bool:
        """Count a failure. True when it is left out because of it."""
        self.num_failures += 1
        self.is_suspect = True
        self.needs_probe.set()
        self._failures_in_a_row += 1
        if not self.is_up or not (error.is_gone or self._failures_in_a_row >= MAX_FAILURES):
            return False
        self.go_down(error.reason)
        return True

    def go_down(self, reason: str) -> None:
        if self.is_up:
            self.down_at = asyncio.get_running_loop().time()
        self.is_up, self.is_suspect, self.reason = False, True, reason
        self.needs_probe.set()

    def passed(self) -> None:
        """It computed the probe as it should."""
        self.is_suspect, self.probed_at = False, asyncio.get_running_loop().time()

    def come_up(self) -> None:
        self.is_up, self.reason = True, ""
        self._failures_in_a_row = 0

    def state(self) -> UpstreamState:
        return UpstreamState(self.name, self.is_up, self.reason, self.num_running, self.num_requests, self.num_failures)
