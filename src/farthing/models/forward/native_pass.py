"""A batch's pass on the native int8 kernels: a layer is one call, in which everything between its products is fused. A
short batch takes all layers in one call.

It computes the same function as `farthing.models.forward.torch_pass` on int8 matrices; only the rounding differs (the
inner rows of the feed-forward part have a scale for each 256 inputs, and attention multiplies in bf16 where the CPU
can).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch

from farthing.models.forward.forward_pass import ForwardPass, LayerWeights, PassStart
from farthing.models.forward.ops import rotary_tables
from farthing.models.forward.torch_pass import TorchPass, finished, first_input
from farthing.models.spec import LayerSpec, ModelSpec
from farthing.quant.int8 import NativeLinear
from farthing.quant.native.arguments import KnownKeys, LayerShape, NativeBatch, NativePrefixes, NativeWeights
from farthing.quant.native.binding import NativeKernels
from farthing.quant.rotation import RotatedLinear

# Of a batch whose layers are computed in one call: it takes two cores about 10 ms.
MOST_PRODUCTS = 10**10


def fits(spec: ModelSpec) -> bool:
    """Whether the kernels compute all layers of the model."""
    return all(shape.fits() for shape in layer_shapes(spec).values())


def layer_shapes(spec: ModelSpec) -> dict[int, LayerShape]:
    """The shape of each layer, by the layer's identity: a hash of all its numbers takes long beside a short text."""
    return {
        identity: layer_shape(spec, layer) for identity, layer in {id(layer): layer for layer in spec.layers}.items()
    }


def layer_shape(spec: ModelSpec, layer: LayerSpec) -> LayerShape:
    attention, feed_forward = layer.attention, layer.feed_forward
    rope, norms = attention.rope, {layer.norm.eps} | ({attention.head_norm.eps} if attention.head_norm else set())
    is_plain = (
        layer.norm_place in ("before", "after")
        and layer.norm.gain_offset == 0.0
        and len(norms) == 1
        and attention.scale is None
        and attention.window is None
        and attention.bias_by_distance is None
        and not attention.norms_whole_rows
        and (rope is None or (rope.fraction == 1.0 and not rope.is_interleaved and rope.scaling is None))
        and feed_forward.gate_is_first
        and attention.has_biases == feed_forward.has_biases == (layer.norm_place == "after")
    )
    return LayerShape(
        hidden=spec.hidden,
        intermediate=feed_forward.width,
        q_heads=attention.num_heads,
        kv_heads=attention.num_kv_heads,
        head_dim=attention.head_dim,
        norm=layer.norm.kind,
        norms_sums=layer.norm_place == "after",
        norms_heads=attention.head_norm is not None,
        turns_heads=rope is not None,
        is_causal=attention.is_causal,
        is_gated=feed_forward.is_gated,
        activation=feed_forward.activation,
        norm_eps=layer.norm.eps,
        is_plain=is_plain,
    )


def pass_of(spec: ModelSpec, kernels: NativeKernels | None) -> Callable[[PassStart], ForwardPass]:
    """What begins the pass of a batch: on the kernels, where there are some and they compute the model, or in torch."""
    shapes = layer_shapes(spec)
    if kernels is None or not all(shape.fits() for shape in shapes.values()):
        return TorchPass
    short_tokens = MOST_PRODUCTS // sum(shapes[id(layer)].num_weights for layer in spec.layers)
    return partial(NativePass, kernels=kernels, shapes=shapes, short_tokens=short_tokens)


