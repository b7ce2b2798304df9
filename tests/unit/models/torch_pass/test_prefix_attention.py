from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.models.batch.forest import Forest, Segment
from farthing.models.batch.held_keys import HeldKeys, KnownPrefix
from farthing.models.batch.packed import pack_forest
from farthing.models.torch_pass.prefix_attention import attend, attend_by_scores, attend_prefixes
from tiers import examples

HEAD_DIM = 8


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Causal, in fp64, of one text's last rows: q [rows, heads, d] and k, v [tokens, kv_heads, d]."""
    group = q.shape[1] // k.shape[1]
    q, k, v = (t.double().transpose(0, 1) for t in (q, k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)))
    first = k.shape[1] - q.shape[1]
    later = torch.arange(k.shape[1]) > torch.arange(first, k.shape[1])[:, None]
    scores = (q @ k.transpose(1, 2) / HEAD_DIM**0.5).masked_fill(later, -torch.inf)
    return (scores.softmax(-1) @ v).transpose(0, 1)


@st.composite
def forests(draw: st.DrawFn) -> Forest:
    """Segments of 1 to 12 tokens; each goes on from an earlier one, from a known prefix, or from nothing."""
    known = [
        KnownPrefix(HeldKeys(held), draw(st.integers(1, held)))
        for held in draw(st.lists(st.integers(1, 9), max_size=2))
    ]
    segments: list[Segment] = []
    for index in range(draw(st.integers(1, 8))):
        parent = draw(st.integers(-1 - len(known), index - 1))
        start = segments[parent].stop if parent >= 0 else 0 if parent == -1 else known[-2 - parent].num_tokens
        stop = start + draw(st.integers(1, 12))
        segments.append(Segment(index, start, stop, max(parent, -1), -2 - parent if parent < -1 else -1))
    texts = [[0] * segment.stop for segment in segments]
    return Forest(texts, segments, list(range(len(segments))), known)


@settings(max_examples=examples(150), deadline=None)
@given(forests(), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2**31))
def test_every_segment_attends_to_all_that_comes_before_it(
    forest: Forest, kv_heads: int, group: int, seed: int
) -> None:
    torch.manual_seed(seed)
    batch = pack_forest(forest)
    q = torch.randn(batch.num_tokens, kv_heads * group, HEAD_DIM)
    k, v = torch.randn(2, batch.num_tokens, kv_heads, HEAD_DIM)
    held = [tuple(torch.randn(2, known.held.num_tokens, kv_heads, HEAD_DIM)) for known in forest.known]
    if batch.prefixes is None:
        return
    got = attend_prefixes(q.clone(), k, v, batch, [(keys, values) for keys, values in held])
    for place, index in enumerate(batch.order):
        keys, values, segment = [k[batch.tokens(place)]], [v[batch.tokens(place)]], forest.segments[index]
        while segment.parent >= 0:
            before = batch.tokens(batch.order.index(segment.parent))
            keys, values, segment = [k[before], *keys], [v[before], *values], forest.segments[segment.parent]
        if segment.known >= 0:
            seen = forest.known[segment.known].num_tokens
            keys, values = [held[segment.known][0][:seen], *keys], [held[segment.known][1][:seen], *values]
        want = attention(q[batch.tokens(place)], torch.cat(keys), torch.cat(values))
        torch.testing.assert_close(got[batch.tokens(place)].double(), want, atol=1e-5, rtol=1e-5)


def test_the_result_takes_the_queries_memory() -> None:
    forest = Forest([[0] * 4, [0] * 6], [Segment(0, 0, 4), Segment(1, 4, 6, parent=0)], [0, 1])
    batch = pack_forest(forest)
    q, k, v = torch.randn(3, 6, 2, HEAD_DIM)
    assert attend_prefixes(q, k, v, batch, []).data_ptr() == q.data_ptr()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_ways_to_attend_agree(causal: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farthing.models.torch_pass.prefix_attention.SCORES_BYTES", 1000)  # several pieces
    torch.manual_seed(0)
    q, keys = torch.randn(2, 4, 9, HEAD_DIM, dtype=dtype), 9 if causal else 20
    k, v = torch.randn(2, 2, 2, keys, HEAD_DIM, dtype=dtype)
    for one, other in zip(attend(q, k, v, causal=causal), attend_by_scores(q, k, v, causal=causal), strict=True):
        tolerance = 1e-5 if dtype is torch.float32 else 2e-2
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)
