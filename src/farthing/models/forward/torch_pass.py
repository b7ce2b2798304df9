"""Runs a batch through the layers in torch: computes what a spec says, on every device and in every dtype.

Cards run this pass, and the native kernels are compared with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from farthing.core.errors import CheckpointError
from farthing.models.forward.forward_pass import LayerWeights, PassStart
from farthing.models.forward.ops import ACTIVATIONS, chunks, layer_norm, rms_norm, rotary_tables, rotate
from farthing.models.forward.pooling import mean_pool
from farthing.models.forward.prefix_attention import attend_prefixes
from farthing.models.spec import LayerSpec, ModelSpec, NormSpec


def check_spec(spec: ModelSpec) -> None:
    """Raise a `CheckpointError` that names the field that is not computed, if there is one."""
    around: dict[str, tuple[object, object]] = {  # what the spec says, and what is computed
        "input.scale": (spec.input.scale, 1.0),
        "input.norm.gain_offset": offset_of(spec.input.norm),
        "last_norm.gain_offset": offset_of(spec.last_norm),
    }
    for found in (around, *(computed_of(layer) for layer in set(spec.layers))):
        for field, (said, computed) in found.items():
            if said != computed:
                refuse(field, said)


def offset_of(norm: NormSpec | None) -> tuple[float, float]:
    return 0.0 if norm is None else norm.gain_offset, 0.0


def computed_of(layer: LayerSpec) -> dict[str, tuple[object, object]]:
    """By field, what the layer's spec says, and what is computed."""
    attention, rope = layer.attention, layer.attention.rope
    found: dict[str, tuple[object, object]] = {
        "attention.scale": (attention.scale, None),
        "attention.window": (attention.window, None),
        "attention.norms_whole_rows": (attention.norms_whole_rows, False),
        "attention.bias_by_distance": (attention.bias_by_distance, None),
        "attention.head_norm.gain_offset": offset_of(attention.head_norm),
        "norm.gain_offset": offset_of(layer.norm),
    }
    if attention.head_norm is not None:
        found["attention.head_norm.kind"] = attention.head_norm.kind, "rms"
    if rope is not None:
        found["attention.rope.fraction"] = rope.fraction, 1.0
        found["attention.rope.is_interleaved"] = rope.is_interleaved, False
        found["attention.rope.scaling"] = rope.scaling, None
    if layer.norm_place == "both":
        found["norm_place"] = layer.norm_place, "before or after"
    return found


def refuse(field: str, value: object) -> None:
    raise CheckpointError(f"This model's {field} is {value!r}, which is not computed here yet. Take another model.")


