"""Several upstreams that compute the same model: which one is asked, which one next, and which is left out for now.

In: calls to make, each with its weight in characters. Out: what one of the upstreams answers. A request to embed or to
score changes nothing where it is computed. When an upstream fails, also in the middle of its answer, the request is
therefore simply sent to another one. An upstream that cannot be reached, does not answer, or fails several times in a
row is left out. Each upstream is watched by a task of its own, which lets it in (again) when it computes the probe as
the others do.

All of this runs on one event loop; only `states` may be read from other threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from farthing.core.deferred import dataclass
from farthing.core.errors import (
    NoUpstreamError,
    ServingError,
    UpstreamBusyError,
    UpstreamFailedError,
    UpstreamInputError,
)
from farthing.core.waiting import within
from farthing.upstream.answer import AttemptBusyError, AttemptFailedError
from farthing.upstream.client import UpstreamClient

logger = logging.getLogger(__name__)
T = TypeVar("T")
Call = Callable[[UpstreamClient], Awaitable[T]]
HEALTH_INTERVAL_S, PROBE_INTERVAL_S = 5.0, 60.0  # between looks at an upstream that has nothing to do
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0  # between probes of an upstream that is left out
FIRST_RETRY_S, LONGEST_RETRY_S = 0.05, 1.0  # before the same upstream is asked again
PATIENCE_S = 2.0  # that a request waits for an upstream to come back, or to have rested
MAX_FAILURES = 3  # in a row, so that one text that every upstream fails at takes none of them out
MAX_REST_S = 60.0


@dataclass(frozen=True)
class UpstreamState:
    """A snapshot for metrics. `reason` says why the upstream is not used; the counters only ever grow."""

    url: str
    is_up: bool
    reason: str
    running_requests: int
    requests_total: int
    failures_total: int


class Member:
    """One upstream of a pool.

    Attributes:
        is_up: whether it is used.
        down_at: when it was left out last, in the loop's time.
        rested_at: when it can be asked again after it had too much to do.
        weight: characters that it is computing.
        is_suspect: whether it failed since it last computed the probe, at `probed_at`; another model may run there now.
        needs_probe: is set when it becomes suspect.
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
        """Make a call to this upstream. Raises what `call` raises."""
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
        """Ask this upstream nothing for that many seconds."""
        self.rested_at = asyncio.get_running_loop().time() + min(seconds, MAX_REST_S)

    def fail(self, error: AttemptFailedError) -> bool:
        """Count a failure, and return whether the upstream is left out because of it."""
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
        """Note that the upstream computed the probe as it should."""
        self.is_suspect, self.probed_at = False, asyncio.get_running_loop().time()

    def come_up(self) -> None:
        self.is_up, self.reason = True, ""
        self._failures_in_a_row = 0

    def state(self) -> UpstreamState:
        return UpstreamState(self.name, self.is_up, self.reason, self.num_running, self.num_requests, self.num_failures)


