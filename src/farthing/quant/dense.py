"""Unquantised weights: fp32, bf16, fp16.

Where rows have another dtype than the weights, the weights are converted for that one call. This happens to bf16 or
fp16 weights on a CPU that computes faster in fp32, and to rows that are computed again in fp32 after an overflow.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from farthing.quant.format import Linear, MatrixShape, Region

# On a CPU, weights of another dtype are converted this many bytes at a time, so that a piece is multiplied from the
# cache.
CONVERTED_BYTES = 8 * 2**20
# The number of products that oneDNN, and torch's layer over it, keep ready. Each is for one shape of weights and one
# number of rows, and takes half a mebibyte. By default each of the two keeps 1024: 560 MiB once batches of 1024 sizes
# have come. This number serves thirty sizes of a model at a time. Another size costs a fraction of a millisecond for
# each shape of weights, which short texts of all lengths, one at a time, feel (about 10% with MiniLM; docs/log.md).
KEPT_PRODUCTS = 128


@dataclass(frozen=True)
class DenseFormat:
    """Weights stored as plain numbers of `dtype`."""

    name: str
    dtype: torch.dtype
    quantises: bool = False
    multiplies_int8: bool = False
    is_packed_int8: bool = False

    @property
    def is_laid_out_again(self) -> bool:
        return self.dtype is torch.float32

    def unpacks(self, *, on_card: bool, is_resident: bool, fast_fp8: bool) -> bool:  # noqa: ARG002
        return False

    def pack(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"weight": weight.to(self.dtype)}

    def linear(
        self,
        packed: Mapping[str, torch.Tensor],
        bias: torch.Tensor | None,
        shape: MatrixShape,  # noqa: ARG002
        region: Region,  # noqa: ARG002
    ) -> Linear:
        weight = packed["weight"]
        keep_few_products()
        if weight.dtype is torch.float32 and weight.device.type == "cpu" and can_prepack():
            return PrepackedLinear(weight, bias)
        return DenseLinear(weight, bias)

    def num_bytes(self, out_features: int, in_features: int) -> int:
        return out_features * in_features * self.dtype.itemsize


class DenseLinear:
    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._weight = weight  # [out, in]
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        bias = None if self._bias is None else self._bias.to(x.dtype)
        if self._weight.dtype is x.dtype or self._weight.device.type != "cpu":
            return F.linear(x, self._weight.to(x.dtype), bias)
        y = torch.empty((x.shape[0], self._weight.shape[0]), dtype=x.dtype)
        rows = max(1, CONVERTED_BYTES // (self._weight.shape[1] * x.dtype.itemsize))
        for weight, part in zip(torch.split(self._weight, rows), torch.split(y, rows, dim=1), strict=True):
            torch.mm(x, weight.to(x.dtype).t(), out=part)
        return y if bias is None else y.add_(bias)


@functools.cache
def keep_few_products() -> None:
    """Limit the products that are kept ready, if the process has made none yet.

    torch has no call for it, only environment variables; what the user has set there counts.
    """
    for cache in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        os.environ.setdefault(cache, str(KEPT_PRODUCTS))


def can_prepack() -> bool:
    """Whether this torch has oneDNN and its operators on prepacked weights."""
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class PrepackedLinear:
    """fp32 on a CPU, with the weight laid out in oneDNN's blocks once instead of at every call.

    Compared with `F.linear` on a Zen 4 CPU this measured 1.15-1.3x faster at 100 tokens and more, 1.4-5.9x at fewer
    (benchmarks/prepacked_linear.py). The operators are those that torch.compile's CPU backend emits.
    """

    HINT_TOKENS = 1024  # batch size that the block layout is chosen for; all others work too

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._blocks = torch.ops.mkldnn._reorder_linear_weight(weight, self.HINT_TOKENS)
        self._bias = None if bias is None else bias.float()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._blocks, self._bias, "none", [], "")
        return y
