from __future__ import annotations

import pytest

from farthing.cli.bench.workloads import WORKLOADS, make_texts


def lengths(name: str, max_tokens: int = 40_000) -> list[int]:
    return [len(text) for text in make_texts(WORKLOADS[name].lengths, vocab=100, max_tokens=max_tokens)]


def test_workloads_have_the_texts_that_their_help_says() -> None:
    assert lengths("latency") == [128]
    assert lengths("throughput") == [128] * 8
    assert lengths("long") == [8192]


def shared(name: str) -> tuple[list[list[int]], set[tuple[int, ...]], set[tuple[int, ...]]]:
    """A workload's texts, for a model that ends each of them with the token 999; their beginnings and ends."""
    workload = WORKLOADS[name]
    prefix, suffix = workload.prefix_tokens, workload.suffix_tokens
    texts = make_texts(
        workload.lengths, vocab=900, max_tokens=40_000, prefix_tokens=prefix, suffix_tokens=suffix, after=[999]
    )
    return texts, {tuple(text[:prefix]) for text in texts}, {tuple(text[-suffix:]) for text in texts}


def test_queries_are_short_texts_behind_one_instruction() -> None:
    texts, beginnings, ends = shared("queries")
    assert len(texts) == 256
    assert {len(text) for text in texts} == set(range(24 + 8 + 1, 24 + 16 + 2))
    assert ([len(beginning) for beginning in beginnings], ends) == ([24], {(999,)})
    assert len({tuple(text[24:28]) for text in texts}) > 250


@pytest.mark.parametrize(("name", "count", "lengths"), [("rerank", 50, (80, 120)), ("rerank-short", 100, (30, 30))])
def test_documents_lie_between_a_prompt_and_its_end(name: str, count: int, lengths: tuple[int, int]) -> None:
    texts, beginnings, ends = shared(name)
    own = [len(text) - 72 - 9 for text in texts]
    assert (len(texts), min(own), max(own)) == (count, *lengths)
    assert sum(own) / count == pytest.approx(sum(lengths) / 2, abs=1)
    assert [len(beginning) for beginning in beginnings] == [72]
    assert [(len(end), end[-1]) for end in ends] == [(9, 999)]


@pytest.mark.parametrize(("max_tokens", "head", "suffix"), [(20, 16, 3), (9, 6, 2), (8, 6, 1), (6, 5, 0)])
def test_a_texts_own_tokens_are_cut_before_what_all_share(max_tokens: int, head: int, suffix: int) -> None:
    whole, cut = (
        make_texts([20], vocab=900, max_tokens=limit, prefix_tokens=6, suffix_tokens=4, before=[901], after=[902])[0]
        for limit in (20, max_tokens)
    )
    assert cut == [*whole[:head], *whole[16 : 16 + suffix], 902]
    assert (len(cut), cut[0]) == (max_tokens, 901)


def test_mixed_texts_are_of_16_to_512_tokens_in_no_order() -> None:
    found = lengths("mixed")
    assert (len(found), min(found), max(found)) == (64, 16, 512)
    assert len(set(found)) == 64
    assert found not in (sorted(found), sorted(found, reverse=True))


def test_texts_are_the_same_every_time_and_within_the_vocabulary() -> None:
    texts = make_texts([5, 300, 7], vocab=10, max_tokens=512)
    assert texts == make_texts([5, 300, 7], vocab=10, max_tokens=512)
    assert {token for text in texts for token in text} == set(range(10))


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_round_has_texts_of_its_own_behind_what_stays(name: str) -> None:
    workload = WORKLOADS[name]
    num_kept = workload.prefix_tokens - workload.query_tokens

    def texts(number: int) -> list[list[int]]:
        return make_texts(
            workload.lengths,
            vocab=100_000,
            max_tokens=40_000,
            number=number,
            prefix_tokens=workload.prefix_tokens,
            query_tokens=workload.query_tokens,
            suffix_tokens=workload.suffix_tokens,
        )

    rounds = [texts(number) for number in (-1, 0, 1, 2)]
    assert [sorted(map(len, found)) for found in rounds] == [sorted(workload.lengths)] * 4
    assert len({tuple(text[:num_kept]) for found in rounds for text in found}) == 1
    assert len({tuple(text[num_kept : num_kept + 8]) for found in rounds for text in found}) == (
        4 if workload.query_tokens else 4 * len(workload.lengths)
    )


@pytest.mark.parametrize("max_tokens", [20, 4, 3])
def test_special_tokens_stay_where_a_text_is_cut(max_tokens: int) -> None:
    (text,) = make_texts([16], vocab=10, max_tokens=max_tokens, before=[101], after=[102, 103])
    assert len(text) == min(16, max_tokens)
    assert (text[0], text[-2:]) == (101, [102, 103])


def test_a_long_text_is_as_long_as_the_model_allows() -> None:
    assert lengths("long", max_tokens=256) == [256]
