"""The one form in which int8 matrices are kept and stored, in torch; the native kernels read it as it is.

In: a matrix. Out: one block of bytes; and the reverse. The layout is documented in native/src/packed.h, and the native
`ft_pack_rows` writes the same bytes, only faster. A changed layout needs another version of folders
(`farthing.checkpoint.manifest`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

ALIGNMENT = 64  # bytes; a block's address in memory and its length are multiples of it
PANEL_CHANNELS = 32
CHUNK_INPUTS = 64
GROUP_INPUTS = 256
ACTIVATION_OFFSET = 128


def packed_bytes(out_features: int, in_features: int) -> int:
    """The length of the block of a matrix [out_features, in_features]."""
    n, k, num_groups = padded(out_features, in_features)
    return n * (k + (num_groups + 2) * torch.float32.itemsize)


def pack(weight: torch.Tensor) -> torch.Tensor:
    """Pack weight [out, in] in any float dtype into uint8 [packed_bytes]."""
    return lay_out(*quantise_rows(weight.float()))


def lay_out(quantised: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Lay out int8 [out, in] and scales [out, 1] fp32 as uint8 [packed_bytes]."""
    shape = quantised.shape
    n, k, num_groups = padded(*shape)
    quantised = F.pad(quantised, (0, k - shape[1], 0, n - shape[0]))
    panels = quantised.view(-1, PANEL_CHANNELS, k // 4, 4).transpose(1, 2)
    # Kernels add ACTIVATION_OFFSET to their unsigned factor; the corrections take it out of the sums again.
    grouped = F.pad(quantised, (0, num_groups * GROUP_INPUTS - k)).view(n, num_groups, GROUP_INPUTS)
    sums = grouped.sum(2, dtype=torch.int32) * -ACTIVATION_OFFSET  # [n, num_groups]
    by_panel = sums.view(-1, PANEL_CHANNELS, num_groups).transpose(1, 2)
    scales = F.pad(scale[:, 0], (0, n - shape[0]))
    parts = (panels, sums.sum(1, dtype=torch.int32), by_panel, scales)
    return torch.cat([part.contiguous().view(-1).view(torch.uint8) for part in parts])


def unpack(block: torch.Tensor, out_features: int, in_features: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Unpack uint8 [packed_bytes] into int8 [out, in] and the scales [out, 1] fp32, both copies."""
    n, k, _ = padded(out_features, in_features)
    panels = block[: n * k].view(torch.int8).view(-1, k // 4, PANEL_CHANNELS, 4)
    quantised = panels.transpose(1, 2).reshape(n, k)[:out_features, :in_features]
    scales = block[-n * torch.float32.itemsize :].view(torch.float32)[:out_features, None]
    return quantised.contiguous(), scales.clone()


def padded(out_features: int, in_features: int) -> tuple[int, int, int]:
    """The number of channels in the block, of its inputs, and of the groups of its inputs."""
    n = math.ceil(out_features / PANEL_CHANNELS) * PANEL_CHANNELS
    k = math.ceil(in_features / CHUNK_INPUTS) * CHUNK_INPUTS
    return n, k, math.ceil(k / GROUP_INPUTS)


def quantise_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantise rows [n, width] fp32 to nearest int8 [n, width], the largest magnitude on 127, and scales [n, 1].

    A NaN or Inf gives its row a scale of NaN or Inf.
    """
    largest = rows.abs().amax(dim=1, keepdim=True)
    # 127.0 is a tensor: a plain number over a tensor would be its reciprocal times the number, rounded twice.
    inverse = torch.where(largest == 0, 0.0, torch.tensor(127.0) / largest)
    return (rows * inverse).round_().to(torch.int8), largest / 127
