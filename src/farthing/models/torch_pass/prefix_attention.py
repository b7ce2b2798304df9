"""Attention in a batch whose texts share prefixes: to a segment's own keys, and to all that come before it.

Each segment's queries attend to its own keys, then to those of its parent, and so on upwards. Each time the kernel also
returns the logarithm of the softmax's denominator; by it the results are weighted and joined into that of one softmax
over all keys. This is exact but for rounding, and no key is there twice. The same idea:
https://arxiv.org/abs/2402.05099 (Hydragen).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from farthing.models.batch.packed import PackedBatch, Run
from farthing.models.torch_pass.attention import attend_run
from farthing.models.torch_pass.ops import chunks
from farthing.models.torch_pass.sizes import ALL_HEADS_TOKENS

# The bytes of scores held at once where no kernel returns the denominators.
SCORES_BYTES = 64 * 2**20

# The number of results held at once while two of them are joined: that many times fewer heads are taken at a time.
HELD_AT_ONCE = 4

KeysValues = tuple[torch.Tensor, torch.Tensor]


def attend_prefixes(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, batch: PackedBatch, known: Sequence[KeysValues]
) -> torch.Tensor:
    """Compute causal attention [tokens, heads, head_dim] in q's memory; k and v are [tokens, kv_heads, head_dim].

    `known` holds the keys and values [at least num_tokens, kv_heads, head_dim] of the batch's known prefixes in this
    layer.
    """
    kv_heads, group = k.shape[1], q.shape[1] // k.shape[1]
    for run in batch.runs:
        before = list(spans(run, batch, k, v, known))
        if not before:
            attend_run(q, k, v, run, causal=True)
            continue
        together = max(1, kv_heads * ALL_HEADS_TOKENS // HELD_AT_ONCE // (run.count * run.length))
        for heads in chunks(kv_heads, together):
            queries = q[run.tokens, heads.start * group : heads.stop * group]  # [rows, heads, d]
            shape = (run.count, run.length)
            # [rows, heads, d] -> [texts, heads, length, d], views only
            own = [
                t.view(*shape, *t.shape[1:]).transpose(1, 2)
                for t in (queries, k[run.tokens, heads], v[run.tokens, heads])
            ]
            out, weight = attend(*own, causal=True)
            out, weight = out.transpose(1, 2).flatten(0, 1), weight.transpose(1, 2).flatten(0, 1)
            for keys, values in before:
                rows = [t[:, heads].transpose(0, 1)[None] for t in (keys, values)]
                more, more_weight = attend(queries.transpose(0, 1)[None], *rows, causal=False)
                out, weight = joined(out, weight, more[0].transpose(0, 1), more_weight[0].T)
            queries.copy_(out)
    return q


def spans(
    run: Run, batch: PackedBatch, k: torch.Tensor, v: torch.Tensor, known: Sequence[KeysValues]
) -> Iterator[KeysValues]:
    """The keys and values of all that comes before a run, from its parent upwards."""
    prefixes, segment = batch.prefixes, run.parent
    assert prefixes is not None
    while segment >= 0:
        if segment >= len(batch.lengths):
            index = segment - len(batch.lengths)
            seen = prefixes.known[index].num_tokens
            yield known[index][0][:seen], known[index][1][:seen]
            return
        tokens = batch.tokens(segment)
        yield k[tokens], v[tokens]
        segment = prefixes.parents[segment]


def joined(
    out: torch.Tensor, weight: torch.Tensor, more: torch.Tensor, more_weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Results [rows, heads, d] over two sets of keys as one, by the logarithms [rows, heads] of their denominators."""
    total = torch.logaddexp(weight, more_weight)
    shares = [torch.exp(part - total)[..., None] for part in (weight, more_weight)]
    return (out * shares[0] + more * shares[1]).to(out.dtype), total


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, causal: bool) -> KeysValues:
    """Attend with q [n, heads, rows, d] to k and v [n, kv_heads, keys, d].

    Returns the result [n, heads, rows, d], and the logarithm of the softmax's denominator [n, heads, rows] in fp32.
    """
    if q.device.type == "cpu" and hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu"):
        # This is what scaled_dot_product_attention itself calls on a CPU; it shares keys between heads.
        found: KeysValues = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, causal)
        return found
    return attend_by_scores(q, k, v, causal=causal)


def attend_by_scores(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, causal: bool) -> KeysValues:
    """Do as `attend` with products that every device has, for so few rows at once that the scores stay small."""
    group, num_keys = q.shape[1] // k.shape[1], k.shape[2]
    k, v = (t.repeat_interleave(group, 1) if group > 1 else t for t in (k, v))
    out, weight = torch.empty_like(q), torch.empty(q.shape[:3], dtype=torch.float32, device=q.device)
    together = max(1, SCORES_BYTES // (4 * q.shape[0] * q.shape[1] * num_keys))
    for rows in chunks(q.shape[2], together):
        scores = (q[:, :, rows] @ k.transpose(2, 3)).float() / math.sqrt(q.shape[3])  # [n, heads, rows, keys]
        if causal:
            later = (
                torch.arange(num_keys, device=q.device) > torch.arange(rows.start, rows.stop, device=q.device)[:, None]
            )
            scores.masked_fill_(later, -math.inf)
        weight[:, :, rows] = scores.logsumexp(-1)
        out[:, :, rows] = (scores - weight[:, :, rows, None]).exp().to(v.dtype) @ v
    return out, weight
