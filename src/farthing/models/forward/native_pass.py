"""A batch's pass on the native kernels: from token ids to rows in one call where the batch is short, else layer by
layer.

It computes the same function as `farthing.models.torch_pass` does in fp32, exactly where the matrices are in fp32, bf16
or fp16. In int8 only the rounding differs from torch's on the same matrices (the inner rows of the feed-forward part
have a scale for each 256 inputs, and attention multiplies in bf16).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from farthing.core.arrays import Array, aligned_empty
from farthing.core.deferred import dataclass
from farthing.core.errors import CheckpointError
from farthing.models.batch.packed import PackedBatch
from farthing.models.distance_bias import BUCKETS, bias_table
from farthing.models.forward.rotation import Rotation
from farthing.models.forward.token_types import token_types
from farthing.models.layout import Layout
from farthing.models.rope import rotary_tables
from farthing.models.spec import DistanceBiasSpec, LayerSpec, ModelSpec, NormSpec, RopeSpec
from farthing.models.token_table import TokenTable
from farthing.quant.format import WeightFormat
from farthing.quant.native.arguments import (
    KEY_PANEL,
    KnownKeys,
    LayerShape,
    NativeBatch,
    NativePrefixes,
    NativeWeights,
    reach_of,
)
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.passes import NativeInput, NativeLayer, NativeLayers, NativeNorm, NativePass
from farthing.quant.native_matrix import NativeMatrix
from farthing.quant.rotation import can_rotate

# Of a batch whose layers are computed in one call: it takes two cores about 10 ms.
MOST_PRODUCTS = 10**10
LEAST_POSITIONS = 512  # for which cosines and sines are made at once


def check_widths(spec: ModelSpec) -> None:
    """Raise a `CheckpointError` where a width of the model is none that the kernels compute."""
    for layer in set(spec.layers):
        attention, inner = layer.attention, layer.feed_forward.width
        if not layer_shape(spec, layer, None, None).fits():
            raise CheckpointError(
                f"The model's widths are {spec.hidden}, {inner} and {attention.num_heads} heads of "
                f"{attention.head_dim}. Farthing's own kernels compute widths that are multiples of 16, and heads of "
                "16 to 256 in steps of 16. With torch (pip install 'farthing[cuda]') the device torch-cpu computes "
                "this model, more slowly."
            )


def layer_shape(spec: ModelSpec, layer: LayerSpec, layout: Layout | None, form: WeightFormat | None) -> LayerShape:
    """A layer as the kernels take it; without a layout and a format its matrices are plain."""
    attention, feed_forward, rope = layer.attention, layer.feed_forward, layer.attention.rope
    is_plain = (
        not attention.norms_whole_rows
        and (attention.head_norm is None or attention.head_norm.kind == "rms")
        and (rope is None or (rope.fraction == 1.0 and not rope.is_interleaved))
    )
    rotated = rotated_parts(layout, form)
    return LayerShape(
        hidden=spec.hidden,
        intermediate=feed_forward.width,
        q_heads=attention.num_heads,
        kv_heads=attention.num_kv_heads,
        head_dim=attention.head_dim,
        norm=layer.norm.kind,
        norms_sums=layer.norm_place == "after",
        norms_added=layer.norm_place == "both",
        norms_heads=attention.head_norm is not None,
        turns_heads=rope is not None,
        is_causal=attention.is_causal,
        window=attention.window or 0,
        query_scale=attention.scale,
        is_gated=feed_forward.is_gated,
        activation=feed_forward.activation,
        norm_eps=layer.norm.eps,
        is_plain=is_plain,
        form="fp32" if form is None else form.form,
        rotates_hidden="qkv" in rotated,
        rotates_attended="o" in rotated,
        rotates_inner="down" in rotated,
        head_norm_eps=None if attention.head_norm is None else attention.head_norm.eps,
    )


def rotated_parts(layout: Layout | None, form: WeightFormat | None) -> set[str]:
    """The matrices whose inputs are rotated on their way, where rows are rounded (`farthing.quant.rotation`)."""
    if layout is None or form is None or form.form != "int8":
        return set()
    return {part.name for part in layout.matrices if part.rotates_inputs and can_rotate(part.in_features)}


@dataclass(eq=False)
class LayerBlocks:
    """One layer: its matrices and vectors by part name.

    Attributes:
        native: all of this as the kernels take it; None where matrices are unpacked for each batch.
    """

    matrices: Mapping[str, NativeMatrix]
    vectors: Mapping[str, Array]
    native: NativeWeights | None = field(init=False)

    def __post_init__(self) -> None:
        keeps = all(matrix.keeps_block for matrix in self.matrices.values())
        self.native = self._made() if keeps else None

    def weights(self) -> NativeWeights:
        return self.native or self._made()

    def _made(self) -> NativeWeights:
        blocks: dict[str, Any] = {"attention_norm_gain": None}
        for name, matrix in self.matrices.items():
            place = "up" if name == "gate_up" else name
            blocks[place] = matrix.block()
            if matrix.bias is not None:
                blocks[f"{place}_bias"] = matrix.bias
        return NativeWeights(**{**blocks, **self.vectors})


class NativeForward:
    """How the kernels take a model's batches from token ids to rows.

    Args:
        shared: the layout's shared vectors by part name, fp32.
        rotation: the rotation of the residual stream, where the weights that read and write it were rotated.
    """

    def __init__(
        self,
        spec: ModelSpec,
        layout: Layout,
        form: WeightFormat,
        kernels: NativeKernels,
        shared: Mapping[str, Array],
        rotation: Rotation | None,
    ) -> None:
        self.spec, self.kernels = spec, kernels
        # By the layer's identity: a hash of all its numbers takes long beside a short text.
        shapes = {layer: layer_shape(spec, layer, layout, form) for layer in set(spec.layers)}
        self.shapes = {id(layer): shapes[layer] for layer in spec.layers}
        self.short_tokens = MOST_PRODUCTS // sum(self.shapes[id(layer)].num_weights for layer in spec.layers)
        self.rotation = None if rotation is None else rotation.native
        self.last_norm = native_norm(spec.last_norm, shared, "last_norm")
        self._input_norm = native_norm(spec.input.norm, shared, "input_norm")
        self._positions = shared["positions"][spec.input.position_offset :] if spec.input.learns_positions else None
        self._types = shared["token_types"] if spec.input.num_token_types else None
        self._tables: dict[tuple[int, RopeSpec], tuple[Array, Array]] = {}
        self._buckets = shared.get(BUCKETS)
        self._biases: dict[tuple[int, DistanceBiasSpec], Array] = {}
        self._mapped: tuple[TokenTable, NativeInput] | None = None  # the input with the whole of a token table
        self._layers: NativeLayers | None = None  # those of the last batch that went in one call
        self._num_positions = 0  # that they have cosines and sines for

    def begin(self, batch: PackedBatch, table: TokenTable) -> NativeRun:
        return NativeRun(self, batch, table)

    def takes_one_call(self, batch: PackedBatch, table: TokenTable) -> bool:
        """Whether a batch goes all the way in one call, where all layers are there.

        Between calls Python needs its turn, which so few tokens do not hide. A longer batch goes layer by layer, so
        that the batches of other models, which compute on the same team of threads, get between.
        """
        return batch.num_tokens <= self.short_tokens and batch.prefixes is None and table.mapped is not None

    def run(
        self, batch: PackedBatch, table: TokenTable, layers: Sequence[NativeWeights], keep: Array | None, *, means: bool
    ) -> Array:
        """Take a batch that `takes_one_call` through all layers; `keep` and the result as in `NativeRun`."""
        given, ids = self.given_input(batch, table)
        types = token_types(self.spec, batch)
        made = self._made_layers(layers, batch.num_positions)
        return self.kernels.run(
            NativePass(
                given,
                ids,
                batch.cu_seqlens,
                made,
                batch.positions,
                types,
                keep,
                self.last_norm,
                self.rotation,
                takes_means=means,
            )
        )

    def _made_layers(self, layers: Sequence[NativeWeights], num_positions: int) -> NativeLayers:
        """The layers with their tables for so many positions, made anew only where they are not those of before."""
        made = self._layers
        is_known = made is not None and all(map(is_of, made.layers, layers))
        if made is None or not is_known or num_positions > self._num_positions:
            self._num_positions = max(LEAST_POSITIONS, num_positions)
            made = self._layers = NativeLayers(
                tuple(
                    NativeLayer(self.shapes[id(layer)], weights, *self.tables(layer, self._num_positions))
                    for layer, weights in zip(self.spec.layers, layers, strict=True)
                )
            )
        return made

    def given_input(self, batch: PackedBatch, table: TokenTable) -> tuple[NativeInput, Array]:
        """The input's tables, and the rows of its token table [tokens] int32 that the batch needs."""
        if table.mapped is None:
            return self._input(table.rows(batch.ids)), np.arange(batch.num_tokens, dtype=np.int32)
        if self._mapped is None or self._mapped[0] is not table:
            self._mapped = table, self._input(table.mapped)
        return self._mapped[1], batch.ids

    def first_rows(self, batch: PackedBatch, table: TokenTable) -> Array:
        """The first layer's input [tokens, hidden] fp32."""
        given, ids = self.given_input(batch, table)
        return self.kernels.embed(given, ids, batch.positions, token_types(self.spec, batch))

    def tables(self, layer: LayerSpec, num_positions: int) -> tuple[Array | None, Array | None, Array | None]:
        """What the layer adds by position, as `NativeBatch` takes it: cos, sin and distance_bias."""
        cos, sin = self.rotary_tables(layer, num_positions)
        return cos, sin, self.distance_bias(layer, num_positions)

    def distance_bias(self, layer: LayerSpec, num_positions: int) -> Array | None:
        spec, num_heads = layer.attention.bias_by_distance, layer.attention.num_heads
        if spec is None:
            return None
        key = num_heads, spec
        if key not in self._biases or reach_of(self._biases[key]) < num_positions:
            reach = max(LEAST_POSITIONS, num_positions)
            made = np.zeros((num_heads, 2 * reach + KEY_PANEL), dtype=np.float32)
            made[:, : 2 * reach] = bias_table(spec, num_heads, reach, self._buckets) * np.float32(math.log2(math.e))
            self._biases[key] = made
        return self._biases[key]

    def rotary_tables(self, layer: LayerSpec, num_positions: int) -> tuple[Array, Array] | tuple[None, None]:
        """cos and sin, at least [num_positions, head_dim / 2] each; None where heads are not turned."""
        rope, head_dim = layer.attention.rope, layer.attention.head_dim
        if rope is None:
            return None, None
        key = head_dim, rope
        if key not in self._tables or len(self._tables[key][0]) < num_positions:
            count = max(LEAST_POSITIONS, num_positions)
            self._tables[key] = rotary_tables(np.arange(count), *key)
        return self._tables[key]

    def _input(self, tokens: Array) -> NativeInput:
        return NativeInput(
            np.ascontiguousarray(tokens),
            self.spec.input.scale,
            self._positions,
            self._types,
            self._input_norm,
            self.rotation,
        )