class TorchPass:
    """A `farthing.models.forward.forward_pass.ForwardPass`, which holds the residual stream [tokens, hidden] of one
    batch."""

    def __init__(self, start: PassStart) -> None:
        self._start, self._batch, self._compute = start, start.batch, start.compute
        self._hidden = first_input(start).to(start.compute.residual_dtype)
        self._tables: dict[tuple[int, float], tuple[torch.Tensor, torch.Tensor]] = {}  # cos and sin
        self._num_layers_done = 0

    def move_to(self, device: torch.device) -> None:
        self._hidden = self._hidden.to(device)
        self._tables = {key: (cos.to(device), sin.to(device)) for key, (cos, sin) in self._tables.items()}
        self._batch = self._batch.to(device)

    def layer(self, weights: LayerWeights, keep: torch.Tensor | None) -> None:
        spec = self._start.spec.layers[self._num_layers_done]
        attended = self._attention(spec, weights)  # [tokens, q_width]
        if keep is not None:
            keep = keep.to(attended.device)
            self._hidden, attended = self._hidden[keep], attended[keep]
        if spec.norm_place == "before":
            self._norms_before(spec, weights, attended)
        else:
            self._norms_after(spec, weights, attended)
        self._num_layers_done += 1

    def finish(self) -> torch.Tensor:
        return finished(self._start, self._hidden)

    def means(self, rows: torch.Tensor) -> torch.Tensor:
        return mean_pool(rows, self._batch)

    def _norms_before(self, spec: LayerSpec, weights: LayerWeights, attended: torch.Tensor) -> None:
        for rows in chunks(self._hidden.shape[0], self._compute.chunk_tokens):
            self._hidden[rows] += weights.matrix["o"](attended[rows])
            normed = normalised(self._hidden[rows], spec.norm, weights.vector, "mlp_norm")
            self._hidden[rows] += self._feed_forward(spec, weights, normed)

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
            if spec.norm_place == "before":
                x = normalised(x, spec.norm, weights.vector, "attention_norm")
            qkv = weights.matrix["qkv"](x.to(dtype)).view(x.shape[0], -1, attention.head_dim)
            raw_q, raw_k, v[rows] = torch.split(qkv, counts, dim=1)
            q[rows] = self._turned(spec, raw_q, weights.vector.get("q_norm"), rows)
            k[rows] = self._turned(spec, raw_k, weights.vector.get("k_norm"), rows)
        return self._attend(q, k, v, is_causal=attention.is_causal).flatten(1)

    def _turned(self, spec: LayerSpec, heads: torch.Tensor, gain: torch.Tensor | None, rows: slice) -> torch.Tensor:
        """The heads [rows, heads, head_dim] of queries or keys, normed and turned by their positions."""
        attention = spec.attention
        if attention.head_norm is not None:
            assert gain is not None
            heads = rms_norm(heads, gain, attention.head_norm.eps)
        if attention.rope is None:
            return heads
        key = attention.head_dim, attention.rope.theta
        if key not in self._tables:
            self._tables[key] = rotary_tables(self._batch.positions, *key)
        cos, sin = self._tables[key]
        return rotate(heads, cos[rows], sin[rows])

    def _attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, is_causal: bool) -> torch.Tensor:
        batch, prefixes = self._batch, self._batch.prefixes
        if prefixes is None:
            return self._compute.attend(q, k, v, batch, is_causal)
        assert is_causal, "only causal models share beginnings"
        for segment, held in prefixes.stored.items():
            held.layers.append((k[batch.tokens(segment)].clone(), v[batch.tokens(segment)].clone()))
        known = [prefix.held.layers[self._num_layers_done] for prefix in prefixes.known]
        return attend_prefixes(q, k, v, batch, [(keys, values) for keys, values in known])

    def _feed_forward(self, spec: LayerSpec, weights: LayerWeights, rows: torch.Tensor) -> torch.Tensor:
        activation, x = ACTIVATIONS[spec.feed_forward.activation], rows.to(self._compute.dtype)
        if not spec.feed_forward.is_gated:
            return weights.matrix["down"](activation(weights.matrix["up"](x)))
        gate, up = weights.matrix["gate_up"](x).chunk(2, dim=-1)  # [rows, width] each
        if not spec.feed_forward.gate_is_first:
            gate, up = up, gate
        return weights.matrix["down"](activation(gate).mul_(up))


def normalised(x: torch.Tensor, norm: NormSpec, vectors: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    """x [..., width] after the norm whose vectors have this name, in fp32."""
    gain = vectors[f"{name}_gain"]
    return rms_norm(x, gain, norm.eps) if norm.kind == "rms" else layer_norm(x, gain, vectors[f"{name}_bias"], norm.eps)


def first_input(start: PassStart) -> torch.Tensor:
    """The first layer's input [tokens, hidden], in new memory."""
    spec, batch, shared = start.spec.input, start.batch, start.shared
    if not spec.learns_positions and not spec.num_token_types and spec.norm is None:
        return start.residual()
    hidden = start.gather(batch.ids).float()
    if spec.num_token_types:
        hidden += types_of_tokens(start, hidden.device)
    if spec.learns_positions:
        hidden += shared["positions"].index_select(0, batch.positions + spec.position_offset)
    return hidden if spec.norm is None else normalised(hidden, spec.norm, shared, "input_norm")


def types_of_tokens(start: PassStart, device: torch.device) -> torch.Tensor:
    """The embeddings of the tokens' types: [hidden], or [tokens, hidden] where texts are pairs."""
    table, separator = start.shared["token_types"], start.spec.pair_separator
    if separator is None:
        return table[0]  # single texts are of type 0 throughout
    return table.index_select(0, token_types(start.batch.ids, start.batch.lengths, separator).to(device))


def finished(start: PassStart, hidden: torch.Tensor) -> torch.Tensor:
    """What the model makes of the residual stream [rows, hidden] at its end, in fp32; may use the rows' memory."""
    norm, rows = start.spec.last_norm, hidden.float()
    if norm is not None:
        for part in chunks(rows.shape[0], start.compute.chunk_tokens):
            rows[part] = normalised(start.unrotated(rows[part]), norm, start.shared, "last_norm")
    return rows


def token_types(ids: torch.Tensor, lengths: Sequence[int], separator: int) -> torch.Tensor:
    """The types [tokens] int64, on the host, of the tokens `ids`.

    The type is 0 up to each text's first separator and 1 after it, as pairs are encoded.
    """
    separators = (ids == separator).long()
    before = separators.cumsum(0) - separators  # the number of separators that come before each token in the batch
    counts = torch.tensor(lengths)
    firsts = counts.cumsum(0) - counts
    return (before - before[firsts].repeat_interleave(counts) > 0).long()
