"""A BERT pass on the native int8 kernels: a layer is one call, everything between its matrix products fused.

The same function as `farthing.models.bert.BertPass` on int8 matrices; only rounding differs (the inner rows of the
feed-forward part have a scale for each 256 inputs, attention multiplies in bf16 where the CPU can).
"""

from __future__ import annotations

import torch

from farthing.models.family import LayerWeights, PassStart
from farthing.models.spec import ModelSpec
from farthing.quant.int8 import NativeLinear
from farthing.quant.native.arguments import BertShape, BertWeights, NativeBatch
from farthing.quant.native.binding import NativeKernels
from farthing.quant.rotation import RotatedLinear

VECTORS = ("attention_norm_gain", "attention_norm_bias", "mlp_norm_gain", "mlp_norm_bias")


def native_shape(spec: ModelSpec) -> BertShape:
    return BertShape(spec.hidden, spec.intermediate, spec.num_heads, spec.activation, spec.norm_eps)


class NativeBertPass:
    def __init__(self, start: PassStart, hidden: torch.Tensor, kernels: NativeKernels) -> None:
        """`hidden` [tokens, hidden] fp32, the first layer's input, becomes this pass's own."""
        self._cu_seqlens, self._kernels = start.batch.cu_seqlens, kernels
        self._shape = native_shape(start.spec)
        self._hidden = hidden.contiguous()

    def move_to(self, device: torch.device) -> None:
        assert device.type == "cpu", "native kernels compute on the CPU"

    def layer(self, weights: LayerWeights, keep: torch.Tensor | None) -> None:
        batch = NativeBatch(self._cu_seqlens, keep=None if keep is None else keep.to(torch.int32))
        self._kernels.bert_layer(self._shape, native_weights(weights), batch, self._hidden)
        if keep is not None:
            self._hidden = self._hidden[keep]

    def finish(self) -> torch.Tensor:
        return self._hidden


def native_weights(weights: LayerWeights) -> BertWeights:
    matrices, biases = {}, {}
    for name, rotated in weights.matrix.items():
        assert isinstance(rotated, RotatedLinear), f"{name} is not rotated"
        linear = rotated.linear
        assert isinstance(linear, NativeLinear), f"{name} has no int8 block"
        assert linear.bias is not None
        matrices[name], biases[f"{name}_bias"] = linear.int8_block(), linear.bias
    return BertWeights(**matrices, **biases, **{name: weights.vector[name] for name in VECTORS})
