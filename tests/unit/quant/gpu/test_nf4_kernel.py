from __future__ import annotations

import pytest
import torch

from farthing.quant import nf4_packed
from farthing.quant.gpu import nf4_block
from farthing.quant.gpu.tensors import as_array, as_tensor

pytest.importorskip("triton", reason="triton is not installed")
from farthing.quant.gpu.nf4_kernel import unpack


def as_stored(rows: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """fp32 rows in the dtype that a kernel writes: the interpreter cuts bf16 off where a card rounds to nearest."""
    if dtype is torch.bfloat16 and not rows.is_cuda:
        rows = (rows.view(torch.int32) & -(2**16)).view(torch.float32)
    return rows.to(dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("shape", [(1, 1), (32, 64), (33, 130), (70, 520)])
def test_a_matrix_is_unpacked_to_the_bits_that_torch_unpacks(
    device: torch.device, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
    weight[:, ::7] *= 30  # blocks of other scales than their channel's
    block = as_tensor(nf4_packed.pack(as_array(weight))).to(device)
    got, want = torch.full(shape, 7.0, dtype=dtype, device=device), torch.full(shape, 7.0, device=device)
    unpack(block, got)
    nf4_block.unpack(block, want)
    assert torch.equal(got, as_stored(want, dtype))


def test_every_code_at_every_place_of_a_word_is_read(device: torch.device) -> None:
    weight = torch.tensor(nf4_packed.LEVELS).repeat(64).view(32, 32).repeat(1, 2).roll(1, 0)
    weight = torch.stack([row.roll(int(shift)) for shift, row in enumerate(weight)])
    got = torch.empty(weight.shape, device=device)
    unpack(as_tensor(nf4_packed.pack(as_array(weight))).to(device), got)
    torch.testing.assert_close(got.cpu(), weight, atol=1e-6, rtol=1e-6)
