"""A weight format that there is not, to show that one is a file and a row: fp16 numbers in one block of bytes."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from farthing.quant.format import Linear, MatrixShape, Region
from farthing.quant.unpacked import UnpackedLinear


class ToyFormat:
    name = "toy"
    quantises = True
    multiplies_int8 = is_packed_int8 = is_laid_out_again = False

    def unpacks(self, *, on_card: bool, is_resident: bool, fast_fp8: bool) -> bool:  # noqa: ARG002
        return True

    def pack(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        block = torch.zeros(self.num_bytes(*weight.shape), dtype=torch.uint8)
        stored = weight.to(torch.float16).contiguous().view(torch.uint8).flatten()
        block[: stored.numel()] = stored
        return {"packed": block}

    def linear(
        self, packed: Mapping[str, torch.Tensor], bias: torch.Tensor | None, shape: MatrixShape, region: Region
    ) -> Linear:
        block = packed["packed"]

        def unpack(out: torch.Tensor) -> None:
            out.copy_(block[: 2 * out.numel()].view(torch.float16).view(out.shape))

        return UnpackedLinear(unpack, bias, shape, region)

    def num_bytes(self, out_features: int, in_features: int) -> int:
        num_bytes = 2 * out_features * in_features
        return num_bytes + -num_bytes % 64
