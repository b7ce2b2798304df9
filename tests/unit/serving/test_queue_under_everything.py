"""Whatever is cancelled, cut into halves, run alone, failed, begun again or late: each text's row comes to its place,
and nobody waits for more than a few batches in vain.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from functools import partial

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from queueing import Queue as Scheduler
from queueing import computed

from farthing.core.errors import DeadlineError, NonFiniteError
from farthing.engine.runner import BatchOutput
from farthing.models.batch.forest import MIN_SHARED_TOKENS
from farthing.models.batch.token_key import token_key
from farthing.serving.queue.batch import Batch, Job
from farthing.serving.queue.lane import Flow
from farthing.serving.queue.scheduler import BatchLimits
from farthing.serving.queue.token_counter import TokenCounter
from farthing.serving.request import LANES, LaneName
from tiers import examples

MAX_TOKENS, MAX_TEXTS = 40, 5
# The longest text is 36 tokens of debt, which a share of 0.2 pays in 5 batches; then the other lane may be owed more.
MAX_BATCHES_IN_VAIN = 6
Text = list[int]

beginnings = st.sampled_from([[], [1] * 8, [1] * 15, [1] * 8 + [2] * 8, [3] * 30])
texts = st.builds(lambda a, b: a + b, beginnings, st.lists(st.integers(0, 1), min_size=1, max_size=6))


def number_of(text: Text) -> float:
    return float(zlib.crc32(token_key(text)) % 2**20)


class Queue(RuleBasedStateMachine):
    """The scheduler beside a list of what must wait; the weights change now and then, also within a batch."""

    def __init__(self) -> None:
        super().__init__()
        limits = BatchLimits(MAX_TOKENS, MAX_TEXTS)
        self.scheduler = Scheduler(limits, partial(TokenCounter, shares_prefixes=True))
        self.jobs: list[Job] = []
        self.flows: dict[Job, Flow] = {}
        self.failed: set[Job] = set()
        self.late: set[Job] = set()
        self.waiting: list[tuple[Job, int]] = []  # in order within a request
        self.num_in_vain: dict[LaneName, tuple[Flow | None, int]] = dict.fromkeys(LANES, (None, 0))
        self.weights = 1

    @rule(
        contents=st.lists(st.lists(texts, min_size=1, max_size=7), min_size=1, max_size=2), lane=st.sampled_from(LANES)
    )
    def submit(self, contents: list[list[Text]], lane: LaneName) -> None:
        jobs = [Job(content) for content in contents]
        flow = self.scheduler.put(*jobs, lane=lane)
        self.jobs += jobs
        self.flows |= dict.fromkeys(jobs, flow)
        self.waiting += [(job, index) for job in jobs for index in range(len(job.texts))]

    @rule(content=st.lists(texts, min_size=1, max_size=7), lane=st.sampled_from(LANES))
    def submit_and_be_late(self, content: list[Text], lane: LaneName) -> None:
        """Its texts are never run, nor counted by the next batch."""
        job = Job(content)
        flow = self.scheduler.put(job, lane=lane, timeout_s=1e6)
        flow.urgency = replace(flow.urgency, timeout_s=0)
        self.late.add(job)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        if job.future.cancel():
            self.leave(job)

    @rule()
    def change_the_weights(self) -> None:
        self.weights += 1

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def run(self, data: st.DataObject) -> None:
        batch = self.take()
        if data.draw(st.booleans(), label="cancel one that runs"):
            self.cancel(data)
        self.answer(batch, data)

    def take(self) -> Batch:
        assert self.scheduler.num_waiting_texts, "taking would wait for ever"
        batch = self.scheduler.take()
        assert batch is not None
        places = [(share.job, index) for share in batch.shares for index in share.indices]
        assert len(places) <= MAX_TEXTS
        # Counted while it was filled, not in the order of its jobs; what is computed may be a little more.
        assert computed(batch.texts) <= MAX_TOKENS + (MIN_SHARED_TOKENS - 1) * len(places)
        self.note_who_waits_in_vain({self.flows[job] for job, _ in places})
        for place in places:
            self.waiting.remove(place)  # raises for one that does not wait
        assert batch.is_full == bool(self.waiting)
        return batch

    def note_who_waits_in_vain(self, served: set[Flow]) -> None:
        for lane, (before, count) in self.num_in_vain.items():
            waiting = {self.flows[job] for job, _ in self.waiting}
            oldest = next((flow for flow in self.scheduler._lanes[lane].flows if flow in waiting), None)
            count = 0 if oldest is None or oldest in served or oldest is not before else count + 1
            self.num_in_vain[lane] = oldest, count
            assert count <= MAX_BATCHES_IN_VAIN

    def answer(self, batch: Batch, data: st.DataObject) -> None:
        how = data.draw(st.sampled_from(["run", "run", "halves", "by job", "fail", "bad row"]))
        parts = {"halves": batch.halves() or (), "by job": batch.by_job()}.get(how, ())
        for part in parts:
            if data.draw(st.booleans(), label="the weights change between"):
                self.weights += 1
            self.answer(part, data)
        if parts:
            return
        if how == "fail":
            for share in batch.shares:
                self.note_failure(share.job)
            batch.fail(NonFiniteError("the batch failed"))
            return
        self.deliver(batch, bad_row=how == "bad row")

    def deliver(self, batch: Batch, *, bad_row: bool = False) -> None:
        rows = np.array([[number_of(text), self.weights] for text in batch.texts], np.float32)
        errors = {0: NonFiniteError("bad row")} if bad_row else {}
        if bad_row:
            self.note_failure(batch.shares[0].job)
        computed = tuple(len(text) - 1 for text in batch.texts)
        for job in batch.deliver(BatchOutput(rows, errors, 0, str(self.weights), computed)):
            if not job.future.done():
                self.waiting = [(job, index) for index in range(len(job.texts))] + [
                    place for place in self.waiting if place[0] is not job
                ]
            self.scheduler.put_back(job)
        for job in self.jobs:
            if job.future.done():
                self.leave(job)

    def note_failure(self, job: Job) -> None:
        if not job.future.done():
            self.failed.add(job)
        self.leave(job)

    def leave(self, job: Job) -> None:
        self.waiting = [place for place in self.waiting if place[0] is not job]

    @invariant()
    def as_many_wait_as_should(self) -> None:
        num_late = sum(len(job.texts) for job in self.late if not job.future.done())
        stats = self.scheduler.stats()
        assert stats.waiting_texts == self.scheduler.num_waiting_texts == len(self.waiting) + num_late
        bulk = [place for place in self.waiting if self.flows[place[0]].urgency.lane == "bulk"]
        if not num_late:
            assert stats.waiting_tokens == sum(len(job.texts[index]) for job, index in self.waiting)
            assert stats.waiting_bulk_tokens == sum(len(job.texts[index]) for job, index in bulk)

    def teardown(self) -> None:
        while self.waiting:
            self.deliver(self.take())
        if any(not job.future.done() for job in self.late):
            self.submit([[[7]]], "bulk")
            self.deliver(self.take())
        assert all(isinstance(job.future.exception(timeout=0), DeadlineError) for job in self.late)
        for job in self.jobs:
            assert job.future.done()
            if job.future.cancelled():
                continue
            if job in self.failed:
                assert isinstance(job.future.exception(), NonFiniteError)
                continue
            found = job.future.result()
            assert found.rows[:, 0].tolist() == [number_of(text) for text in job.texts]
            assert set(found.rows[:, 1].tolist()) == {float(found.fingerprint)}
            assert found.num_computed_tokens == sum(len(text) - 1 for text in job.texts)


Queue.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=25, deadline=None)
TestQueue = Queue.TestCase
