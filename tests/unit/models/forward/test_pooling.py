from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from farthing.models.batch.packed import pack
from farthing.models.forward.pooling import pooled_rows

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@given(lengths=LENGTHS)
def test_last_and_first_pooling_name_one_row_a_text_and_mean_looks_at_all(lengths: list[int]) -> None:
    batch = pack([[0] * length for length in lengths])
    last, first = pooled_rows("last", batch), pooled_rows("cls", batch)
    assert last is not None
    assert first is not None
    assert (last - first + 1).tolist() == list(batch.lengths)
    assert first[0] == 0
    assert last[-1] == batch.num_tokens - 1
    assert pooled_rows("mean", batch) is None
