"""Who goes first, and that nobody waits for ever."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from queueing import Queue, job, lengths, run

from farthing.serving.queue.admission import QueueLimits
from farthing.serving.queue.batch import Job
from farthing.serving.queue.lane import OLDEST_SHARE
from farthing.serving.queue.scheduler import BatchLimits
from farthing.serving.queue.token_counter import TokenCounter
from tiers import examples

BUDGET = 100
unhurried = settings(deadline=None, max_examples=examples(25))
sizes = st.lists(st.integers(1, BUDGET + 20), min_size=1, max_size=12)


def make_queue(bulk_share: float = 0.2) -> Queue:
    return Queue(BatchLimits(BUDGET, 50), TokenCounter, QueueLimits(bulk_share=bulk_share))


def batches_until(queue: Queue, wanted: Job, before_each: Callable[[], object]) -> int:
    """Run batches until a job is answered; how many."""
    for number in itertools.count(1):
        before_each()
        run(queue.take())
        if wanted.future.done():
            return number
    raise AssertionError


def test_interactive_texts_go_before_bulk_ones() -> None:
    queue = make_queue(bulk_share=0.01)
    queue.put(job(*[20] * 10), lane="bulk")
    assert lengths(queue.take()) == [20] * 5
    queue.put(job(30, 31))
    assert lengths(queue.take()) == [30, 31, 20]


def test_a_short_request_rides_in_the_next_batch_however_much_waits() -> None:
    queue = make_queue()
    for lane in ("interactive", "bulk", "interactive"):
        queue.put(job(*[20] * 1000), lane=lane)  # type: ignore[arg-type]
    run(queue.take())
    short = job(7)
    queue.put(short)
    run(queue.take())
    assert short.future.done()


def test_what_is_still_to_be_tokenised_counts_for_a_request_s_size() -> None:
    queue = make_queue()
    large = queue.put(job(30, 30), job(30, 30), job(30, 30))
    assert large.left.num_texts == 6
    hidden = queue.admit(large.left)
    queue.submit(job(1), hidden, 1)  # 150 tokens are to come
    queue.put(job(90))
    # After the oldest's share 90 does not fit, and the room goes to what is next: of equally large ones the older.
    assert lengths(queue.take()) == [30, 30, 30, 1]


def test_equal_requests_are_finished_one_after_the_other() -> None:
    queue = make_queue()
    equal = [job(*[10] * 30) for _ in range(4)]
    for one in equal:
        queue.put(one)
    finished = []
    while queue.num_waiting_texts:
        run(queue.take())
        finished.append(sum(one.future.done() for one in equal))
    assert finished == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4]


@unhurried
@given(sizes, st.lists(st.integers(10, BUDGET), min_size=1, max_size=3))
def test_a_large_request_is_finished_however_many_short_ones_come(large: list[int], short: list[int]) -> None:
    """The short ones alone would fill every batch."""
    queue, old = make_queue(), job(*large)
    queue.put(old)

    def more() -> None:
        for length in short:
            for _ in range(1 + BUDGET // length):
                queue.put(job(length))

    # What it takes beyond its share is paid back; in the end a batch more, since nothing is cut.
    assert batches_until(queue, old, more) <= sum(large) / (OLDEST_SHARE * BUDGET) + 2


@unhurried
@given(sizes, st.sampled_from([0.1, 0.2, 0.5]), st.sampled_from([[10], [100], [30, 110]]))
def test_bulk_has_its_share_however_much_interactive_work_comes(
    bulk: list[int], share: float, interactive: list[int]
) -> None:
    queue, wanted = make_queue(share), job(*bulk)
    queue.put(wanted, lane="bulk")

    def more() -> None:
        for length in interactive:
            for _ in range(1 + BUDGET // length):
                queue.put(job(length))

    # Every other batch may go to the text of an interactive request that leaves no room.
    assert batches_until(queue, wanted, more) <= (sum(bulk) / (share * BUDGET) + 2) * (1 + OLDEST_SHARE) + 2


@unhurried
@given(st.lists(st.tuples(sizes, st.booleans()), min_size=1, max_size=8), st.integers(0, 2**32))
def test_every_text_is_answered_in_its_place_whatever_the_order(
    requests: list[tuple[list[int], bool]], seed: int
) -> None:
    queue, source = make_queue(), random.Random(seed)
    answers = []
    for texts, is_bulk in requests:
        source.shuffle(texts)
        one = job(*texts)
        queue.put(one, lane="bulk" if is_bulk else "interactive")
        answers.append((one, list(texts)))
        if source.random() < 0.5:
            run(queue.take()) if queue.num_waiting_texts else None
    while queue.num_waiting_texts:
        batch = queue.take()
        assert batch is not None
        assert batch.num_tokens <= BUDGET or len(batch.texts) == 1
        run(batch)
    for one, texts in answers:
        assert one.future.result(timeout=0).rows.ravel().tolist() == texts


def test_a_text_that_fills_a_batch_is_not_kept_out_by_small_texts_that_are_owed_a_share() -> None:
    for lanes in (("interactive", "bulk"), ("bulk", "interactive")):
        queue, large = make_queue(), job(99)
        queue.put(large, lane=lanes[0])  # type: ignore[arg-type]
        number = batches_until(queue, large, lambda lane=lanes[1], queue=queue: queue.put(job(*[2] * 60), lane=lane))
        assert number <= 8


def test_batches_are_full_while_enough_waits() -> None:
    queue = make_queue()
    for number in range(40):
        queue.put(job(*[5] * (1 + number % 7)), lane="bulk" if number % 3 else "interactive")
    while queue.num_waiting_texts > BUDGET // 5:
        assert sum(lengths(queue.take())) == BUDGET
