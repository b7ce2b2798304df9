"""Runs a batch through the layers in torch: computes what a spec says, on every device and in every dtype."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from farthing.core.arrays import Array
from farthing.models.batch.packed import PackedBatch
from farthing.models.distance_bias import BUCKETS
from farthing.models.forward.token_types import token_types
from farthing.models.spec import AttentionSpec, LayerSpec, NormSpec, RopeSpec
from farthing.models.torch_pass.attention import attend_masked
from farthing.models.torch_pass.ops import ACTIVATIONS, chunks, layer_norm, rms_norm, rotary_tables, rotate
from farthing.models.torch_pass.prefix_attention import attend_prefixes
from farthing.models.torch_pass.start import LayerWeights, PassStart


class TorchPass:
    """One batch on its way through the layers; holds the residual stream [tokens, hidden]."""

    def __init__(self, start: PassStart) -> None:
        self._start, self._batch, self._compute = start, start.batch, start.compute
        self._hidden = first_input(start).to(start.compute.residual_dtype)
        self._tables: dict[tuple[int, RopeSpec], tuple[torch.Tensor, torch.Tensor]] = {}  # cos and sin
        self._num_layers_done = 0

    def move_to(self, device: torch.device) -> None:
        """Move what a layer needs of the batch to the device of the next layers; do nothing where it is there."""
        self._hidden = self._hidden.to(device)
        self._tables = {key: (cos.to(device), sin.to(device)) for key, (cos, sin) in self._tables.items()}
        self._batch = self._batch.to(device)

    def layer(self, weights: LayerWeights, keep: Array | None) -> None:
        """Go through one layer. With `keep` [rows], only these rows go on after its attention."""
        spec = self._start.spec.layers[self._num_layers_done]
        attended = self._attention(spec, weights)  # [tokens, q_width]
        if keep is not None:
            rows = torch.from_numpy(keep).long().to(attended.device)
            self._hidden, attended = self._hidden[rows], attended[rows]
        if spec.norm_place == "after":
            self._norms_after(spec, weights, attended)
        else:
            self._norms_before(spec, weights, attended)
        self._num_layers_done += 1

    def finish(self, *, means: bool) -> Array:
        """Do what the model does after its last layer; returns the rows [rows, hidden] fp32.

        With `means`, they are the means [texts, hidden] of each text's rows; no text has a prefix then.
        """
        rows = finished(self._start, self._hidden)
        if means:
            rows = mean_pool(rows, self._batch.packed)
        found: Array = rows.cpu().numpy()
        return found

    def _norms_before(self, spec: LayerSpec, weights: LayerWeights, attended: torch.Tensor) -> None:
        for rows in chunks(self._hidden.shape[0], self._compute.chunk_tokens):
            self._hidden[rows] += self._added(spec, weights, "attention", weights.matrix["o"](attended[rows]))
            normed = normalised(self._hidden[rows], spec.norm, weights.vector, "mlp_norm")
            self._hidden[rows] += self._added(spec, weights, "mlp", self._feed_forward(spec, weights, normed))

    def _added(self, spec: LayerSpec, weights: LayerWeights, half: str, rows: torch.Tensor) -> torch.Tensor:
        """What a half adds: the rows that it makes, or their norm."""
        return rows if spec.norm_place == "before" else normalised(rows, spec.norm, weights.vector, f"{half}_added")

    def _norms_after(self, spec: LayerSpec, weights: LayerWeights, attended: torch.Tensor) -> None:
        dtype = self._compute.residual_dtype
        summed = self._hidden + weights.matrix["o"](attended)
        hidden = normalised(summed, spec.norm, weights.vector, "attention_norm").to(dtype)
        for rows in chunks(hidden.shape[0], self._compute.chunk_tokens):
            summed = hidden[rows] + self._feed_forward(spec, weights, hidden[rows])
            hidden[rows] = normalised(summed, spec.norm, weights.vector, "mlp_norm").to(dtype)
        self._hidden = hidden

    def _attention(self, spec: LayerSpec, weights: LayerWeights) -> torch.Tensor:
        """Attention's result [tokens, q_width]."""
        attention, dtype, num_tokens = spec.attention, self._compute.dtype, self._hidden.shape[0]
        counts = [attention.num_heads, attention.num_kv_heads, attention.num_kv_heads]
        q, k, v = (
            torch.empty((num_tokens, count, attention.head_dim), dtype=dtype, device=self._hidden.device)
            for count in counts
        )
        for rows in chunks(num_tokens, self._compute.chunk_tokens):
            x = self._hidden[rows]
            if spec.norm_place != "after" and spec.norms_input:
                x = normalised(x, spec.norm, weights.vector, "attention_norm")
            qkv = weights.matrix["qkv"](x.to(dtype)).view(x.shape[0], -1, attention.head_dim)
            raw_q, raw_k, v[rows] = torch.split(qkv, counts, dim=1)
            q[rows] = self._turned(spec, raw_q, weights.vector.get("q_norm"), rows)
            k[rows] = self._turned(spec, raw_k, weights.vector.get("k_norm"), rows)
        return self._attend(q, k, v, attention).flatten(1)

    def _turned(self, spec: LayerSpec, heads: torch.Tensor, gain: torch.Tensor | None, rows: slice) -> torch.Tensor:
        """The heads [rows, heads, head_dim] of queries or keys, normed and turned by their positions."""
        attention = spec.attention
        if attention.head_norm is not None:
            assert gain is not None
            heads = rms_norm(heads, gain, attention.head_norm.eps)
        if attention.rope is None:
            return heads
        key = attention.head_dim, attention.rope
        if key not in self._tables:
            self._tables[key] = rotary_tables(self._batch.positions, *key)
        cos, sin = self._tables[key]
        return rotate(heads, cos[rows], sin[rows])

    def _attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, spec: AttentionSpec) -> torch.Tensor:
        batch, prefixes = self._batch.packed, self._batch.packed.prefixes
        if spec.scale is not None:
            q = q * (spec.scale * spec.head_dim**0.5)
        if spec.window is not None or spec.bias_by_distance is not None:
            assert prefixes is None, "beginnings are shared only where all tokens before are seen"
            return attend_masked(q, k, v, batch, spec, self._start.shared.get(BUCKETS))
        if prefixes is None:
            return self._compute.attend(q, k, v, self._batch, spec.is_causal)
        assert spec.is_causal, "only causal models share beginnings"
        for segment, held in prefixes.stored.items():
            held.layers.append((k[batch.tokens(segment)].clone(), v[batch.tokens(segment)].clone()))
        known = [prefix.held.layers[self._num_layers_done] for prefix in prefixes.known]
        return attend_prefixes(q, k, v, batch, [(keys, values) for keys, values in known])

    def _feed_forward(self, spec: LayerSpec, weights: LayerWeights, rows: torch.Tensor) -> torch.Tensor:
        activation, x = ACTIVATIONS[spec.feed_forward.activation], rows.to(self._compute.dtype)
        if not spec.feed_forward.is_gated:
            return weights.matrix["down"](activation(weights.matrix["up"](x)))
        gate, up = weights.matrix["gate_up"](x).chunk(2, dim=-1)  # [rows, width] each
        return weights.matrix["down"](activation(gate).mul_(up))