class NativeRun:
    """One batch on its way through the layers, one after the other."""

    def __init__(self, forward: NativeForward, batch: PackedBatch, table: TokenTable) -> None:
        self._forward, self._batch, self._table = forward, batch, table
        self._hidden: Array | None = None  # [tokens, hidden], once it is computed
        self._num_layers_done = 0

    def layer(self, weights: LayerBlocks, keep: Array | None) -> None:
        """Go through one layer. With `keep` [rows] int32, only these rows go on after its attention."""
        forward = self._forward
        layer = forward.spec.layers[self._num_layers_done]
        shape, (cos, sin, bias) = forward.shapes[id(layer)], forward.tables(layer, self._batch.num_positions)
        hidden = self._first_rows()
        batch = NativeBatch(self._batch.cu_seqlens, cos, sin, keep, self._prefixes(shape), bias)
        forward.kernels.layers(shape, [weights.weights()], batch, hidden)
        self._hidden = hidden if keep is None else hidden[keep]
        self._num_layers_done += 1

    def finish(self, *, means: bool) -> Array:
        """Do what the model does after its last layer; returns the rows [rows, hidden] fp32.

        With `means`, they are the means [texts, hidden] of each text's rows; no text has a prefix then.
        """
        forward, hidden = self._forward, self._first_rows()
        if forward.last_norm is not None or forward.rotation is not None:
            forward.kernels.finish(forward.last_norm, forward.rotation, hidden)
        return forward.kernels.mean_rows(hidden, self._batch.cu_seqlens) if means else hidden

    def _first_rows(self) -> Array:
        if self._hidden is None:
            self._hidden = self._forward.first_rows(self._batch, self._table)
        return self._hidden

    def _prefixes(self, shape: LayerShape) -> NativePrefixes | None:
        """What the batch's segments continue from in this layer, and where keys and values are to be held."""
        prefixes = self._batch.prefixes
        if prefixes is None:
            return None
        for held in prefixes.stored.values():
            held.layers.append((aligned_empty(self._forward.kernels.kv_bytes(shape, held.num_tokens)),))
        known = [
            KnownKeys(prefix.held.layers[self._num_layers_done][0], prefix.num_tokens, prefix.held.num_tokens)
            for prefix in prefixes.known
        ]
        parents, offsets = (np.array(values, dtype=np.int32) for values in (prefixes.parents, prefixes.offsets))
        stored = {segment: held.layers[-1][0] for segment, held in prefixes.stored.items()}
        return NativePrefixes(parents, offsets, known, stored)


def native_norm(norm: NormSpec | None, shared: Mapping[str, Array], name: str) -> NativeNorm | None:
    if norm is None:
        return None
    return NativeNorm(norm.kind, norm.eps, shared[f"{name}_gain"], shared.get(f"{name}_bias"))


def is_of(layer: NativeLayer, weights: NativeWeights) -> bool:
    return layer.weights is weights
