from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing.models.batch.packed import pack
from farthing.models.torch_pass.attention import attend_runs, attend_varlen, has_varlen
from farthing.models.torch_pass.start import TorchBatch
from tiers import examples

HEAD_DIM = 8
MIB = 2**20
CPU = torch.device("cpu")
Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def batch_of(texts: list[list[int]], device: torch.device = CPU) -> TorchBatch:
    return TorchBatch.on(pack(texts), device)


def naive(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, lengths: tuple[int, ...], causal: bool) -> torch.Tensor:
    """Softmax of the whole tokens x tokens matrix under a mask, in fp64."""
    text = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    place = torch.arange(len(text))
    allowed = text[:, None] == text[None, :]
    if causal:
        allowed &= place[:, None] >= place[None, :]
    groups = q.shape[1] // k.shape[1]
    q, k, v = (t.double().transpose(0, 1) for t in (q, k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)))
    scores = q @ k.transpose(1, 2) / HEAD_DIM**0.5
    return (scores.masked_fill(~allowed, -torch.inf).softmax(-1) @ v).transpose(0, 1)


def random_qkv(num_tokens: int, heads: int, kv_heads: int) -> Tensors:
    q = torch.randn(num_tokens, heads, HEAD_DIM)
    k, v = torch.randn(2, num_tokens, kv_heads, HEAD_DIM)
    return q, k, v


@settings(max_examples=examples(40), deadline=None)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=8),
    kv_heads=st.integers(1, 3),
    groups=st.integers(1, 3),
    causal=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_every_text_attends_to_itself_alone(
    lengths: list[int], kv_heads: int, groups: int, causal: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    batch = batch_of([[0] * length for length in lengths])
    q, k, v = random_qkv(batch.num_tokens, kv_heads * groups, kv_heads)
    got = attend_runs(q.clone(), k, v, batch, causal)
    assert got.is_contiguous()
    torch.testing.assert_close(got.double(), naive(q, k, v, batch.packed.lengths, causal), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_queries_that_lie_between_keys_and_values_are_taken_as_they_lie(causal: bool) -> None:
    torch.manual_seed(0)
    batch = batch_of([[0] * length for length in (1, 5, 5, 9)])
    q, k, v = torch.randn(batch.num_tokens, 3, 4, HEAD_DIM).unbind(1)
    expected = naive(q, k, v, batch.packed.lengths, causal)
    got = attend_runs(q, k, v, batch, causal)
    torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5)


def test_runs_longer_than_all_heads_are_taken_for_go_a_few_heads_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr("farthing.models.torch_pass.attention.ALL_HEADS_TOKENS", 8)
    batch = batch_of([[0] * length for length in (3, 12, 40)])
    q, k, v = random_qkv(batch.num_tokens, 8, 4)
    got = attend_runs(q.clone(), k, v, batch, True)
    torch.testing.assert_close(got.double(), naive(q, k, v, batch.packed.lengths, True), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_in_its_type(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    batch = batch_of([[0] * length for length in (3, 40)])
    q, k, v = (t.to(dtype) for t in random_qkv(batch.num_tokens, 4, 2))
    got = attend_runs(q.clone(), k, v, batch, True)
    assert got.dtype is dtype
    torch.testing.assert_close(got.double(), naive(q, k, v, batch.packed.lengths, True), atol=0.02, rtol=0.02)


def test_a_long_text_needs_no_matrix_of_tokens_by_tokens(measured: Callable[..., dict[str, Any]]) -> None:
    result = measured(
        """
import torch
from farthing.models.torch_pass.attention import attend_runs
from farthing.models.batch.packed import pack
from farthing.models.torch_pass.start import TorchBatch

def attend(num_tokens):
    q = torch.ones(num_tokens, 4, 16)
    k = v = torch.ones(num_tokens, 2, 16)  # grouped heads
    attend_runs(q, k, v, TorchBatch.on(pack([[0] * num_tokens]), torch.device("cpu")), True)

attend(8)
before = resident_bytes()
attend(6000)
print(json.dumps({"growth": peak_bytes() - before}))
"""
    )
    assert result["growth"] < 24 * MIB  # one head's matrix would be 137 MiB


def test_this_torch_is_asked_which_arguments_its_variable_length_attention_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def early(query: object, cu_seq_q: object, is_causal: bool = False) -> None: ...
    def later(query: object, window_size: object = None, enable_gqa: bool = False) -> None: ...

    for kernel, expected in ((None, False), (early, False), (later, True)):
        monkeypatch.setattr("farthing.models.torch_pass.attention.varlen_kernel", lambda kernel=kernel: kernel)
        assert has_varlen() is expected


@pytest.mark.gpu
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kv_heads", [2, 4])
def test_the_variable_length_kernel_equals_the_runs(causal: bool, kv_heads: int) -> None:
    if not has_varlen() or torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("no variable-length attention on this card with this torch")
    torch.manual_seed(0)
    device = torch.device("cuda")
    batch = batch_of([[0] * length for length in (1, 7, 7, 130, 513)], device)
    q = torch.randn(batch.num_tokens, 4, 64, dtype=torch.bfloat16, device=device)
    k, v = torch.randn(2, batch.num_tokens, kv_heads, 64, dtype=torch.bfloat16, device=device)
    got = attend_varlen(q, k, v, batch, causal)
    torch.testing.assert_close(got, attend_runs(q.clone(), k, v, batch, causal), atol=0.02, rtol=0.02)


@pytest.mark.parametrize("causal", [False, True])
def test_keys_that_are_repeated_for_a_card_change_nothing(causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    batch = batch_of([[0] * length for length in (1, 7, 7, 40)])
    q, k, v = random_qkv(batch.num_tokens, 8, 2)
    shared = attend_runs(q.clone(), k, v, batch, causal)
    monkeypatch.setattr("farthing.models.torch_pass.attention.shares_keys", lambda _: False)
    torch.testing.assert_close(attend_runs(q.clone(), k, v, batch, causal), shared, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
def test_a_long_text_in_fp32_needs_no_matrix_of_tokens_by_tokens_on_a_card() -> None:
    batch = batch_of([[0] * 16384], torch.device("cuda"))
    q, k, v = (torch.randn(batch.num_tokens, heads, 64, device="cuda") for heads in (8, 2, 2))
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    attend_runs(q, k, v, batch, True)
    assert torch.cuda.max_memory_allocated() - before < 256 * MIB  # one head's matrix would be 1 GiB