def normalised(x: torch.Tensor, norm: NormSpec, vectors: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    """x [..., width] after the norm whose vectors have this name, in fp32."""
    gain, bias = vectors[f"{name}_gain"], vectors.get(f"{name}_bias")
    return rms_norm(x, gain, norm.eps) if norm.kind == "rms" else layer_norm(x, gain, bias, norm.eps)


def first_input(start: PassStart) -> torch.Tensor:
    """The first layer's input [tokens, hidden], in new memory."""
    spec, batch, shared = start.spec.input, start.batch, start.shared
    if not spec.learns_positions and not spec.num_token_types and spec.norm is None:
        return start.residual()
    hidden = start.gather(batch.ids).float() * spec.scale
    if spec.num_token_types:
        hidden += types_of_tokens(start, hidden.device)
    if spec.learns_positions:
        hidden += shared["positions"].index_select(0, batch.positions + spec.position_offset)
    return hidden if spec.norm is None else normalised(hidden, spec.norm, shared, "input_norm")


def types_of_tokens(start: PassStart, device: torch.device) -> torch.Tensor:
    """The embeddings of the tokens' types: [hidden], or [tokens, hidden] where texts are pairs."""
    table, types = start.shared["token_types"], token_types(start.spec, start.batch.packed)
    return table[0] if types is None else table.index_select(0, torch.from_numpy(types).long().to(device))


def finished(start: PassStart, hidden: torch.Tensor) -> torch.Tensor:
    """What the model makes of the residual stream [rows, hidden] at its end, in fp32; may use the rows' memory."""
    norm, rows = start.spec.last_norm, hidden.float()
    if norm is not None:
        for part in chunks(rows.shape[0], start.compute.chunk_tokens):
            rows[part] = normalised(start.unrotated(rows[part]), norm, start.shared, "last_norm")
    return rows


def mean_pool(hidden: torch.Tensor, batch: PackedBatch) -> torch.Tensor:
    """[tokens, hidden] -> [texts, hidden]: the mean over each text's tokens, special tokens included."""
    return torch.cat([hidden[run.tokens].view(run.count, run.length, -1).mean(1) for run in batch.runs])
