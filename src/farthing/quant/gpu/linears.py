"""Binds the tensors of a packed matrix into a `Linear` of torch: on a card, or on a CPU as the reference of tests.

In: the arrays that a format's `pack` gives, as tensors where they are multiplied. A weight format has a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F

from farthing.quant.format import MatrixShape
from farthing.quant.gpu import fp8, int8, nf4_block
from farthing.quant.gpu.fp8 import GpuFp8Linear, can_multiply
from farthing.quant.gpu.int8 import GpuInt8Linear, TorchInt8Linear
from farthing.quant.gpu.linear import Linear, TensorRegion
from farthing.quant.gpu.support import multiplies_fp8, triton_runs
from farthing.quant.gpu.unpacked import UnpackedLinear

Tensors = Mapping[str, torch.Tensor]
Bind = Callable[[Tensors, torch.Tensor | None, MatrixShape, TensorRegion], Linear]


def card_linear(
    form: str, tensors: Tensors, bias: torch.Tensor | None, shape: MatrixShape, region: TensorRegion
) -> Linear:
    """Bind the tensors of a matrix of `shape`.

    Args:
        form: the name of the weight format that packed the matrix.
        bias: [out_features] in any float dtype.
        region: holds what must be unpacked before it is multiplied, and is shared by the matrices of this name.
    """
    return LINEARS[form](tensors, bias, shape, region)


class DenseLinear:
    """Unquantised weights. Where rows have another dtype, the weights are converted for that one call: this happens to
    rows that are computed again in fp32 after an overflow."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._weight = weight  # [out, in]
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self._weight.to(x.dtype), None if self._bias is None else self._bias.to(x.dtype))


def bind_dense(tensors: Tensors, bias: torch.Tensor | None, shape: MatrixShape, region: TensorRegion) -> Linear:  # noqa: ARG001
    return DenseLinear(tensors["weight"], bias)


def bind_int8(tensors: Tensors, bias: torch.Tensor | None, shape: MatrixShape, region: TensorRegion) -> Linear:  # noqa: ARG001
    block = tensors["packed"]
    if block.device.type != "cpu":
        return GpuInt8Linear(block, bias, shape)
    return TorchInt8Linear(*int8.unpack(block, shape.out_features, shape.in_features), bias, shape.input_group)


def bind_nf4(tensors: Tensors, bias: torch.Tensor | None, shape: MatrixShape, region: TensorRegion) -> Linear:
    block = tensors["packed"]
    return UnpackedLinear(partial(nf4_unpacker(block.device), block), bias, shape, region)


def nf4_unpacker(device: torch.device) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """The function that writes a block's matrix: one Triton kernel where it runs there, else torch's operations."""
    if not triton_runs(device):
        return nf4_block.unpack
    from farthing.quant.gpu import nf4_kernel

    return nf4_kernel.unpack


def bind_fp8(tensors: Tensors, bias: torch.Tensor | None, shape: MatrixShape, region: TensorRegion) -> Linear:
    block, size = tensors["packed"], (shape.out_features, shape.in_features)
    unpacked = UnpackedLinear(partial(fp8.unpack, block), bias, shape, region)
    if multiplies_fp8(block.device) and can_multiply(*size):
        scales, values = fp8.views(block, *size)
        return GpuFp8Linear(values, scales, bias, unpacked)
    return unpacked


LINEARS: dict[str, Bind] = {
    **dict.fromkeys(("fp32", "bf16", "fp16"), bind_dense),
    "int8": bind_int8,
    "nf4": bind_nf4,
    "fp8": bind_fp8,
}
