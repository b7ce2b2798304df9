from __future__ import annotations

import itertools
import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.core.errors import FarthingError, NonFiniteError
from farthing.engine.runner import BatchOutput
from farthing.serving.queue.batch import Batch, Job
from farthing.serving.queue.token_counter import TokenCounter


def batch_of(*jobs: list[list[int]], shares_prefixes: bool = False) -> Batch:
    places = [(job, index) for job in map(Job, jobs) for index in range(len(job.texts))]
    return Batch.of(places, partial(TokenCounter, shares_prefixes=shares_prefixes))


def texts_of(halves: tuple[Batch, Batch] | None) -> list[list[list[int]]]:
    assert halves is not None
    return [half.texts for half in halves]


@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=6), min_size=1, max_size=6))
def test_halves_hold_every_text_once_and_about_as_many_tokens(jobs: list[list[int]]) -> None:
    numbers = itertools.count()
    batch = batch_of(*([[next(numbers)] * length for length in one] for one in jobs))
    if len(batch.texts) == 1:
        assert batch.halves() is None
        return
    first, second = texts_of(batch.halves())
    assert first + second == batch.texts
    sizes = [sum(map(len, half)) for half in (first, second)]
    assert min(sizes) > 0
    assert abs(sizes[0] - sizes[1]) <= max(map(len, batch.texts))


def test_halves_are_of_computed_tokens() -> None:
    behind_a_prefix = [[1] * 40 + [10 + number] * 10 for number in range(6)]
    batch = batch_of(behind_a_prefix, shares_prefixes=True)
    assert batch.num_tokens == 100
    assert [len(half) for half in texts_of(batch.halves())] == [1, 5]
    assert [len(half) for half in texts_of(batch_of(behind_a_prefix).halves())] == [3, 3]


def test_identical_texts_have_no_halves_and_free_ones_are_shared_out() -> None:
    assert batch_of([[1] * 9] * 4, [[1] * 9]).halves() is None
    beginnings = [[1] * length for length in (100, 90, 80, 70)]
    assert [len(half) for half in texts_of(batch_of(beginnings, shares_prefixes=True).halves())] == [2, 2]


def test_the_texts_of_a_job_ride_side_by_side_whatever_their_order() -> None:
    first, second = Job([[1], [2], [3]]), Job([[4]])
    batch = Batch.of([(first, 2), (second, 0), (first, 0)], TokenCounter)
    assert batch.texts == [[3], [1], [4]]
    assert [part.texts for part in batch.by_job()] == [[[3], [1]], [[4]]]


def test_rows_say_how_long_their_texts_waited_and_were_computed() -> None:
    made = time.perf_counter()
    job = Job([[1], [2]])
    for index, begun in [(0, made + 2), (1, made + 9)]:  # the first batch of the job is what ends its waiting
        batch = Batch.of([(job, index)], TokenCounter)
        batch.begin(begun)
        assert batch.deliver(BatchOutput(np.zeros((1, 1), np.float32), {}, 0, "weights", (1,))) == []
    found = job.future.result(timeout=0)
    assert found.queue_s == pytest.approx(2, abs=0.5)
    assert found.queue_s + found.compute_s == pytest.approx(time.perf_counter() - made, abs=0.5)


def test_rows_and_counts_go_to_the_places_of_their_texts() -> None:
    job = Job([[1], [2], [3]])
    for order in ([2, 0], [1]):
        batch = Batch.of([(job, index) for index in order], TokenCounter)
        rows = np.array([[float(index)] for index in order], np.float32)
        assert batch.deliver(BatchOutput(rows, {}, 0, "weights", tuple(10**index for index in order))) == []
    found = job.future.result(timeout=0)
    assert found.rows.ravel().tolist() == [0, 1, 2]
    assert found.num_computed_tokens == 111


def test_a_row_that_comes_twice_does_not_stand_in_for_one_that_is_missing() -> None:
    job = Job([[1], [2]])
    for _ in range(2):
        assert job.deliver([0], np.zeros((1, 1), np.float32), [1], "weights")
    assert not job.future.done()
    job.deliver([1], np.ones((1, 1), np.float32), [1], "weights")
    assert job.future.result(timeout=0).rows.ravel().tolist() == [0, 1]


def test_an_error_of_one_text_fails_its_job_alone() -> None:
    bad, good = Job([[1], [2]]), Job([[3]])
    batch = Batch.of([(bad, 0), (bad, 1), (good, 0)], TokenCounter)
    failure: FarthingError = NonFiniteError("bad row")
    batch.deliver(BatchOutput(np.zeros((3, 1), np.float32), {1: failure}, 0, "weights", (1, 1, 1)))
    assert bad.future.exception(timeout=0) is failure
    assert good.future.result(timeout=0).rows.tolist() == [[0]]


def test_a_job_that_begins_again_takes_no_row_of_the_weights_before() -> None:
    job = Job([[1], [2], [3]])
    assert job.deliver([0, 2], np.zeros((2, 1), np.float32), [1, 1], "before")
    assert not job.deliver([1], np.ones((1, 1), np.float32), [1], "after")
    job.restart()
    assert job.deliver([0, 1], np.ones((2, 1), np.float32), [1, 1], "after")
    assert not job.future.done()
    assert job.deliver([2], np.ones((1, 1), np.float32), [1], "after")
    assert job.future.result(timeout=0).rows.ravel().tolist() == [1, 1, 1]
