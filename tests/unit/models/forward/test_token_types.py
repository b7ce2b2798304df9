from __future__ import annotations

from dataclasses import replace

from farthing.models.batch.packed import pack
from farthing.models.forward.token_types import token_types
from farthing.models.spec import AttentionSpec, FeedForwardSpec, InputSpec, LayerSpec, ModelSpec, NormSpec

NORM = NormSpec("layer", 1e-12)
LAYER = LayerSpec(AttentionSpec(2, 2, 16, is_causal=False), FeedForwardSpec(64, "gelu", is_gated=False), NORM, "after")
PAIRS = ModelSpec("toy", 100, 32, 64, (LAYER,), InputSpec(num_token_types=2), pair_separator=9)


def test_tokens_behind_the_first_separator_are_of_the_second_type() -> None:
    texts = [[1, 9, 9, 5, 9, 5], [1, 9, 7, 7, 9], [4], [9], [1, 9, 2, 9]]
    batch = pack(texts)
    types = token_types(PAIRS, batch)
    assert types is not None
    ends = batch.cu_seqlens.tolist()
    by_text = {batch.order[place]: types[ends[place] : ends[place + 1]].tolist() for place in range(len(texts))}
    assert [by_text[index] for index in range(len(texts))] == [
        [0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0], [0], [0, 0, 1, 1],
    ]  # fmt: skip


def test_single_texts_have_no_types() -> None:
    batch = pack([[1, 9, 2]])
    assert token_types(replace(PAIRS, pair_separator=None), batch) is None
    assert token_types(replace(PAIRS, input=InputSpec()), batch) is None
