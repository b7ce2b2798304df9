"""Attention within each text of a packed batch.

In: q [tokens, heads, head_dim], k and v [tokens, kv_heads, head_dim], packed. Out: [tokens, heads, head_dim]. No
attention crosses texts, no padding is computed, and no tokens x tokens matrix is held (`attend_runs` and
`attend_varlen` use tiled kernels). The memory of q may be used for the result.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from farthing.models.batch.packed import PackedBatch, Run
from farthing.models.distance_bias import bias_table
from farthing.models.spec import AttentionSpec
from farthing.models.torch_pass.ops import chunks
from farthing.models.torch_pass.sizes import ALL_HEADS_TOKENS
from farthing.models.torch_pass.start import TorchBatch

MASKED_ROWS = 512  # queries of a text at a time, where a mask is held for them


def attend_runs(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, batch: TorchBatch, causal: bool) -> torch.Tensor:
    """Attend with one scaled_dot_product_attention for each run of equally long texts, on any device and dtype.

    On a card only flash attention shares keys between heads: other dtypes and older cards would hold a matrix of tokens
    x tokens, so keys and values are repeated there.
    """
    for run in batch.packed.runs:
        attend_run(q, k, v, run, causal)
    return q


def attend_run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, run: Run, causal: bool) -> None:
    """Do one run's part of `attend_runs`, in which texts attend to their own keys."""
    kv_heads, group = k.shape[1], q.shape[1] // k.shape[1]
    # [tokens, heads, d] -> [texts, heads, length, d], views only
    rq, rk, rv = (t[run.tokens].view(run.count, run.length, *t.shape[1:]).transpose(1, 2) for t in (q, k, v))
    together = max(1, kv_heads * ALL_HEADS_TOKENS // (run.count * run.length))
    for heads in chunks(kv_heads, together):
        queries = rq[:, heads.start * group : heads.stop * group]
        keys, values, shares = rk[:, heads], rv[:, heads], group > 1
        if shares and not shares_keys(q.device):
            keys, values, shares = keys.repeat_interleave(group, 1), values.repeat_interleave(group, 1), False
        # SDPA knows causality by position, so a text of one token needs no mask at all.
        attended = F.scaled_dot_product_attention(
            queries, keys, values, is_causal=causal and run.length > 1, enable_gqa=shares
        )
        queries.copy_(attended)


def attend_masked(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    batch: PackedBatch,
    spec: AttentionSpec,
    learned: torch.Tensor | None,
) -> torch.Tensor:
    """Attend where tokens see a window, or products depend on the distance, `MASKED_ROWS` queries at a time.

    `learned`: as `farthing.models.distance_bias.bias_table` takes it.
    """
    found, group, longest = torch.empty_like(q), spec.num_heads // spec.num_kv_heads, batch.max_length
    biases = None
    if spec.bias_by_distance is not None:
        numbers = None if learned is None else learned.cpu().numpy()
        biases = torch.from_numpy(bias_table(spec.bias_by_distance, spec.num_heads, longest, numbers)).to(q.device)
    for run in batch.runs:
        # [tokens, heads, d] -> [texts, heads, length, d]
        rq, rk, rv, out = (
            t[run.tokens].view(run.count, run.length, *t.shape[1:]).transpose(1, 2) for t in (q, k, v, found)
        )
        rk, rv = rk.repeat_interleave(group, 1), rv.repeat_interleave(group, 1)
        for rows in chunks(run.length, MASKED_ROWS):
            first = 0 if spec.window is None else max(0, rows.start - spec.window)
            end = run.length if spec.window is None else min(run.length, rows.stop + spec.window)
            if spec.is_causal:
                end = rows.stop
            places = torch.arange(run.length, device=q.device)
            distances = places[None, first:end] - places[rows, None]  # key - query
            unseen = distances > (0 if spec.is_causal else run.length)
            if spec.window is not None:
                unseen |= distances.abs() > spec.window
            mask = torch.zeros(distances.shape, dtype=q.dtype, device=q.device)
            if biases is not None:
                mask = biases[:, distances + longest].to(q.dtype)
            mask = mask.masked_fill(unseen, -math.inf)
            out[:, :, rows] = F.scaled_dot_product_attention(
                rq[:, :, rows], rk[:, :, first:end], rv[:, :, first:end], attn_mask=mask
            )
    return found


def shares_keys(device: torch.device) -> bool:
    """Whether all attention kernels of the device take one key for several heads."""
    return device.type == "cpu"


@functools.cache
def varlen_kernel() -> Callable[..., Any] | None:
    """torch's variable-length attention; None before torch 2.10. Importing it takes a second: only GPUs need it."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


def has_varlen() -> bool:
    """Whether this torch's variable-length attention takes windows and grouped heads; its arguments are still young."""
    varlen_attn = varlen_kernel()
    return varlen_attn is not None and {"window_size", "enable_gqa"} <= set(inspect.signature(varlen_attn).parameters)


def attend_varlen(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, batch: TorchBatch, causal: bool) -> torch.Tensor:
    """Attend with one flash-attention kernel for all texts: CUDA, bf16 or fp16, compute capability 8.0 and up."""
    varlen_attn = varlen_kernel()
    assert varlen_attn is not None
    out = varlen_attn(
        q.contiguous(),
        k.contiguous(),
        v.contiguous(),
        batch.cu_seqlens,
        batch.cu_seqlens,
        batch.packed.max_length,
        batch.packed.max_length,
        window_size=(-1, 0) if causal else (-1, -1),
        enable_gqa=q.shape[1] != k.shape[1],
    )
    assert isinstance(out, torch.Tensor)
    return out
