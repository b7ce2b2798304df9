from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queueing import computed

from farthing.models.batch.forest import MIN_SHARED_TOKENS
from farthing.models.batch.token_key import token_key
from farthing.serving.queue.token_counter import TokenCounter

Text = list[int]
# Beginnings that are alike in no, few, just enough and many tokens, and some that are texts by themselves.
beginnings = st.builds(
    lambda first, second: [7] * first + [8] * second, st.integers(0, 30), st.integers(0, 12) | st.just(0)
)
text = st.builds(lambda a, b: a + b, beginnings, st.lists(st.integers(0, 1), max_size=12)).filter(bool)
texts = st.lists(text, min_size=1, max_size=30)


def counted(batch: Sequence[Text], *, shares_prefixes: bool = True) -> list[int]:
    counter = TokenCounter(shares_prefixes=shares_prefixes)
    added = [counter.add(token_key(text), most=len(text)) for text in batch]
    return [number for number in added if number is not None]


@given(texts)
def test_no_text_is_counted_with_much_less_than_is_computed(batch: list[Text]) -> None:
    added = counted(batch)
    assert len(added) == len(batch)
    assert computed(batch) <= sum(added) + (MIN_SHARED_TOKENS - 1) * len(batch)
    assert sum(added) <= sum(map(len, batch))


@pytest.mark.parametrize("num_frequent", [30, 300, 3000])
def test_queries_that_begin_with_the_same_few_words_are_counted_closely_and_not_with_less(num_frequent: int) -> None:
    source = random.Random(0)
    batch = []
    for _ in range(256):
        words = [int(num_frequent ** source.random()) for _ in range(source.randrange(4, 12))]
        batch.append([*range(10_000, 10_024), *words, 99_999])
    assert computed(batch) <= sum(counted(batch)) <= 1.25 * computed(batch)


@pytest.mark.parametrize("own", [8, 100])
@pytest.mark.parametrize("prefixes", [[24], [24, 8], [60, 12, 40]])
def test_nested_prefixes_count_once_each(prefixes: list[int], own: int) -> None:
    beginning, batch = [], []
    for depth, length in enumerate(prefixes):
        beginning = beginning + [depth] * length
        batch += [beginning + [100 * (depth + 1) + number] * own for number in range(5)]
    expected = sum(prefixes) + 5 * len(prefixes) * own
    for order in (batch, batch[::-1], batch[::2] + batch[1::2]):
        assert sum(counted(order)) == expected == computed(order)


def test_identical_texts_and_beginnings_of_others_add_nothing() -> None:
    long = [*range(40)]
    assert counted([long, long, long[:30], long[:8]]) == [40, 0, 0, 0]
    assert counted([long[:30], long]) == [30, 10]
    assert counted([long, long, long[:30]], shares_prefixes=False) == [40, 0, 30]


def test_too_short_a_beginning_is_not_shared() -> None:
    enough = [1] * MIN_SHARED_TOKENS
    few = enough[1:]
    assert counted([[*few, 2, 2], [*few, 3, 3]]) == [len(few) + 2, len(few) + 2]
    assert counted([[*enough, 2, 2], [*enough, 3, 3]]) == [len(enough) + 2, 2]
    behind = [5] * 20
    assert counted([[*behind, 2], [*behind, *few, 2], [*behind, *few, 3]]) == [21, len(few) + 1, len(few) + 1]
    assert counted([[*behind, 2], [*behind, *enough, 2], [*behind, *enough, 3]]) == [21, len(enough) + 1, 1]


@given(texts, st.integers(-5, 30))
def test_a_text_that_adds_too_much_is_not_put_in(batch: list[Text], most: int) -> None:
    limited, followed = (TokenCounter(shares_prefixes=True) for _ in range(2))
    for text in batch:
        found = limited.add(token_key(text), most)
        if found is not None:
            assert found <= max(0, most)
            assert found == followed.add(token_key(text), len(text))


@given(texts, st.integers(0, 30))
def test_a_text_is_refused_only_when_it_adds_too_much(batch: list[Text], most: int) -> None:
    for index, text in enumerate(batch):
        before, also_before = (TokenCounter(shares_prefixes=True) for _ in range(2))
        for other in batch[:index]:
            before.add(token_key(other), len(other))
            also_before.add(token_key(other), len(other))
        added = before.add(token_key(text), len(text))
        assert added is not None
        assert (also_before.add(token_key(text), most) is None) == (added > most)
