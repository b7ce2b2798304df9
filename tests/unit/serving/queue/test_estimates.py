from __future__ import annotations

import pytest

from farthing.serving.queue.estimates import MOST_SHARED, SPEED_MEMORY_S, Size, Speed, counted_tokens


def test_the_speed_is_not_known_before_the_first_batch() -> None:
    assert Speed().tokens_per_s is None


def test_many_short_batches_count_as_much_as_a_long_one_of_the_same_time() -> None:
    speed = Speed()
    speed.note(1000, 1.0)
    for _ in range(10):
        speed.note(20, 0.1)
    assert speed.tokens_per_s == pytest.approx(600, rel=0.06)


def test_the_past_is_forgotten() -> None:
    speed = Speed()
    speed.note(100_000, 10.0)
    for _ in range(5):
        speed.note(int(100 * SPEED_MEMORY_S), SPEED_MEMORY_S)
    assert speed.tokens_per_s == pytest.approx(100, rel=0.7)
    for _ in range(5):
        speed.note(int(100 * SPEED_MEMORY_S), SPEED_MEMORY_S)
    assert speed.tokens_per_s == pytest.approx(100, rel=0.01)


def test_a_flood_of_equal_texts_does_not_tell_that_others_are_soon_done() -> None:
    assert counted_tokens(300_000, 40) == 40 * MOST_SHARED
    assert counted_tokens(300, 100) == 300  # such as texts with a prompt
    assert counted_tokens(100, 100) == 100


@pytest.mark.parametrize(
    ("inputs", "num_tokens"),
    [
        (["twelve chars"], 4),
        (["x"] * 10, 10),
        (["中文的一句话"], 5),
        (["\ud800"], 1),
        ([[1, 2, 3], [4]], 4),
        ([("query", "document")], 5),
    ],
)
def test_a_size_is_estimated_by_bytes_and_known_for_token_ids(inputs: list[object], num_tokens: int) -> None:
    assert Size.of(inputs, "", 1000) == Size(len(inputs), num_tokens)


def test_a_part_of_a_request_has_its_part_of_the_tokens() -> None:
    assert Size(10, 100).at_most(3) == Size(3, 30)
    assert Size(10, 100).at_most(30) == Size(10, 100)
    assert Size(10, 100).less(9) == Size(1, 10)
    assert Size(10, 100).less(11) == Size(0, 0)
