"""Who may join the queue, and who is told when to come back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from queueing import Queue, job, run

from farthing import Embedder
from farthing.core.errors import DeadlineError, QueueFullError, TooManyTextsError, TooManyTokensError
from farthing.core.settings import EngineSettings, ServingSettings
from farthing.engine.runner import BatchOutput
from farthing.engine.swappable import LiveModel
from farthing.engine.weights.load import load_model
from farthing.serving.queue.admission import QueueLimits
from farthing.serving.queue.estimates import Size
from farthing.serving.queue.lane import HELD_TEXTS, HELD_TOKENS
from farthing.serving.queue.scheduler import BatchLimits
from farthing.serving.queue.token_counter import TokenCounter
from farthing.serving.request import EmbedRequest, Urgency
from farthing.serving.text.pools import INLINE_CHARS
from farthing.serving.text.prepare import Slice


def make_queue(*, max_texts: int = 1000, max_tokens: int = 10_000, max_wait_s: float | None = None) -> Queue:
    return Queue(BatchLimits(100, 50), TokenCounter, QueueLimits(max_texts, max_tokens, max_wait_s))


def test_a_request_for_which_there_is_never_room_is_refused_for_good_and_keeps_nobody_out() -> None:
    queue = make_queue(max_texts=30, max_tokens=300)
    with pytest.raises(TooManyTextsError, match=r"100 texts in the queue at once, .* more than 30 \(max_queue_texts\)"):
        queue.admit(Size(100, 100))
    with pytest.raises(TooManyTokensError, match=r"about 301 tokens .* more than 300 \(max_queue_tokens\)"):
        queue.admit(Size(10, 301))
    assert queue.stats().refused_requests_total == 2
    queue.admit(Size(20, 200))
    queue.admit(Size(10, 100))
    with pytest.raises(QueueFullError, match="30 texts are waiting and 1 more would exceed the limit of 30"):
        queue.admit(Size(1, 1))


def test_tokens_that_are_only_announced_count_too() -> None:
    queue = make_queue(max_tokens=100)
    queue.admit(Size(1, 60))
    with pytest.raises(QueueFullError, match=r"60 tokens are waiting and 50 more .* of 100 \(max_queue_tokens\)"):
        queue.admit(Size(1, 50))
    queue.admit(Size(1, 40))
    assert queue.stats().refused_requests_total == 1
    assert queue.stats().admitted_requests_total == 2


def test_a_request_s_later_slices_are_never_refused() -> None:
    queue = make_queue(max_texts=4)
    flow = queue.admit(Size(4, 4))
    for _ in range(3):
        queue.submit(job(1, 1), flow, 1)  # more than was announced
    assert queue.num_waiting_texts == 6


def test_a_very_large_request_counts_with_what_is_in_the_queue_at_once() -> None:
    queue = make_queue(max_texts=2 * HELD_TEXTS)
    queue.admit(Size(100 * HELD_TEXTS, 1))
    queue.admit(Size(100 * HELD_TEXTS, 1))
    with pytest.raises(QueueFullError):
        queue.admit(Size(1, 1))


def test_of_a_very_large_request_as_many_tokens_count_as_are_in_the_queue_at_once() -> None:
    queue = make_queue(max_tokens=2 * HELD_TOKENS)
    queue.admit(Size(60, 15_000_000))
    queue.admit(Size(60, 10))
    queue.admit(Size(60, HELD_TOKENS - 10))
    with pytest.raises(QueueFullError):
        queue.admit(Size(60, 15_000_000))
    assert Size(60, 15_000_000).held(HELD_TEXTS, HELD_TOKENS) == Size(4, HELD_TOKENS)
    assert Size(5000, 10_000).held(HELD_TEXTS, HELD_TOKENS) == Size(HELD_TEXTS, 2 * HELD_TEXTS)


def test_a_text_counts_with_its_prompt_and_at_most_as_the_context() -> None:
    assert Size.of(["word " * 200_000] * 60, "", 256) == Size(60, 60 * 256)
    assert Size.of(["é" * 100] * 10, "", 256) == Size(10, 10 * 51)
    assert Size.of(["four", [1, 2]], "a prompt of 20 chars", 256) == Size(2, 2 + 2 + 2 * 6)
    assert Size.of(["x" * 100], "p" * 5000, 256) == Size(1, 256)
    assert Size.of([("query " * 100, "document " * 100)], "", 256) == Size(1, 256)
    assert Size.of([[1] * 5000], "", 256) == Size(1, 256)


def test_bulk_work_does_not_keep_interactive_requests_out() -> None:
    queue = make_queue(max_texts=4)
    queue.put(job(1, 1, 1, 1), lane="bulk")
    with pytest.raises(QueueFullError):
        queue.put(job(1), lane="bulk")
    queue.put(job(1, 1))
    with pytest.raises(QueueFullError, match="2 texts are waiting and 3 more"):
        queue.put(job(1, 1, 1))


def test_a_request_that_would_wait_too_long_is_refused_with_the_time_until_it_would_not() -> None:
    queue = make_queue(max_wait_s=2)
    queue.speed.note(1000, 1.0)
    queue.admit(Size(10, 3500))
    with pytest.raises(QueueFullError, match=r"about 3500 tokens .* 3\.5 s now; at most 2000 ms") as caught:
        queue.admit(Size(10, 3500))
    assert caught.value.retry_after_s == pytest.approx(1.5)
    assert queue.stats().expected_wait_s == pytest.approx(3.5)


def test_only_what_goes_before_a_request_makes_it_wait() -> None:
    queue = make_queue(max_wait_s=2)
    queue.speed.note(1000, 1.0)
    queue.admit(Size(10, 3500))
    queue.admit(Size(1, 100))  # goes before the large one
    with pytest.raises(QueueFullError):
        queue.admit(Size(1, 1), "bulk")


def test_bulk_requests_wait_for_both_lanes_and_interactive_ones_for_theirs() -> None:
    queue = make_queue(max_wait_s=2)
    queue.speed.note(1000, 1.0)
    queue.admit(Size(1, 100), "bulk")
    queue.admit(Size(1, 1000))
    stats = queue.stats()
    assert (stats.expected_wait_s, stats.expected_bulk_wait_s) == (pytest.approx(1), pytest.approx(1.1))


def test_while_interactive_requests_wait_the_bulk_lane_is_expected_to_have_its_share_and_no_more() -> None:
    queue = make_queue(max_tokens=10**6, max_wait_s=10)
    queue.speed.note(1000, 1.0)
    queue.admit(Size(1, 5000), "bulk")
    queue.admit(Size(1, 5000), "bulk")
    assert queue.stats().expected_bulk_wait_s == pytest.approx(10)
    with queue.open(Urgency(), Size(1, 10)):
        assert queue.stats().expected_bulk_wait_s == pytest.approx(50)
        with pytest.raises(QueueFullError, match=r"about 50\.0 s now"):
            queue.admit(Size(1, 5000), "bulk")
    queue.admit(Size(1, 5000), "bulk")


def test_a_request_whose_turn_does_not_come_is_refused_after_all() -> None:
    now_s = [0.0]
    queue = Queue(BatchLimits(100, 50), TokenCounter, QueueLimits(max_wait_s=2), lambda: now_s[0])
    queue.speed.note(1000, 1.0)
    begun = queue.put(first := job(60, 60))
    queue.put(late := job(100))
    unsent = queue.admit(Size(1, 100))
    with queue.open(Urgency(), Size(1, 200), limited=False) as unlimited:
        queue.submit(patient := job(200), unlimited, 1)
        run(queue.take())  # the first text of the request that came first
        now_s[0] = 2 * 2 + 0.1
        run(queue.take())
        with pytest.raises(
            QueueFullError, match=r"not come within 4\.0 s: .* 2000 ms at most \(max_queue_ms\)"
        ) as caught:
            late.future.result(0)
        assert caught.value.retry_after_s == 2
        assert first.future.done()
        with pytest.raises(QueueFullError, match="not come within"):
            queue.submit(job(100), unsent, 1)
        queue.submit(more := job(10), begun, 1)
        run(queue.take())
        run(queue.take())
        assert patient.future.done()
        assert more.future.done()
    assert queue.stats().refused_requests_total == 2


def test_the_time_to_come_back_after_a_full_queue_follows_from_the_speed() -> None:
    queue = make_queue(max_texts=10)
    queue.put(job(*[100] * 10))
    with pytest.raises(QueueFullError) as unknown:
        queue.put(job(1))
    assert unknown.value.retry_after_s is None
    queue.speed.note(50, 1.0)
    with pytest.raises(QueueFullError) as known:
        queue.put(job(1, 1))
    assert known.value.retry_after_s == pytest.approx(2 * 100 / 50)


def test_a_finished_request_leaves_room() -> None:
    queue = make_queue(max_texts=3)
    with queue.open(Urgency(), Size(3, 3)), pytest.raises(QueueFullError):
        queue.admit(Size(1, 1))
    queue.admit(Size(1, 1))


def test_texts_whose_time_is_over_are_never_run() -> None:
    queue = make_queue()
    late, fine = job(5, 5), job(6)
    flow = queue.put(late, timeout_s=1000)
    queue.put(fine)
    flow.urgency = Urgency(timeout_s=0.0)
    batch = queue.take()
    assert batch is not None
    assert [len(text) for text in batch.texts] == [6]
    with pytest.raises(DeadlineError):
        late.future.result(timeout=0)
    with pytest.raises(DeadlineError):
        queue.submit(job(1), flow, 1)


def test_a_request_that_ends_late_is_counted_as_expired() -> None:
    queue = make_queue()
    for urgency in (Urgency(timeout_s=0.0), Urgency(timeout_s=1000)):
        with pytest.raises(ValueError), queue.open(urgency, Size(1, 1)):  # noqa: PT011
            raise ValueError
    with queue.open(Urgency(timeout_s=0.0), Size(1, 1)):
        pass
    assert queue.stats().expired_requests_total == 1


def test_waits_are_told_and_counted() -> None:
    queue, told = make_queue(), list[float]()
    queue.observer = Waits(told)
    queue.put(job(60, 60))
    queue.put(job(40))
    run(queue.take())
    run(queue.take())
    stats = queue.stats()
    assert len(told) == stats.queue_waits_total == 3
    assert sum(told) == pytest.approx(stats.queue_wait_seconds_total)
    assert min(told) >= 0


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the condition is another thread's
        await asyncio.sleep(0.001)


class Waits:
    def __init__(self, told: list[float]) -> None:
        self._told = told

    def queue_wait_s(self, seconds: float) -> None:
        self._told.append(seconds)

    def batch(self, num_texts: int, num_tokens: int, seconds: float) -> None:
        assert num_texts
        assert num_tokens
        self._told.append(seconds)


class Held:
    """The real model, that computes when it is let go."""

    def __init__(self, live: LiveModel) -> None:
        self._live = live
        self.go_on = threading.Event()

    def run(self, texts: Sequence[Sequence[int]], per_token: bool = False) -> BatchOutput:
        assert self.go_on.wait(30)
        return self._live.run(texts, per_token)


def test_an_embedder_refuses_requests_but_not_its_own_program(tiny_qwen3: Path) -> None:
    live = LiveModel(load_model(tiny_qwen3, EngineSettings(format="fp32")))
    held, told = Held(live), list[float]()
    with Embedder.assemble("tiny", "test", live, ServingSettings(max_queue_texts=2), runner=held) as embedder:
        embedder.tell(Waits(told))

        async def scenario() -> None:
            first = asyncio.create_task(embedder.encode_async(["running"]))
            await until(lambda: embedder.stats().queue_waits_total == 1)
            others = [asyncio.create_task(embedder.encode_async(["a", "b", "c"])) for _ in range(2)]
            await until(lambda: embedder.stats().waiting_texts == 6)
            with pytest.raises(QueueFullError):
                await embedder.embed_async(EmbedRequest(["d"]))
            held.go_on.set()
            await asyncio.gather(first, *others)
            assert (await embedder.embed_async(EmbedRequest(["d"]))).vectors.shape == (1, 64)

        asyncio.run(scenario())
        assert embedder.stats().refused_requests_total == 1
        assert len(told) == embedder.stats().queue_waits_total + embedder.stats().batches_total


def test_a_cancelled_request_that_waits_for_the_tokenizer_is_never_tokenised(
    tiny_qwen3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, prepared = threading.Event(), list[object]()
    with Embedder(str(tiny_qwen3), tokenizer_threads=1) as embedder:
        real = embedder._preparer.prepare

        def prepare(part: Slice) -> object:
            prepared.append(part.inputs[0].split()[0])
            assert go_on.wait(30)
            return real(part)

        monkeypatch.setattr(embedder._preparer, "prepare", prepare)

        def long(word: str) -> str:
            return f"{word} " * INLINE_CHARS  # a short text is tokenised at once

        async def scenario() -> None:
            first, second = (
                asyncio.create_task(embedder.encode_async([name])) for name in (long("first"), long("second"))
            )
            await until(lambda: len(prepared) == 1)
            bulk = EmbedRequest([long("bulk")], urgency=Urgency("bulk"))
            other = asyncio.create_task(embedder.embed_async(bulk))  # bulk work has a tokenizer thread of its own
            await until(lambda: len(prepared) == 2)
            second.cancel()
            await asyncio.wait([second])
            go_on.set()
            await asyncio.gather(first, other)

        asyncio.run(scenario())
        assert prepared == ["first", "bulk"]
        assert embedder.stats().admitted_requests_total == 3
