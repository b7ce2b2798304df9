from __future__ import annotations

from farthing.serving.queue.scheduler import BatchLimits, Scheduler
from farthing.serving.queue.token_budget import LEAST_TOKENS, SUCCESSES_TO_DOUBLE, TokenBudget


def budget(max_tokens: int = 4096) -> tuple[TokenBudget, Scheduler]:
    scheduler = Scheduler(BatchLimits(max_tokens, 512))
    return TokenBudget(scheduler), scheduler


def succeed(found: TokenBudget, times: int) -> None:
    for _ in range(times):
        found.note_success()


def test_a_batch_that_found_no_memory_halves_what_it_had() -> None:
    found, scheduler = budget()
    found.halve(3000)
    assert found.tokens == scheduler.max_tokens == 1500


def test_it_doubles_after_enough_batches_that_found_theirs_and_never_over_the_ceiling() -> None:
    found, _ = budget()
    found.halve(4096)
    succeed(found, SUCCESSES_TO_DOUBLE - 1)
    assert found.tokens == 2048
    found.note_success()
    assert found.tokens == 4096
    succeed(found, 10 * SUCCESSES_TO_DOUBLE)
    assert found.tokens == 4096


def test_a_failure_begins_the_count_anew() -> None:
    found, _ = budget()
    found.halve(4096)
    succeed(found, SUCCESSES_TO_DOUBLE - 1)
    found.halve(2048)
    succeed(found, SUCCESSES_TO_DOUBLE - 1)
    assert found.tokens == 1024


def test_it_never_falls_under_the_least() -> None:
    found, _ = budget()
    for _ in range(20):
        found.halve(found.tokens)
    assert found.tokens == LEAST_TOKENS


def test_a_lower_ceiling_holds_at_once_and_a_higher_one_lifts_a_full_budget() -> None:
    found, scheduler = budget()
    found.set_ceiling(1024)
    assert scheduler.max_tokens == 1024
    found.set_ceiling(4096)
    assert scheduler.max_tokens == 4096


def test_a_higher_ceiling_does_not_lift_a_budget_that_was_halved() -> None:
    found, _ = budget()
    found.set_ceiling(1024)
    found.halve(1024)
    found.set_ceiling(4096)
    assert found.tokens == 512
