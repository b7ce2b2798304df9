from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.models.batch.packed import pack

TEXTS = st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=12), min_size=1, max_size=12)


@given(texts=TEXTS)
def test_the_packed_ids_are_the_texts_in_order_of_length(texts: list[list[int]]) -> None:
    batch = pack(texts)
    starts = batch.cu_seqlens.tolist()
    pieces = [batch.ids[start:end].tolist() for start, end in pairwise(starts)]
    assert [texts[index] for index in batch.order] == pieces
    assert sorted(batch.order) == list(range(len(texts)))
    assert list(batch.lengths) == [len(piece) for piece in pieces] == sorted(map(len, texts))
    assert (batch.num_tokens, batch.max_length) == (sum(map(len, texts)), max(map(len, texts)))


@given(texts=TEXTS)
def test_texts_of_equal_length_keep_their_order(texts: list[list[int]]) -> None:
    order = pack(texts).order
    assert all(first < second for first, second in pairwise(order) if len(texts[first]) == len(texts[second]))


@given(texts=TEXTS)
def test_runs_cover_the_tokens_once_and_never_mix_lengths(texts: list[list[int]]) -> None:
    batch = pack(texts)
    assert [run.length for run in batch.runs for _ in range(run.count)] == list(batch.lengths)
    assert len({run.length for run in batch.runs}) == len(batch.runs)
    covered = [token for run in batch.runs for token in range(batch.num_tokens)[run.tokens]]
    assert covered == list(range(batch.num_tokens))


@given(texts=TEXTS)
def test_positions_count_from_zero_in_every_text(texts: list[list[int]]) -> None:
    batch = pack(texts)
    assert batch.positions.tolist() == [place for length in batch.lengths for place in range(length)]


@given(texts=TEXTS)
def test_first_and_last_rows_are_the_texts_ends(texts: list[list[int]]) -> None:
    batch = pack(texts)
    packed = [texts[index] for index in batch.order]
    assert batch.ids[batch.first_rows()].tolist() == [text[0] for text in packed]
    assert batch.ids[batch.last_rows()].tolist() == [text[-1] for text in packed]


def test_types_are_those_that_kernels_want() -> None:
    batch = pack([[1, 2], [3]])
    dtypes = [t.dtype for t in (batch.ids, batch.positions, batch.cu_seqlens, batch.first_rows(), batch.last_rows())]
    assert dtypes == [np.int32] * 5


@pytest.mark.parametrize("texts", [[], [[]], [[1], []]])
def test_a_batch_without_tokens_is_a_bug_of_the_caller(texts: list[list[int]]) -> None:
    with pytest.raises(AssertionError, match="every text needs tokens"):
        pack(texts)
