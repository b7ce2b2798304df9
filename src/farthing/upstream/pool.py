"""Several upstreams that compute the same model: who is asked, who is asked next, and who is left out for now.

In: calls to make, each with its weight in characters. Out: what one of the upstreams answers. A request to embed or to
score changes nothing where it is computed, so that it is simply sent to another one when an upstream fails, also in
the middle of its answer. An upstream that cannot be reached, does not answer, or fails several times in a row is left
out; each is watched by a task of its own, which lets it in (again) when it computes the probe as the others do.

All of this runs on one event loop; only `states` may be read from other threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from farthing.core.errors import (
    NoUpstreamError,
    ServingError,
    UpstreamBusyError,
    UpstreamFailedError,
    UpstreamInputError,
)
from farthing.core.waiting import within
from farthing.upstream.attempt import AttemptBusyError, AttemptFailedError
from farthing.upstream.client import UpstreamClient
from farthing.upstream.member import Member, UpstreamState

logger = logging.getLogger(__name__)
T = TypeVar("T")
Call = Callable[[UpstreamClient], Awaitable[T]]

HEALTH_INTERVAL_S, PROBE_INTERVAL_S = 5.0, 60.0  # of one that has nothing to do
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0  # between probes of one that is left out
FIRST_RETRY_S, LONGEST_RETRY_S = 0.05, 1.0  # before the same one is asked again
PATIENCE_S = 2.0  # that a request waits for one to come back, or to have rested


class Pool:
    """
    Args:
        admit: raises when an upstream does not compute the model as the others do.
        max_running: requests at once for each upstream; further ones wait.
    """

    def __init__(self, clients: Sequence[UpstreamClient], admit: Call[None], max_running: int) -> None:
        self._members = [Member(client) for client in clients]
        self._admit = admit
        self._turns = asyncio.Semaphore(max_running * len(clients))
        self._change = asyncio.Event()
        self._watchers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to watch; to be called on the loop."""
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
        """Whether one can be used, now or within that time."""
        with suppress(asyncio.TimeoutError):
            while not self.is_usable:
                await within(timeout_s, self._change.wait())
        return self.is_usable

    async def run(self, call: Call[T], weight: int) -> T:
        """What `call` returns with an upstream that can answer it.

        Raises:
            UpstreamInputError: the upstream refuses what is sent.
            NoUpstreamError, UpstreamBusyError, UpstreamFailedError: none can answer.
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
        """The usable one that has least to do, of those that were not tried if there are any."""
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
        """When the first one has rested; with none up, as long as one that was just left out may yet come back."""
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
        """What keeps one from being used.

        It computes the probe when it is new or has failed, and now and then; otherwise it is only asked whether it is
        there, and not even that while it is at work.
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
