"""Several upstreams, some of which fail: no request does while one is left."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from farthing.core.errors import ClosedError, NoUpstreamError, UpstreamBusyError, UpstreamFailedError
from farthing.serving.request import EmbedRequest
from farthing.upstream.pool import PATIENCE_S

FAILURES = [
    "500",
    "503",
    "break off",
    "garbage",
    "null",
    "too few",
    "doubled",
    "ragged",
    "words",
    "not finite",
    "narrow",
    "zeros",
    "an index of 1e999",
    "too long",
    "too long, packed",
]


@pytest.mark.parametrize("behaviour", [*FAILURES, "429", "401", "404"])
def test_what_one_fails_at_another_answers(behaviour: str, fronts: Any, ask: Any, server: Any) -> None:
    first, second = fronts
    with ask(first.url, second.url) as asked:
        wait_for(lambda: all(asked.used()))
        first.door.behaviour = behaviour
        for number in range(6):
            texts = [f"{behaviour} {number}", "and more"]
            np.testing.assert_allclose(asked(texts).vectors, server.embedder.encode(texts), atol=2e-6)
    assert len(first.door.asked) > 1


def test_one_that_hangs_is_given_up_and_left_out(fronts: Any, ask: Any) -> None:
    first, second = fronts
    with ask(first.url, second.url, upstream_timeout_s=0.5) as asked:
        wait_for(lambda: all(asked.used()))
        first.door.behaviour = second.door.behaviour = "hang"
        second.door.next.extend(["well"] * 50)
        for number in range(4):
            assert asked([f"hang {number}"]).vectors.shape == (1, 384)
        assert asked.used() == [False, True]


def test_a_failing_one_is_left_out_and_comes_back(fronts: Any, ask: Any, caplog: pytest.LogCaptureFixture) -> None:
    first, second = fronts
    with caplog.at_level(logging.INFO), ask(first.url, second.url) as asked:
        wait_for(lambda: all(asked.used()))
        first.door.behaviour = "500"
        for number in range(12):
            asked([f"text {number}"])
        wait_for(lambda: asked.used() == [False, True])
        num_asked = len(second.door.asked)
        asked(["only the second one"])
        assert len(second.door.asked) == num_asked + 1
        first.door.behaviour = "well"
        wait_for(lambda: all(asked.used()))
    lines = [record.message for record in caplog.records if first.url in record.message]
    assert any("it answered 500" in line for line in lines)
    assert sum("is used" in line for line in lines) == 2


def test_a_text_that_all_fail_at_takes_none_of_them_out(fronts: Any, ask: Any) -> None:
    first, second = fronts
    with ask(first.url, second.url) as asked:
        wait_for(lambda: all(asked.used()))
        for front in fronts:
            front.door.bad_text = "bad"
        with pytest.raises(UpstreamFailedError, match="NaN or Inf"):
            asked(["bad"])
        assert asked.used() == [True, True]
        assert asked(["good"]).vectors.shape == (1, 384)
    assert sum(body["input"] == ["bad"] for front in fronts for body in front.door.asked) == 4


def test_with_none_left_the_error_is_typed_and_comes_soon(fronts: Any, ask: Any) -> None:
    with ask(fronts[0].url) as asked:
        fronts[0].door.behaviour = "500"
        with pytest.raises((UpstreamFailedError, NoUpstreamError)):
            asked(["a"])
        wait_for(lambda: not any(asked.used()))
        assert not asked.embedder.health().ready
        time.sleep(2.0)
        started = time.monotonic()
        with pytest.raises(NoUpstreamError):
            asked(["a"])
        assert time.monotonic() - started < PATIENCE_S  # it is not waited for one to come back


def test_one_that_has_too_much_to_do_is_left_alone_as_long_as_it_says(fronts: Any, ask: Any) -> None:
    door = fronts[0].door
    with ask(fronts[0].url) as asked:
        door.next.append("429")
        started = time.monotonic()
        assert asked(["a"]).vectors.any()
        assert time.monotonic() - started > 0.2
        door.behaviour = "429"
        with pytest.raises(UpstreamBusyError):
            asked(["a"])
        door.behaviour = "well"
        wait_for(lambda: all(asked.used()))


def test_who_computes_another_model_is_not_used(fronts: Any, ask: Any, caplog: pytest.LogCaptureFixture) -> None:
    first, second = fronts
    second.door.behaviour = "other weights"
    with caplog.at_level(logging.WARNING), ask(first.url) as alone, ask(first.url, second.url) as asked:
        wait_for(lambda: "other vectors than the first" in caplog.text or "dimensions" in caplog.text)
        assert asked.used().count(True) == 1
        assert alone.used() == [True]
    second.door.behaviour = "narrow"
    with caplog.at_level(logging.WARNING), ask(second.url, first.url, upstream_dimensions=384) as asked:
        wait_for(lambda: "makes vectors of 100 dimensions, not 384" in caplog.text)
        assert asked.used() == [False, True]


def test_who_has_least_to_do_is_asked(fronts: Any, ask: Any) -> None:
    first, second = fronts
    with ask(first.url, second.url) as asked, ThreadPoolExecutor(1) as pool:
        wait_for(lambda: all(asked.used()))
        before = [len(front.door.asked) for front in fronts]
        for front in fronts:
            front.door.behaviour = "hang"
        slow = pool.submit(asked, ["a long text " * 100])
        wait_for(lambda: [len(front.door.asked) for front in fronts] != before)
        busy, free = (first, second) if len(first.door.asked) > before[0] else (second, first)
        free.door.behaviour = "well"
        for number in range(5):
            asked([f"short {number}"])
        assert len(free.door.asked) == before[fronts.index(free)] + 5
        busy.door.behaviour = "well"
        asked.embedder.close()
        assert slow.exception(timeout=20) is not None


def test_cancelling_takes_the_request_back(fronts: Any, ask: Any) -> None:
    with ask(fronts[0].url) as asked:
        fronts[0].door.behaviour = "hang"

        async def give_up() -> None:
            work = asyncio.ensure_future(asked.embedder.embed_async(EmbedRequest(["a"] * 100)))
            await asyncio.to_thread(wait_for, lambda: asked.embedder.upstreams()[0].running_requests == 4)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work

        asyncio.run(give_up())
        wait_for(lambda: asked.embedder.upstreams()[0].running_requests == 0)
        assert asked.embedder.stats().waiting_texts == 0


def test_closing_finishes_what_was_accepted(fronts: Any, ask: Any) -> None:
    with ask(fronts[0].url) as asked, ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(asked, [f"text {number}"] * 40) for number in range(4)]
        wait_for(lambda: asked.embedder.stats().waiting_texts == 160)
        asked.embedder.close()
        assert all(answer.result(timeout=20).vectors.any() for answer in answers)
        with pytest.raises(ClosedError):
            asked(["late"])
    assert not [thread for thread in threading.enumerate() if thread.name == "farthing-upstream"]


def test_a_dying_upstream_under_load_fails_no_request(fronts: Any, server: Any, ask: Any) -> None:
    first, second = fronts
    with ask(first.url, second.url) as asked, ThreadPoolExecutor(12) as pool:
        wait_for(lambda: all(asked.used()))
        answers = [pool.submit(asked, [f"text {number}", "b"]) for number in range(300)]
        first.door.behaviour = "break off"
        vectors = [answer.result(timeout=60).vectors for answer in answers]
    assert all(row.shape == (2, 384) for row in vectors)
    np.testing.assert_allclose(vectors[-1], server.embedder.encode(["text 299", "b"]), atol=2e-6)


def wait_for(condition: Any, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


@pytest.mark.parametrize("turns", range(5))
def test_closing_in_the_moment_of_a_failure_ends(turns: int, fronts: Any, ask: Any) -> None:
    """So many turns of the loop after whoever watches an upstream was told that it failed."""
    with ask(fronts[0].url) as asked:
        pool = asked.embedder._pool

        async def fail_and_close() -> None:
            pool._members[0].needs_probe.set()
            for _ in range(turns):
                await asyncio.sleep(0)
            await pool.close()

        asked.embedder._loop.submit(fail_and_close()).result(timeout=20)
