from hypothesis import given
from hypothesis import strategies as st

from farthing.models.batch.token_key import common_tokens, token_key

ids = st.lists(st.integers(0, 3) | st.integers(0, 2**32 - 1), max_size=12)


@given(ids, ids)
def test_keys_compare_as_the_ids_do(first: list[int], second: list[int]) -> None:
    assert (token_key(first) < token_key(second)) == (first < second)
    assert (token_key(first) == token_key(second)) == (first == second)


@given(ids, ids)
def test_what_two_texts_begin_with_alike_is_counted_in_tokens(first: list[int], second: list[int]) -> None:
    pairs = enumerate(zip(first, second, strict=False))
    expected = next((index for index, (a, b) in pairs if a != b), min(len(first), len(second)))
    assert common_tokens(token_key(first), token_key(second)) == expected