class NativePass:
    """A `farthing.models.forward.forward_pass.ForwardPass` on the native kernels.

    A batch of at most `short_tokens` goes through all layers in one call, where they are there: between calls Python
    needs its turn, which so few tokens do not hide. A longer one goes layer by layer, so that the batches of other
    models, which compute on the same team of threads, get between.
    """

    def __init__(
        self, start: PassStart, kernels: NativeKernels, shapes: Mapping[int, LayerShape], short_tokens: int
    ) -> None:
        self._start, self._kernels, self._shapes = start, kernels, shapes
        self._hidden = first_input(start).contiguous()  # [tokens, hidden]
        self._tables: dict[tuple[int, float], tuple[torch.Tensor, torch.Tensor]] = {}
        self._num_layers_done = 0
        self._waiting: list[NativeWeights] = []  # the layers of the next call
        self._waits = start.batch.num_tokens <= short_tokens and start.batch.prefixes is None

    def move_to(self, device: torch.device) -> None:
        assert device.type == "cpu", "native kernels compute on the CPU"

    def layer(self, weights: LayerWeights, keep: torch.Tensor | None) -> None:
        layers, place = self._start.spec.layers, self._num_layers_done
        native = weights.native or native_weights(weights)
        if self._waiting and (keep is not None or layers[place] is not layers[place - 1]):
            self._compute()
        self._waiting.append(native)
        self._num_layers_done += 1
        if keep is not None or not self._waits or not weights.stays or weights.native is None:
            self._compute(keep)

    def finish(self) -> torch.Tensor:
        if self._waiting:
            self._compute()
        return finished(self._start, self._hidden)

    def means(self, rows: torch.Tensor) -> torch.Tensor:
        return self._kernels.mean_rows(rows, self._start.batch.cu_seqlens)

    def _compute(self, keep: torch.Tensor | None = None) -> None:
        """Go through the layers that wait."""
        layer = self._start.spec.layers[self._num_layers_done - 1]
        shape, (cos, sin) = self._shapes[id(layer)], self._rotary_tables(layer)
        kept = None if keep is None else keep.to(torch.int32)
        batch = NativeBatch(self._start.batch.cu_seqlens, cos, sin, kept, self._prefixes(shape))
        self._kernels.layers(shape, self._waiting, batch, self._hidden)
        self._waiting = []
        if keep is not None:
            self._hidden = self._hidden[keep]

    def _rotary_tables(self, layer: LayerSpec) -> tuple[torch.Tensor, torch.Tensor] | tuple[None, None]:
        """cos and sin, [positions, head_dim / 2] each; None where heads are not turned."""
        rope, head_dim = layer.attention.rope, layer.attention.head_dim
        if rope is None:
            return None, None
        key = head_dim, rope.theta
        if key not in self._tables:
            positions = torch.arange(self._start.batch.num_positions)
            cos, sin = (table[:, 0, : head_dim // 2].contiguous() for table in rotary_tables(positions, *key))
            self._tables[key] = cos, sin
        return self._tables[key]

    def _prefixes(self, shape: LayerShape) -> NativePrefixes | None:
        """What the batch's segments continue from in this layer, and where keys and values are to be held."""
        prefixes = self._start.batch.prefixes
        if prefixes is None:
            return None
        for held in prefixes.stored.values():
            num_bytes = self._kernels.kv_bytes(shape, held.num_tokens)
            held.layers.append((torch.empty(num_bytes, dtype=torch.uint8),))
        known = [
            KnownKeys(prefix.held.layers[self._num_layers_done - 1][0], prefix.num_tokens, prefix.held.num_tokens)
            for prefix in prefixes.known
        ]
        parents, offsets = (torch.tensor(values, dtype=torch.int32) for values in (prefixes.parents, prefixes.offsets))
        stored = {segment: held.layers[-1][0] for segment, held in prefixes.stored.items()}
        return NativePrefixes(parents, offsets, known, stored)


def native_weights(weights: LayerWeights) -> NativeWeights:
    """A layer as the kernels take it; the weights hold it from then on, where their matrices stay as they are."""
    blocks: dict[str, torch.Tensor] = {}
    stay = True
    for name, linear in weights.matrix.items():
        if isinstance(linear, RotatedLinear):  # the kernels rotate the inputs themselves
            linear = linear.linear
        assert isinstance(linear, NativeLinear), f"{name} has no int8 block"
        matrix = "up" if name == "gate_up" else name
        blocks[matrix], stay = linear.int8_block(), stay and linear.keeps_block
        if linear.bias is not None:
            blocks[f"{matrix}_bias"] = linear.bias
    found = NativeWeights(**blocks, **weights.vector)
    weights.native = found if stay else None
    return found
