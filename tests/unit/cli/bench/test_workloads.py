from __future__ import annotations

import pytest

from farthing.cli.bench.workloads import WORKLOADS, make_texts


def lengths(name: str, max_tokens: int = 40_000) -> list[int]:
    return [len(text) for text in make_texts(WORKLOADS[name].lengths, vocab=100, max_tokens=max_tokens)]


def test_workloads_have_the_texts_that_their_help_says() -> None:
    assert lengths("latency") == [128]
    assert lengths("throughput") == [128] * 8
    assert lengths("long") == [8192]


def test_mixed_texts_are_of_16_to_512_tokens_in_no_order() -> None:
    found = lengths("mixed")
    assert (len(found), min(found), max(found)) == (64, 16, 512)
    assert len(set(found)) == 64
    assert found not in (sorted(found), sorted(found, reverse=True))


def test_texts_are_the_same_every_time_and_within_the_vocabulary() -> None:
    texts = make_texts([5, 300, 7], vocab=10, max_tokens=512)
    assert texts == make_texts([5, 300, 7], vocab=10, max_tokens=512)
    assert {token for text in texts for token in text} == set(range(10))


@pytest.mark.parametrize("max_tokens", [20, 4, 3])
def test_special_tokens_stay_where_a_text_is_cut(max_tokens: int) -> None:
    (text,) = make_texts([16], vocab=10, max_tokens=max_tokens, before=[101], after=[102, 103])
    assert len(text) == min(16, max_tokens)
    assert (text[0], text[-2:]) == (101, [102, 103])


def test_a_long_text_is_as_long_as_the_model_allows() -> None:
    assert lengths("long", max_tokens=256) == [256]
