from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from queueing import Queue, job, lengths, numbers, run

from farthing.core.errors import ClosedError, NonFiniteError, QueueFullError, WorkerDiedError
from farthing.engine.runner import BatchOutput
from farthing.serving.queue.admission import QueueLimits
from farthing.serving.queue.batch import LOOK_AHEAD_TEXTS, Job
from farthing.serving.queue.scheduler import BatchLimits
from farthing.serving.queue.token_counter import TokenCounter


def scheduler(*, max_tokens: int = 100, max_texts: int = 50, max_waiting: int = 10_000) -> Queue:
    return Queue(BatchLimits(max_tokens, max_texts), TokenCounter, QueueLimits(max_waiting))


def test_texts_of_several_jobs_share_a_batch_in_order_of_arrival() -> None:
    queue = scheduler()
    for one in (job(10, 20), job(30), job(40, 50)):
        queue.put(one)
    assert lengths(queue.take()) == [10, 20, 30, 40]
    assert lengths(queue.take()) == [50]


def test_text_over_the_budget_goes_alone() -> None:
    queue = scheduler()
    queue.put(job(5, 500, 5))
    assert [lengths(queue.take()) for _ in range(2)] == [[5, 5], [500]]


def test_batch_has_at_most_max_texts() -> None:
    queue = scheduler(max_texts=2)
    queue.put(job(1, 1, 1))
    assert [lengths(queue.take()) for _ in range(2)] == [[1, 1], [1]]


@given(
    st.lists(st.lists(st.integers(1, 120), min_size=1, max_size=8), min_size=1, max_size=12),
    st.integers(1, 100),
    st.integers(1, 6),
)
def test_every_text_is_answered_once_within_the_limits(jobs: list[list[int]], budget: int, max_texts: int) -> None:
    queue = scheduler(max_tokens=budget, max_texts=max_texts)
    submitted = [job(*one) for one in jobs]
    for one in submitted:
        queue.put(one)
    seen: list[int] = []
    while queue.num_waiting_texts:
        batch = queue.take()
        assert batch is not None
        sizes = lengths(batch)
        assert len(sizes) <= max_texts
        assert sum(sizes) <= budget or len(sizes) == 1
        seen += sizes
        run(batch)
    assert sorted(seen) == sorted(length for one in jobs for length in one)
    for one, wanted in zip(submitted, jobs, strict=True):
        assert one.future.result(timeout=0).rows.ravel().tolist() == wanted


def test_cancelled_job_leaves_the_queue() -> None:
    queue = scheduler()
    first, second = job(1, 1), job(2)
    queue.put(first)
    queue.put(second)
    first.future.cancel()
    assert queue.num_waiting_texts == 1
    assert lengths(queue.take()) == [2]


def test_job_cancelled_while_it_runs_disturbs_nobody() -> None:
    queue = scheduler()
    first, second = job(1), job(2)
    queue.put(first)
    queue.put(second)
    batch = queue.take()
    assert batch is not None
    first.future.cancel()
    run(batch)
    assert second.future.result(timeout=0).rows.tolist() == [[2.0]]


def test_job_that_failed_in_one_batch_leaves_the_rest_of_its_texts_unqueued() -> None:
    queue = scheduler(max_texts=1)
    one = job(1, 1, 1)
    queue.put(one)
    batch = queue.take()
    assert batch is not None
    batch.fail(NonFiniteError("bad row"))
    assert queue.num_waiting_texts == 0
    with pytest.raises(NonFiniteError):
        one.future.result(timeout=0)


def test_text_without_a_vector_fails_its_own_job_only() -> None:
    queue = scheduler()
    first, second = job(1, 1), job(2)
    queue.put(first)
    queue.put(second)
    batch = queue.take()
    assert batch is not None
    batch.deliver(BatchOutput(np.zeros((3, 1), np.float32), {1: NonFiniteError("bad row")}, 0, "weights", (1,) * 3))
    with pytest.raises(NonFiniteError):
        first.future.result(timeout=0)
    assert second.future.done()
    assert second.future.exception() is None


def test_full_queue_refuses_with_the_numbers() -> None:
    queue = scheduler(max_waiting=3)
    queue.put(job(1, 1))
    with pytest.raises(QueueFullError, match="2 texts are waiting and 2 more would exceed the limit of 3"):
        queue.put(job(1, 1))
    queue.put(job(1))


def test_take_waits_for_work() -> None:
    queue = scheduler()
    timer = threading.Timer(0.05, lambda: queue.put(job(7)))
    timer.start()
    started = time.perf_counter()
    assert lengths(queue.take()) == [7]
    assert time.perf_counter() - started >= 0.04


def test_refusal_answers_waiting_and_further_jobs_until_lifted() -> None:
    queue = scheduler()
    running, waiting = job(1), job(1)
    queue.put(running)
    assert queue.take() is not None
    queue.put(waiting)
    queue.refuse(WorkerDiedError("died"), drop_open=True)
    for unanswered in (running, waiting):
        with pytest.raises(WorkerDiedError):
            unanswered.future.result(timeout=0)
    with pytest.raises(WorkerDiedError):
        queue.put(job(1))
    assert queue.num_waiting_texts == 0
    queue.accept()
    queue.put(job(1))


def test_closed_queue_hands_out_what_it_has_then_ends() -> None:
    queue = scheduler()
    queue.put(job(3))
    queue.refuse(ClosedError("closed"), drop_open=False)
    assert lengths(queue.take()) == [3]
    assert queue.take() is None
    queue.accept()
    with pytest.raises(ClosedError):
        queue.put(job(1))


