"""int8 in torch: rows with a scale for each token, weights with one for each channel, exact sums on tensor cores.

The sums are int32, and the numbers are those of a CPU, except that a row has one scale in every product: groups of
inputs, which the CPU uses where a few values dwarf the rest, would make many small products of one. The block is
unpacked once, when it is bound. `TorchInt8Linear` has the groups too: it is what the native kernels are held against.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from farthing.quant.format import MatrixShape
from farthing.quant.gpu.rotation import QuantisingLinear
from farthing.quant.gpu.rows import quantise, quantise_rows
from farthing.quant.gpu.support import triton_runs
from farthing.quant.int8_packed import PANEL_CHANNELS, padded

# torch._int_mm on a card takes more than 16 rows, and widths that are multiples of 8: blocks are padded to 32 and 64.
LEAST_ROWS = 32
# Rows whose sums are scaled together, so that the sums stay in the card's cache and take little memory.
SCALED_ROWS = 1024


class GpuInt8Linear(QuantisingLinear):
    def __init__(self, block: torch.Tensor, bias: torch.Tensor | None, shape: MatrixShape) -> None:
        num_channels, num_inputs, _ = padded(shape.out_features, shape.in_features)
        self._weight, self._scales = unpack(block, num_channels, num_inputs)
        self._bias = None if bias is None else F.pad(bias.float(), (0, num_channels - shape.out_features))
        self._out_features, self._more_inputs = shape.out_features, num_inputs - shape.in_features

    def product(self, x: torch.Tensor, *, rotates: bool) -> torch.Tensor:
        rows, scales = quantise(x, torch.int8, rotates=rotates)
        if self._more_inputs:
            rows = F.pad(rows, (0, self._more_inputs))
        return scaled_product(rows, scales, self._weight, self._scales, self._bias, x.dtype)[:, : self._out_features]


def scaled_product(
    rows: torch.Tensor,
    row_scales: torch.Tensor,
    weight: torch.Tensor,
    scales: torch.Tensor,
    bias: torch.Tensor | None,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Multiply int8 rows [n, in] by weight [out, in] to [n, out]; the scales [n, 1] and [out, 1] and bias [out] are
    fp32."""
    if triton_runs(rows.device):
        from farthing.quant.gpu import int8_kernel

        return int8_kernel.scaled_product(rows, row_scales, weight, scales, bias, dtype)
    return product_by_torch(rows, row_scales, weight, scales, bias, dtype)


def product_by_torch(
    rows: torch.Tensor,
    row_scales: torch.Tensor,
    weight: torch.Tensor,
    scales: torch.Tensor,
    bias: torch.Tensor | None,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Do as `scaled_product`: torch._int_mm writes the sums, and they are scaled after it."""
    y = torch.empty((rows.shape[0], weight.shape[0]), dtype=dtype, device=rows.device)
    parts = zip(*(torch.split(tensor, SCALED_ROWS) for tensor in (rows, row_scales, y)), strict=True)
    for some, some_scales, into in parts:
        missing = max(0, LEAST_ROWS - some.shape[0])
        sums = torch._int_mm(F.pad(some, (0, 0, 0, missing)) if missing else some, weight.t())[: some.shape[0]]
        scaled = (sums * some_scales).mul_(scales.t())
        into.copy_(scaled if bias is None else scaled.add_(bias))
    return y


class TorchInt8Linear:
    """weight int8 [out, in], scale fp32 [out, 1]; with `group`, each group of that many inputs of a row has a scale."""

    def __init__(
        self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, group: int | None = None
    ) -> None:
        self._group = group or weight.shape[1]
        # Transposed views [inputs, out]: what _int_mm takes as its second factor.
        self._weights = [part.contiguous().t() for part in torch.split(weight, self._group, dim=1)]
        self._scale = scale.t()
        self._bias = None if bias is None else bias.float()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.zeros((), dtype=torch.float32)
        for rows, weight in zip(torch.split(x.float(), self._group, dim=1), self._weights, strict=True):
            quantised, scale = quantise_rows(rows)
            y = y + torch._int_mm(quantised, weight).float() * scale
        y = y * self._scale
        return (y if self._bias is None else y.add_(self._bias)).to(x.dtype)


def unpack(block: torch.Tensor, out_features: int, in_features: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Unpack uint8 [packed_bytes] into int8 [out, in] and the scales [out, 1] fp32, both copies."""
    n, k, _ = padded(out_features, in_features)
    panels = block[: n * k].view(torch.int8).view(-1, k // 4, PANEL_CHANNELS, 4)
    quantised = panels.transpose(1, 2).reshape(n, k)[:out_features, :in_features]
    scales = block[-n * torch.float32.itemsize :].view(torch.float32)[:out_features, None]
    return quantised.contiguous(), scales.clone()
