from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from farthing.core.errors import ClosedError, DeadlineError, QueueFullError
from farthing.server.indexes.models import Work
from farthing.server.indexes.workers import Workers
from farthing.serving.request import Urgency


@pytest.fixture
def workers() -> Iterator[Workers]:
    opened = Workers("searches", 1, 3)
    yield opened
    opened.close()


def new_work(urgency: Urgency | None = None) -> Work:
    return Work(None, urgency or Urgency())  # type: ignore[arg-type] - no model is asked


class Job:
    """Work in a thread that ends when it is told, or when it sees that nobody waits for it."""

    def __init__(self) -> None:
        self.has_begun, self.may_end, self.has_ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, work: Work | None = None) -> str:
        self.has_begun.set()
        try:
            while not self.may_end.wait(0.01):
                if work is not None:
                    work.check()
            return "done"
        finally:
            self.has_ended.set()


async def begun(workers: Workers, job: Job, work: Work) -> asyncio.Task[Any]:
    task = asyncio.ensure_future(workers.run(work, workers.thread(lambda: job(work))))
    assert await asyncio.to_thread(job.has_begun.wait, 10)
    return task


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def left_by_all_but(workers: Workers, num: int) -> None:
    deadline = time.monotonic() + 10
    while len(workers._running) > num:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_a_line_that_is_full_refuses_at_once(workers: Workers) -> None:
    async def scenario() -> None:
        job = Job()
        first = await begun(workers, job, new_work())
        others = [asyncio.ensure_future(workers.run(new_work(), workers.thread(lambda: "next"))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError, match="3 searches of indexes are at work or wait; at most 3 may"):
            await workers.run(new_work(), workers.thread(lambda: "too many"))
        job.may_end.set()
        assert [await first, *[await other for other in others]] == ["done", "next", "next"]
        assert await workers.run(new_work(), workers.thread(lambda: "again")) == "again"

    asyncio.run(scenario())


def test_who_hangs_up_keeps_the_place_until_the_thread_ends(workers: Workers) -> None:
    """Otherwise hanging up again and again would start any number of threads."""

    async def scenario() -> None:
        jobs = [Job() for _ in range(3)]
        deaf = [workers.thread(job) for job in jobs]  # they do not look whether they were stopped
        tasks = [asyncio.ensure_future(workers.run(new_work(), steps)) for steps in deaf]
        assert await asyncio.to_thread(jobs[0].has_begun.wait, 10)
        await cancelled(tasks[0])
        with pytest.raises(QueueFullError):
            await workers.run(new_work(), workers.thread(lambda: "too many"))
        assert not jobs[1].has_begun.is_set()
        jobs[0].may_end.set()
        assert await asyncio.to_thread(jobs[1].has_begun.wait, 10)
        await left_by_all_but(workers, 2)
        assert await workers.run(new_work(), asyncio.sleep(0, "room")) == "room"
        for job in jobs[1:]:
            job.may_end.set()
        assert [await task for task in tasks[1:]] == ["done", "done"]

    asyncio.run(scenario())


def test_who_hangs_up_while_waiting_leaves_at_once(workers: Workers) -> None:
    async def scenario() -> None:
        job, never = Job(), Job()
        first = await begun(workers, job, new_work())
        waiting = asyncio.ensure_future(workers.run(new_work(), workers.thread(never)))
        await asyncio.sleep(0)
        await cancelled(waiting)
        await asyncio.sleep(0.05)
        assert len(workers._running) == 1
        job.may_end.set()
        assert await first == "done"
        assert not never.has_begun.is_set()

    asyncio.run(scenario())


def test_work_whose_client_hung_up_ends_soon(workers: Workers) -> None:
    async def scenario() -> None:
        job = Job()
        await cancelled(await begun(workers, job, new_work()))
        assert await asyncio.to_thread(job.has_ended.wait, 10)
        await left_by_all_but(workers, 0)

    asyncio.run(scenario())


def test_closing_ends_the_work_and_takes_no_more(workers: Workers) -> None:
    async def scenario() -> None:
        job = Job()
        task = await begun(workers, job, new_work())
        workers.close()
        with pytest.raises(ClosedError):
            await task
        assert job.has_ended.is_set()
        with pytest.raises(ClosedError):
            await workers.run(new_work(), workers.thread(lambda: "late"))

    asyncio.run(scenario())


def test_work_sees_that_its_time_is_over() -> None:
    async def scenario() -> None:
        with pytest.raises(DeadlineError):
            new_work(Urgency(timeout_s=0)).check()

    asyncio.run(scenario())


@pytest.mark.parametrize("is_stopped_before", [True, False])
def test_a_thread_does_not_wait_for_a_model_that_nobody_waits_for(*, is_stopped_before: bool) -> None:
    async def scenario() -> None:
        work, has_begun, was_cancelled = new_work(), asyncio.Event(), asyncio.Event()

        async def answer_of_a_model() -> None:
            has_begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                was_cancelled.set()
                raise

        if is_stopped_before:
            work.stop()
        waiting = asyncio.ensure_future(asyncio.to_thread(lambda: work.wait_for(answer_of_a_model())))
        if not is_stopped_before:
            await has_begun.wait()
            work.stop()
        with pytest.raises(ClosedError):
            await waiting
        if not is_stopped_before:
            await asyncio.wait_for(was_cancelled.wait(), 10)

    asyncio.run(scenario())


def test_a_turn_to_compute_is_passed_on_while_a_model_is_waited_for() -> None:
    async def scenario() -> None:
        turns, asked, answered = threading.Semaphore(1), asyncio.Event(), asyncio.Event()
        seen: list[str] = []

        async def model() -> str:
            asked.set()
            await answered.wait()
            return "vectors"

        def with_model(work: Work) -> None:
            with work.computing(turns):
                seen.append("asks")
                seen.append(work.wait_for(model()))
                assert not turns.acquire(blocking=False)

        def without(work: Work) -> None:
            with work.computing(turns):
                seen.append("computes meanwhile")

        first = asyncio.ensure_future(asyncio.to_thread(with_model, new_work()))
        await asyncio.wait_for(asked.wait(), 10)
        await asyncio.wait_for(asyncio.to_thread(without, new_work()), 10)
        answered.set()
        await first
        assert seen == ["asks", "computes meanwhile", "vectors"]
        assert turns.acquire(blocking=False)

    asyncio.run(scenario())


def test_who_is_stopped_does_not_wait_for_a_turn() -> None:
    async def scenario() -> None:
        turns, work = threading.Semaphore(0), new_work()

        def compute() -> None:
            with work.computing(turns):
                raise AssertionError("it has no turn")

        waiting = asyncio.ensure_future(asyncio.to_thread(compute))
        await asyncio.sleep(0.05)
        work.stop()
        with pytest.raises(ClosedError):
            await asyncio.wait_for(waiting, 10)
        assert not turns.acquire(blocking=False)

    asyncio.run(scenario())
