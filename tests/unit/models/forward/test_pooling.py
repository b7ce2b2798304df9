from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from farthing.models.batch.packed import pack
from farthing.models.forward.pooling import mean_pool, pooled_rows

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@given(lengths=LENGTHS, seed=st.integers(0, 2**31))
def test_mean_pooling_is_each_texts_own_mean(lengths: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    batch = pack([[0] * length for length in lengths], torch.device("cpu"))
    hidden = torch.randn(batch.num_tokens, 5)
    want = torch.stack([piece.mean(0) for piece in hidden.split(list(batch.lengths))])
    torch.testing.assert_close(mean_pool(hidden, batch), want)


@given(lengths=LENGTHS)
def test_last_and_first_pooling_name_one_row_a_text_and_mean_looks_at_all(lengths: list[int]) -> None:
    batch = pack([[0] * length for length in lengths], torch.device("cpu"))
    last, first = pooled_rows("last", batch), pooled_rows("cls", batch)
    assert last is not None
    assert first is not None
    assert (last - first + 1).tolist() == list(batch.lengths)
    assert first[0] == 0
    assert last[-1] == batch.num_tokens - 1
    assert pooled_rows("mean", batch) is None