def test_a_job_whose_rows_are_of_two_weights_begins_again_before_all_others() -> None:
    queue = scheduler(max_tokens=10)
    split, later = job(8, 8), job(8)
    queue.put(split)
    queue.put(later)
    first, second = queue.take(), queue.take()
    assert first is not None
    assert second is not None
    assert first.deliver(BatchOutput(np.zeros((1, 1), np.float32), {}, 0, "exact", (1,))) == []
    assert second.deliver(BatchOutput(np.ones((1, 1), np.float32), {}, 0, "rounded", (1,))) == [split]
    queue.put_back(split)
    assert queue.num_waiting_texts == 3
    for number in (2, 3, 4):
        batch = queue.take()
        assert batch is not None
        assert batch.deliver(BatchOutput(np.full((1, 1), number, np.float32), {}, 0, "rounded", (1,))) == []
    assert split.future.result(timeout=0).rows.ravel().tolist() == [2, 3]
    assert split.future.result(timeout=0).fingerprint == "rounded"
    assert later.future.result(timeout=0).rows.ravel().tolist() == [4]


def test_a_lower_token_limit_holds_from_the_next_batch_and_never_rises_over_the_first() -> None:
    queue = scheduler(max_tokens=100)
    queue.put(job(*[30] * 6))
    queue.limit_tokens(60)
    assert lengths(queue.take()) == [30, 30]
    queue.limit_tokens(1000)
    assert lengths(queue.take()) == [30, 30, 30]


def sharing(*, max_tokens: int, max_texts: int = 50) -> Queue:
    return Queue(BatchLimits(max_tokens, max_texts), partial(TokenCounter, shares_prefixes=True))


def behind(prefix: int, length: int, *, own: int) -> list[int]:
    """A text of a prefix of that many tokens, and then some that no other text has."""
    return [prefix] * length + [next(numbers) + 1_000_000 for _ in range(own)]


def taken(queue: Queue) -> Sequence[list[int]]:
    batch = queue.take()
    assert batch is not None
    return batch.texts


def test_a_prefix_that_texts_share_counts_once() -> None:
    texts = [behind(1, 20, own=10) for _ in range(5)]
    shares, does_not = sharing(max_tokens=50), scheduler(max_tokens=50)
    for queue in (shares, does_not):
        queue.put(Job(texts))
    assert taken(shares) == texts[:3]
    assert taken(does_not) == texts[:1]


def test_identical_texts_count_once_for_every_model() -> None:
    queue = scheduler(max_tokens=50)
    queue.put(Job([*[[1] * 50] * 40, [2] * 50]))
    assert taken(queue) == [[1] * 50] * 40


def test_the_room_left_goes_to_texts_that_share_and_what_was_passed_over_is_next() -> None:
    queue = sharing(max_tokens=50)
    first, large, small = behind(1, 20, own=10), behind(2, 20, own=10), behind(3, 3, own=2)
    some, too_much, rest = (behind(1, 20, own=own) for own in (15, 6, 5))
    queue.put(Job([first, large, small, some]), Job([too_much, list(first), rest]))
    assert taken(queue) == [first, some, first, rest]
    assert queue.num_waiting_texts == 3
    assert taken(queue) == [large, small]
    assert taken(queue) == [too_much]


def test_only_what_is_free_rides_with_a_text_over_the_budget() -> None:
    queue = sharing(max_tokens=50)
    long = behind(1, 20, own=100)
    queue.put(Job([long, behind(1, 20, own=1), long, long[:60]]))
    assert taken(queue) == [long, long, long[:60]]


def test_texts_that_share_come_together_only_up_to_max_texts() -> None:
    queue = sharing(max_tokens=50, max_texts=3)
    first, other = behind(1, 20, own=10), behind(2, 20, own=10)
    queue.put(Job([first, other, first, first, first]))
    assert [len(taken(queue)) for _ in range(3)] == [3, 1, 1]


def test_a_job_whose_texts_are_computed_out_of_order_gets_its_rows_in_order() -> None:
    queue = sharing(max_tokens=50)
    texts = [behind(1, 20, own=10), behind(2, 20, own=19), behind(1, 20, own=11), behind(1, 20, own=8)]
    one = Job(texts)
    queue.put(one)
    for expected in ([0, 2, 3], [1]):
        batch = queue.take()
        assert batch is not None
        assert batch.texts == [texts[index] for index in expected]
        run(batch)
    assert one.future.result(timeout=0).rows.ravel().tolist() == [30, 39, 31, 28]
    assert one.future.result(timeout=0).num_computed_tokens == 4


class CountingCalls(TokenCounter):
    num_calls = 0

    def add(self, key: bytes, most: int) -> int | None:
        CountingCalls.num_calls += 1
        return super().add(key, most)


def test_a_batch_looks_at_a_bounded_number_of_texts_however_many_wait() -> None:
    limits = BatchLimits(max_tokens=100, max_texts=50)
    queue = Queue(limits, partial(CountingCalls, shares_prefixes=True))
    for _ in range(90):
        queue.put(Job([behind(1, 20, own=10 + number % 90) for number in range(1000)]))
    for _ in range(20):
        CountingCalls.num_calls = 0
        assert taken(queue)
        assert CountingCalls.num_calls <= 2 * LOOK_AHEAD_TEXTS + limits.max_texts + 4