class Pool:
    """
    Args:
        admit: raises when an upstream does not compute the model as the others do.
        max_running: most requests at once, times the number of upstreams; further requests wait.
    """

    def __init__(self, clients: Sequence[UpstreamClient], admit: Call[None], max_running: int) -> None:
        self._members = [Member(client) for client in clients]
        self._admit = admit
        self._turns = asyncio.Semaphore(max_running * len(clients))
        self._change = asyncio.Event()
        self._watchers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to watch the upstreams. It must be called on the loop."""
        self._watchers = [asyncio.create_task(self._watch(member)) for member in self._members]

    async def close(self) -> None:
        for task in self._watchers:
            task.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)

    def states(self) -> tuple[UpstreamState, ...]:
        return tuple(member.state() for member in self._members)

    @property
    def is_usable(self) -> bool:
        return any(member.is_up for member in self._members)

    async def wait_usable(self, timeout_s: float) -> bool:
        """Whether an upstream can be used, now or within that time."""
        with suppress(asyncio.TimeoutError):
            while not self.is_usable:
                await within(timeout_s, self._change.wait())
        return self.is_usable

    async def run(self, call: Call[T], weight: int) -> T:
        """What `call` returns with an upstream that can answer it.

        Raises:
            UpstreamInputError: the upstream refuses what is sent.
            NoUpstreamError, UpstreamBusyError, UpstreamFailedError: no upstream can answer.
        """
        async with self._turns:
            tried: list[Member] = []
            failure: ServingError | None = None
            for _ in range(len(self._members) + 2):
                member = await self._choose(tried)
                try:
                    return await member.run(call, weight)
                except AttemptBusyError as error:
                    member.rest(error.rest_s)
                    failure = UpstreamBusyError("The servers that compute this model have too much to do. Try again.")
                except AttemptFailedError as error:
                    if member.fail(error):
                        logger.warning("Upstream %s is left out: it %s", member.name, error.reason)
                    failure = UpstreamFailedError(f"The server that computes this model {error.reason}.")
                tried.append(member)
            assert failure is not None
            raise failure

    async def _choose(self, tried: Sequence[Member]) -> Member:
        """The usable upstream that has least to do, among those that were not tried if there are any."""
        now = asyncio.get_running_loop().time
        give_up_at = now() + PATIENCE_S
        while True:
            usable = [member for member in self._members if member.is_up and member.rested_at <= now()]
            if usable:
                chosen = min(usable, key=lambda member: (tried.count(member), member.weight, member.num_requests))
                times = tried.count(chosen)
                if times:
                    await asyncio.sleep(min(FIRST_RETRY_S * 2**times, LONGEST_RETRY_S))
                return chosen
            wait_s = self._worth_waiting_until() - now()
            if wait_s <= 0 or now() + wait_s > give_up_at:
                raise self._nobody()
            with suppress(asyncio.TimeoutError):
                await within(wait_s, self._change.wait())

    def _worth_waiting_until(self) -> float:
        """When the first upstream has rested; with none up, how long one that was just left out may yet come back."""
        if self.is_usable:
            return min(member.rested_at for member in self._members if member.is_up)
        return max(member.down_at for member in self._members) + PATIENCE_S

    def _nobody(self) -> ServingError:
        if self.is_usable:
            return UpstreamBusyError("The servers that compute this model have too much to do. Try again later.")
        count = len(self._members)
        which = "The server that computes this model" if count == 1 else f"None of the {count} servers of this model"
        return NoUpstreamError(f"{which} can{'not' if count == 1 else ''} be used now; this server's log says why.")

    async def _watch(self, member: Member) -> None:
        pause_s, known = FIRST_PAUSE_S, ""
        while True:
            member.needs_probe.clear()
            problem = await self._problem(member)
            if problem is None:
                if not member.is_up:
                    logger.info("Upstream %s is used", member.name)
                    member.come_up()
                    self._change.set()
                    self._change.clear()
                pause_s, known = FIRST_PAUSE_S, ""
                with suppress(asyncio.TimeoutError):
                    await within(HEALTH_INTERVAL_S, member.needs_probe.wait())
                continue
            member.go_down(problem)
            if problem != known:
                logger.warning("Upstream %s is not used: it %s", member.name, problem)
            known = problem
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _problem(self, member: Member) -> str | None:
        """What keeps an upstream from being used, or None.

        It has to compute the probe when it is new or has failed, and now and then. Otherwise it is only asked whether
        it is there, and not even that while it is at work.
        """
        age_s = asyncio.get_running_loop().time() - member.probed_at
        try:
            if member.is_suspect or (age_s > PROBE_INTERVAL_S and not member.num_running):
                await self._admit(member.client)
                member.passed()
            elif not member.num_running:
                await member.client.check_alive()
        except AttemptFailedError as error:
            return f"{error.reason}{f' ({error.detail})' if error.detail else ''}"
        except AttemptBusyError as error:
            return str(error) if not member.is_up else None
        except UpstreamInputError as error:
            return f"refused the probe: {error}"
        return None
