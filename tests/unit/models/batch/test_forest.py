from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from farthing.models.batch.forest import MIN_SHARED_TOKENS, Forest, batch_forest
from tiers import examples

PREFIX = list(range(100, 100 + 2 * MIN_SHARED_TOKENS))
few_tokens = st.lists(st.integers(0, 2), min_size=1, max_size=5)
texts_that_share = st.lists(
    st.builds(
        lambda length, ids: [*PREFIX[:length], *ids],
        st.sampled_from([0, 0, 1, MIN_SHARED_TOKENS, len(PREFIX)]),
        few_tokens,
    ),
    min_size=1,
    max_size=12,
)


def spelled(forest: Forest, text: int) -> list[int]:
    """A text's tokens, from its last segment up to its first."""
    tokens: list[int] = []
    segment = forest.ends[text]
    while segment >= 0:
        found = forest.segments[segment]
        assert found.stop == len(forest.texts[text]) - len(tokens)
        tokens = [*forest.texts[found.text][found.start : found.stop], *tokens]
        segment = found.parent
    return tokens


def num_computed(texts: list[list[int]]) -> int:
    return sum(segment.num_tokens for segment in batch_forest(texts).segments)


@settings(max_examples=examples(300), deadline=None)
@given(texts_that_share)
@example([PREFIX, PREFIX])
@example([PREFIX[:n] for n in range(1, len(PREFIX) + 1)])
def test_every_text_is_spelled_by_its_segments(texts: list[list[int]]) -> None:
    forest = batch_forest(texts)
    assert [spelled(forest, index) for index in range(len(texts))] == texts
    assert all(segment.num_tokens > 0 for segment in forest.segments)


@settings(max_examples=examples(300), deadline=None)
@given(texts_that_share)
def test_computed_tokens_are_those_of_the_segments(texts: list[list[int]]) -> None:
    forest = batch_forest(texts)
    assert sum(forest.computed()) == sum(segment.num_tokens for segment in forest.segments)
    assert all(0 <= count <= len(text) for count, text in zip(forest.computed(), texts, strict=True))


def test_a_shared_beginning_is_there_once() -> None:
    assert num_computed([[*PREFIX, 1], [*PREFIX, 2], [*PREFIX, 3]]) == len(PREFIX) + 3


def test_beginnings_nest() -> None:
    longer = [*PREFIX, *range(50, 70)]
    texts = [[*PREFIX, 1], [*longer, 2], [*longer, 3, 3], [9, 9]]
    assert num_computed(texts) == len(longer) + 1 + 1 + 2 + 2


def test_identical_texts_are_there_once() -> None:
    forest = batch_forest([PREFIX, [1, 2], PREFIX, PREFIX])
    assert forest.computed() == (len(PREFIX), 2, 0, 0)


def test_a_text_that_another_begins_with_ends_within_it() -> None:
    forest = batch_forest([PREFIX, [*PREFIX, 5]])
    assert [forest.segments[end].num_tokens for end in forest.ends] == [len(PREFIX), 1]


def test_few_tokens_are_not_worth_a_segment_of_their_own() -> None:
    few = PREFIX[: MIN_SHARED_TOKENS - 1]
    assert num_computed([[*few, 1], [*few, 2]]) == 2 * len(few) + 2
    assert num_computed([[*few, 1], [*few, 2], [*few, 3]]) == len(few) + 3  # but three texts save twice as many


def test_nothing_is_shared_but_by_beginnings() -> None:
    texts = [[1, *PREFIX], [2, *PREFIX]]
    assert num_computed(texts) == sum(map(len, texts))
    assert not batch_forest(texts).has_prefixes


@pytest.mark.parametrize("kind", ["distinct", "chain", "pairs"])
def test_thousands_of_texts_take_milliseconds(kind: str) -> None:
    random = np.random.default_rng(0)
    texts = random.integers(0, 150_000, (4000, 16)).tolist()
    if kind == "chain":
        one = random.integers(0, 150_000, 4000).tolist()
        texts = [one[:length] for length in range(1, 2000)]
    elif kind == "pairs":
        texts = [[*text[:12], other] for text in texts for other in (1, 2)]
    started = time.perf_counter()
    forest = batch_forest(texts)
    assert time.perf_counter() - started < 5  # the chain is quadratic in bytes, and still no loop over tokens
    assert len(forest.ends) == len(texts)
