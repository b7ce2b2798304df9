"""The arithmetic that model families share, on packed rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from farthing.models.rope import scaled
from farthing.models.spec import RopeSpec

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
}


def rms_norm(x: torch.Tensor, gain: torch.Tensor, eps: float) -> torch.Tensor:
    """x [..., width] divided by its root mean square, times gain [width]; the mean is taken in fp32."""
    return F.rms_norm(x.float(), gain.shape, gain.float(), eps)


def layer_norm(x: torch.Tensor, gain: torch.Tensor, bias: torch.Tensor | None, eps: float) -> torch.Tensor:
    """x [..., width] with mean 0 and variance 1, times gain plus bias, if there is one; in fp32."""
    return F.layer_norm(x.float(), gain.shape, gain.float(), None if bias is None else bias.float(), eps)


def rotary_tables(positions: torch.Tensor, head_dim: int, rope: RopeSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin [tokens, 1, head_dim] in fp32 for positions [tokens]; halves are paired (i, i + head_dim / 2)."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    turns = 1.0 / rope.base**exponents  # in torch: its last bits, which count at late positions, are its own
    if rope.scaling is not None:
        turns = torch.from_numpy(scaled(turns.numpy(), rope.scaling, head_dim))
    angles = positions.float()[:, None] * turns.to(positions.device)  # [tokens, head_dim / 2]
    angles = torch.cat((angles, angles), dim=-1)[:, None, :]
    return angles.cos(), angles.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """x [tokens, heads, head_dim] turned by the angles of each token (RoPE, https://arxiv.org/abs/2104.09864)."""
    half = x.shape[-1] // 2
    turned = x * cos
    turned[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    turned[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return turned


def chunks(num_rows: int, chunk_rows: int) -> Iterator[slice]:
    """Slices that cover `num_rows` rows, each of at most `chunk_rows`."""
    for start in range(0, num_rows, chunk_rows):
        yield slice(start, min(start + chunk_rows, num_rows))
