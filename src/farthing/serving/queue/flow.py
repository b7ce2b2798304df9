"""One request in the queue: its texts that wait, and how many are still to come.

In: the request's size as it was estimated, and its jobs as they are tokenised. Out: texts, in order, and how much is
left. The scheduler's lock guards it.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from farthing.models.token_key import TOKEN_BYTES
from farthing.serving.queue.job import Job
from farthing.serving.queue.size import Size
from farthing.serving.urgency import Urgency

Text = tuple[Job, int]  # of a job, by index

# Texts of one request that wait in the queue at the same time, at most; the others are not tokenised yet. And their
# tokens, of which there are about as many as characters at most (`farthing.serving.queue.size.SLICE_CHARS`).
HELD_TEXTS = 1024
HELD_TOKENS = 2**20


class Flow:
    """
    Attributes:
        waiting: texts in order.
        goes_first: before all requests of its lane, because something of it is computed again.
        latest_s: by the scheduler's clock, when its turn should have come.
    """

    def __init__(self, urgency: Urgency, size: Size, latest_s: float = math.inf) -> None:
        self.urgency, self.latest_s = urgency, latest_s
        self.waiting: OrderedDict[Text, None] = OrderedDict()
        self.goes_first = False
        self.num_waiting_tokens = 0
        self._to_come = size

    @property
    def left(self) -> Size:
        """What waits and what is to come."""
        to_come = self._to_come
        return Size(len(self.waiting) + to_come.num_texts, self.num_waiting_tokens + to_come.num_tokens)

    def add(self, job: Job) -> None:
        """Its texts wait behind those that do."""
        for index, key in enumerate(job.keys):
            self.waiting[job, index] = None
            self.num_waiting_tokens += len(key) // TOKEN_BYTES

    def add_again(self, job: Job) -> None:
        """All of its texts wait before those of other jobs, whichever had been taken."""
        self.drop(job)
        self.add(job)
        for index in reversed(range(len(job.texts))):
            self.waiting.move_to_end((job, index), last=False)
        self.goes_first = True

    def is_late(self, now_s: float) -> bool:
        """Its turn should have come by now, and has not."""
        return now_s > self.latest_s

    def take(self, text: Text) -> None:
        """A text that waits: its turn has come."""
        self.latest_s = math.inf
        self.remove(text)

    def remove(self, text: Text) -> None:
        """A text that waits."""
        del self.waiting[text]
        job, index = text
        self.num_waiting_tokens -= len(job.keys[index]) // TOKEN_BYTES
        if not self.waiting:
            self.goes_first = False

    def drop(self, job: Job) -> None:
        """What waits of a job."""
        for index in range(len(job.texts)):
            if (job, index) in self.waiting:
                self.remove((job, index))

    def clear(self) -> list[Job]:
        """Drop all that waits; returns the jobs it was of."""
        jobs = list(dict.fromkeys(job for job, _ in self.waiting))
        self.waiting.clear()
        self.num_waiting_tokens = 0
        return jobs

    def came(self, num_inputs: int) -> None:
        """So many of the request's texts have been tokenised."""
        self._to_come = self._to_come.less(num_inputs)
