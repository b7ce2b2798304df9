"""Whatever is cancelled, cut into halves, run alone, failed or begun again: each text's row comes to its place."""

from __future__ import annotations

import zlib
from functools import partial

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from farthing.core.errors import NonFiniteError
from farthing.engine.runner import BatchOutput
from farthing.models.token_key import token_key
from farthing.serving.batch import Batch
from farthing.serving.job import Job
from farthing.serving.scheduler import BatchLimits, Scheduler
from farthing.serving.token_counter import TokenCounter

MAX_TOKENS, MAX_TEXTS = 40, 5
Text = list[int]

beginnings = st.sampled_from([[], [1] * 8, [1] * 15, [1] * 8 + [2] * 8, [3] * 30])
texts = st.builds(lambda a, b: a + b, beginnings, st.lists(st.integers(0, 1), min_size=1, max_size=6))


def number_of(text: Text) -> float:
    return float(zlib.crc32(token_key(text)) % 2**20)


class Queue(RuleBasedStateMachine):
    """The scheduler beside a list of what must wait; the weights change now and then, also within a batch."""

    def __init__(self) -> None:
        super().__init__()
        limits = BatchLimits(MAX_TOKENS, MAX_TEXTS, max_waiting_texts=10_000)
        self.scheduler = Scheduler(limits, partial(TokenCounter, shares_prefixes=True))
        self.jobs: list[Job] = []
        self.failed: set[Job] = set()
        self.waiting: list[tuple[Job, int]] = []  # in order
        self.weights = 1

    @rule(content=st.lists(texts, min_size=1, max_size=7))
    def submit(self, content: list[Text]) -> None:
        job = Job(content)
        self.scheduler.submit(job)
        self.jobs.append(job)
        self.waiting += [(job, index) for index in range(len(content))]

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
        assert self.waiting[0] in places, "who has waited longest goes first"
        assert len(places) <= MAX_TEXTS
        assert batch.num_tokens <= max(MAX_TOKENS, len(self.waiting[0][0].texts[self.waiting[0][1]]))
        for place in places:
            self.waiting.remove(place)  # raises for one that does not wait
        return batch

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
        assert self.scheduler.num_waiting_texts == len(self.waiting)

    def teardown(self) -> None:
        while self.waiting:
            self.deliver(self.take())
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


Queue.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestQueue = Queue.TestCase
