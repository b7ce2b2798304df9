from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.engine.prefix_cache import MIN_HELD_TOKENS, PrefixCache
from farthing.models.batch.forest import MIN_SHARED_TOKENS, Forest, distinct_forest
from tiers import examples

RNG = np.random.default_rng(0)
TOKEN_BYTES = 8
INSTRUCTION, OTHER = RNG.integers(0, 1000, (2, 24)).tolist()
BUDGET = 4 * 24 * TOKEN_BYTES  # the largest beginning has 24 tokens


def compute(forest: Forest) -> None:
    """As a pass does: fill what is to be stored, here with the tokens themselves."""
    for segment, held in forest.stored.items():
        text = forest.texts[forest.segments[segment].text]
        held.layers.append((torch.tensor(text[: held.num_tokens], dtype=torch.int64),))


def run(cache: PrefixCache, *texts: list[int]) -> tuple[int, ...]:
    """Tokens computed for each text."""
    forest = cache.forest(texts)
    compute(forest)
    cache.keep(forest)
    return forest.computed()


def test_a_beginning_is_held_when_it_comes_back() -> None:
    cache = PrefixCache(BUDGET, TOKEN_BYTES)
    assert run(cache, [*INSTRUCTION, 1, 2]) == (26,)
    assert cache.num_bytes == 0
    assert run(cache, [*INSTRUCTION, 3, 4]) == (26,)
    assert cache.num_bytes == 24 * TOKEN_BYTES
    assert run(cache, [*INSTRUCTION, 5]) == (1,)
    assert run(cache, [*INSTRUCTION, 6, 7], [*INSTRUCTION, 8]) == (2, 1)


def test_part_of_what_is_held_is_enough() -> None:
    cache = PrefixCache(BUDGET, TOKEN_BYTES)
    for last in (1, 2):
        run(cache, [*INSTRUCTION, last])
    assert run(cache, [*INSTRUCTION[:20], 7, 7]) == (2,)
    assert run(cache, [*INSTRUCTION[: MIN_SHARED_TOKENS - 1], 7]) == (MIN_SHARED_TOKENS,)


def test_the_last_token_is_always_computed() -> None:
    cache = PrefixCache(BUDGET, TOKEN_BYTES)
    for last in (1, 2):
        run(cache, [*INSTRUCTION, last])
    forest = cache.forest([INSTRUCTION])
    assert forest.computed() == (1,)
    assert forest.segments[forest.ends[0]].num_tokens == 1


def test_what_was_used_least_recently_goes_first() -> None:
    cache = PrefixCache(BUDGET, TOKEN_BYTES)
    beginnings = RNG.integers(0, 1000, (5, 24)).tolist()
    for beginning in beginnings[:4]:
        for last in (1, 2):
            run(cache, [*beginning, last])
    run(cache, [*beginnings[0], 3])
    for last in (1, 2):
        run(cache, [*beginnings[4], last])
    assert cache.num_bytes <= BUDGET
    assert run(cache, [*beginnings[0], 4]) == (1,)
    assert run(cache, [*beginnings[1], 4]) != (1,)


def test_a_beginning_that_goes_on_takes_the_place_of_the_shorter_one() -> None:
    cache = PrefixCache(4 * BUDGET, TOKEN_BYTES)
    for last in (1, 2):
        run(cache, [*INSTRUCTION, last])
    for last in (1, 2):
        run(cache, [*INSTRUCTION, *OTHER, last])
    assert cache.num_bytes == 48 * TOKEN_BYTES
    assert run(cache, [*INSTRUCTION, 5], [*INSTRUCTION, *OTHER, 6]) == (1, 1)


def test_what_is_too_large_or_too_short_is_not_held() -> None:
    cache = PrefixCache(BUDGET, TOKEN_BYTES)
    for beginning in ([*INSTRUCTION, 0], INSTRUCTION[: MIN_HELD_TOKENS - 1]):
        for last in (1, 2, 3):
            assert run(cache, [*beginning, last]) == (len(beginning) + 1,)
    assert cache.num_bytes == 0


def test_less_memory_means_less_is_held_at_once() -> None:
    cache = PrefixCache(BUDGET, TOKEN_BYTES)
    for last in (1, 2):
        run(cache, [*INSTRUCTION, last])
    cache.limit(0)
    assert cache.num_bytes == 0
    for last in (3, 4, 5):
        assert run(cache, [*INSTRUCTION, last]) == (25,)
    cache.limit(BUDGET)
    for last in (6, 7):
        run(cache, [*INSTRUCTION, last])
    assert run(cache, [*INSTRUCTION, 8]) == (1,)


def test_what_a_failed_pass_was_to_store_is_not_held() -> None:
    cache = PrefixCache(BUDGET, TOKEN_BYTES)
    run(cache, [*INSTRUCTION, 1])
    cache.forest([[*INSTRUCTION, 2]])  # never computed
    assert run(cache, [*INSTRUCTION, 3]) == (25,)


texts = st.lists(
    st.builds(
        lambda beginning, ids: [*beginning, *ids],
        st.sampled_from([[], INSTRUCTION, OTHER, INSTRUCTION[:12], [*INSTRUCTION, *OTHER]]),
        st.lists(st.integers(0, 2), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(texts, min_size=1, max_size=8), st.sampled_from([0, BUDGET, 100 * BUDGET]))
def test_every_text_of_any_batches_is_spelled_and_memory_is_bounded(
    batches: list[list[list[int]]], budget: int
) -> None:
    cache = PrefixCache(budget, TOKEN_BYTES)
    for batch in batches:
        forest = cache.forest(batch)
        for text, segment in zip(batch, forest.ends, strict=True):
            tokens: list[int] = []
            while segment >= 0:
                found = forest.segments[segment]
                tokens = [*batch[found.text][found.start : found.stop], *tokens]
                known, segment = found.known, found.parent
            if known >= 0:
                tokens = [*forest.known[known].held.layers[0][0][: forest.known[known].num_tokens].tolist(), *tokens]
            assert tokens == text
        compute(forest)
        cache.keep(forest)
        assert cache.num_bytes <= budget


def test_for_other_models_only_identical_texts_are_there_once() -> None:
    forest = distinct_forest([[1, 2], INSTRUCTION, [1, 2], [*INSTRUCTION, 1]])
    assert forest.computed() == (2, 24, 0, 25)
    assert not forest.has_prefixes


@pytest.mark.parametrize("budget", [0, BUDGET])
def test_a_thousand_distinct_texts_find_nothing(budget: int) -> None:
    cache = PrefixCache(budget, TOKEN_BYTES)
    distinct = RNG.integers(0, 150_000, (1000, 20)).tolist()
    for _ in range(2):
        forest = cache.forest(RNG.permutation(distinct).tolist())
        compute(forest)
        cache.keep(forest)
    assert not cache.forest(RNG.integers(0, 150_000, (100, 20)).tolist()).has_prefixes
