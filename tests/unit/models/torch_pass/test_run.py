from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from farthing.models.batch.packed import pack
from farthing.models.torch_pass.run import mean_pool


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=8), seed=st.integers(0, 2**31))
def test_mean_pooling_is_each_texts_own_mean(lengths: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    batch = pack([[0] * length for length in lengths])
    hidden = torch.randn(batch.num_tokens, 5)
    want = torch.stack([piece.mean(0) for piece in hidden.split(list(batch.lengths))])
    torch.testing.assert_close(mean_pool(hidden, batch), want)
