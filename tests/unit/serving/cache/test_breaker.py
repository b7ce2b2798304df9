from __future__ import annotations

from farthing.serving.cache.remote import Breaker


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(3, 5, clock)
    assert [breaker.failed() for _ in range(3)] == [False, False, True]
    return breaker


def test_it_opens_after_failures_in_a_row() -> None:
    breaker = Breaker(3, 5, Clock())
    for _ in range(10):
        breaker.failed()
        breaker.failed()
        assert breaker.allows()
        assert not breaker.succeeded()
    for _ in range(3):
        breaker.failed()
    assert not breaker.allows()
    assert not breaker.is_closed


def test_after_a_pause_one_may_try_and_closes_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now_s = 4.9
    assert not breaker.allows()
    clock.now_s = 5.0
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    assert breaker.succeeded()
    assert [breaker.allows() for _ in range(3)] == [True, True, True]


def test_a_try_that_fails_or_is_never_heard_of_opens_it_for_another_pause() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now_s = 5.0
    assert breaker.allows()
    assert not breaker.failed()  # it was open already
    clock.now_s = 9.9
    assert not breaker.allows()
    clock.now_s = 10.0
    assert breaker.allows()
    clock.now_s = 15.0
    assert breaker.allows()
