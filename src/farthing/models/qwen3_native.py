"""A Qwen3 pass on the native int8 kernels: a layer is one call, everything between its matrix products fused.

The same function as `farthing.models.qwen3.Qwen3Pass` on int8 matrices; only rounding differs (the inner rows of the
feed-forward part have a scale for each 256 inputs, attention multiplies in bf16 where the CPU can).
"""

from __future__ import annotations

import torch

from farthing.models.family import LayerWeights, PassStart
from farthing.models.ops import chunks, rms_norm, rotary_tables
from farthing.models.spec import ModelSpec
from farthing.quant.int8 import NativeLinear
from farthing.quant.native.arguments import KnownKeys, NativeBatch, NativePrefixes, Qwen3Shape, Qwen3Weights
from farthing.quant.native.binding import NativeKernels
from farthing.quant.rotation import RotatedLinear

MATRICES = ("qkv", "o", "gate_up", "down")
VECTORS = ("input_norm", "mlp_norm", "q_norm", "k_norm")


def native_shape(spec: ModelSpec) -> Qwen3Shape:
    return Qwen3Shape(spec.hidden, spec.intermediate, spec.num_heads, spec.num_kv_heads, spec.head_dim, spec.norm_eps)


class NativeQwen3Pass:
    def __init__(self, start: PassStart, kernels: NativeKernels) -> None:
        self._start, self._kernels = start, kernels
        self._shape = native_shape(start.spec)
        self._hidden = start.residual()  # [tokens, hidden]
        positions = torch.arange(start.batch.num_positions)
        cos, sin = rotary_tables(positions, start.spec.head_dim, start.spec.rope_theta)
        self._num_layers_done = 0
        half = start.spec.head_dim // 2
        self._cos, self._sin = (table[:, 0, :half].contiguous() for table in (cos, sin))

    def move_to(self, device: torch.device) -> None:
        assert device.type == "cpu", "native kernels compute on the CPU"

    def layer(self, weights: LayerWeights, keep: torch.Tensor | None) -> None:
        kept = None if keep is None else keep.to(torch.int32)
        batch = NativeBatch(self._start.batch.cu_seqlens, self._cos, self._sin, kept, self._prefixes())
        matrices = {name: int8_block(weights, name) for name in MATRICES}
        vectors = {name: weights.vector[name] for name in VECTORS}
        self._kernels.qwen3_layer(self._shape, Qwen3Weights(**vectors, **matrices), batch, self._hidden)
        if keep is not None:
            self._hidden = self._hidden[keep]
        self._num_layers_done += 1

    def _prefixes(self) -> NativePrefixes | None:
        """What the batch's segments go on from in this layer, and where keys and values are to be held."""
        prefixes = self._start.batch.prefixes
        if prefixes is None:
            return None
        for held in prefixes.stored.values():
            held.layers.append((self._new_block(held.num_tokens),))
        known = [
            KnownKeys(prefix.held.layers[self._num_layers_done][0], prefix.num_tokens, prefix.held.num_tokens)
            for prefix in prefixes.known
        ]
        parents, offsets = (torch.tensor(values, dtype=torch.int32) for values in (prefixes.parents, prefixes.offsets))
        stored = {segment: held.layers[-1][0] for segment, held in prefixes.stored.items()}
        return NativePrefixes(parents, offsets, known, stored)

    def _new_block(self, num_tokens: int) -> torch.Tensor:
        return torch.empty(self._kernels.qwen3_kv_bytes(self._shape, num_tokens), dtype=torch.uint8)

    def finish(self) -> torch.Tensor:
        return last_norm(self._start, self._hidden)


def last_norm(start: PassStart, hidden: torch.Tensor) -> torch.Tensor:
    """[rows, hidden] of the residual stream -> the model's last norm of them, fp32; may take their place."""
    normed = hidden.float()
    for rows in chunks(hidden.shape[0], start.compute.chunk_tokens):
        normed[rows] = rms_norm(start.unrotated(normed[rows]), start.shared["norm"], start.spec.norm_eps)
    return normed


def int8_block(weights: LayerWeights, name: str) -> torch.Tensor:
    linear = weights.matrix[name]
    if isinstance(linear, RotatedLinear):  # the kernels rotate the inputs of down themselves
        linear = linear.linear
    assert isinstance(linear, NativeLinear), f"{name} has no int8 block"
    return linear.int8_block()
