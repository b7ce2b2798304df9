from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from farthing.models.token_key import token_key
from farthing.serving.token_counter import MIN_SHARED_TOKENS, TokenCounter

Text = list[int]
# Beginnings that are alike in no, few, just enough and many tokens, and one that is a text by itself.
beginnings = st.integers(0, 20).map(lambda length: [7] * length)
texts = st.lists(st.builds(lambda a, b: a + b, beginnings, st.lists(st.integers(0, 2), min_size=1, max_size=12)))


def common(first: Text, second: Text) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(first), len(second)))


def expected_cost(text: Text, before: Sequence[Text], *, shares_prefixes: bool) -> int:
    if text in before:
        return 0
    shared = max((common(text, other) for other in before), default=0)
    return len(text) - shared if shares_prefixes and shared >= MIN_SHARED_TOKENS else len(text)


@given(texts, st.booleans(), st.integers(-5, 30))
def test_a_text_costs_what_follows_the_longest_beginning_that_is_there(
    batch: list[Text], shares_prefixes: bool, most: int
) -> None:
    counter = TokenCounter(shares_prefixes=shares_prefixes)
    for index, text in enumerate(batch):
        key, expected = token_key(text), expected_cost(text, batch[:index], shares_prefixes=shares_prefixes)
        assert counter.cost(key, most=len(text)) == expected
        assert counter.cost(key, most) == (expected if expected <= max(0, most) else None)
        counter.add(key)


@given(texts, st.randoms(use_true_random=False))
def test_a_batch_costs_the_same_in_any_order(batch: list[Text], source: object) -> None:
    def total(order: Sequence[Text]) -> int:
        counter, sum_of_costs = TokenCounter(shares_prefixes=True), 0
        for text in order:
            sum_of_costs += counter.cost(token_key(text), most=len(text)) or 0
            counter.add(token_key(text))
        return sum_of_costs

    shuffled = list(batch)
    source.shuffle(shuffled)  # type: ignore[attr-defined]
    assert total(batch) == total(shuffled)
