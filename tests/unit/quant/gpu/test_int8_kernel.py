from __future__ import annotations

import pytest
import torch

from farthing.quant.gpu.int8 import product_by_torch

pytest.importorskip("triton", reason="triton is not installed")
from farthing.quant.gpu.int8_kernel import scaled_product


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("num_rows", "out_features", "in_features"), [(1, 32, 64), (17, 96, 192), (140, 288, 128), (1100, 160, 64)]
)
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_product_is_that_of_torch(
    device: torch.device, dtype: torch.dtype, num_rows: int, out_features: int, in_features: int, has_bias: bool
) -> None:
    generator = torch.Generator().manual_seed(num_rows)
    rows, weight = (
        torch.randint(-127, 128, (count, in_features), dtype=torch.int8, generator=generator).to(device)
        for count in (num_rows, out_features)
    )
    row_scales, scales, bias = (
        torch.rand(count, 1, generator=generator).to(device) / 100 for count in (num_rows, out_features, out_features)
    )
    arguments = (rows, row_scales, weight, scales, bias[:, 0] if has_bias else None, dtype)
    torch.testing.assert_close(scaled_product(*arguments), product_by_torch(*arguments))
