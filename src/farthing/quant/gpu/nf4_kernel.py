"""Unpacks an nf4 block (`farthing.quant.nf4_packed`) to a matrix of 16 or 32 bit numbers, in one Triton kernel.

A program takes the 32 channels of a panel and 128 of their inputs: each word of eight codes is read once. The numbers
are those of `farthing.quant.gpu.nf4_block.unpack` bit for bit.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
from __future__ import annotations

import functools

import torch
import triton
import triton.language as tl

from farthing.quant.gpu.nf4_block import views
from farthing.quant.int8_packed import PANEL_CHANNELS, padded
from farthing.quant.nf4_packed import LEVELS

WORD_CODES = 8
PROGRAM_WORDS = 16  # words of each channel that a program takes


@triton.jit
def unpack_kernel(
    words, scales, half_steps, levels, out, out_features, in_features, padded_inputs,
    CHANNELS: tl.constexpr, WORDS: tl.constexpr, CODES: tl.constexpr,
):  # fmt: skip
    panel, part = tl.program_id(0), tl.program_id(1)
    channel, word = tl.arange(0, CHANNELS), part * WORDS + tl.arange(0, WORDS)
    num_words = padded_inputs // CODES
    inside = (word < num_words)[:, None]
    stored = tl.load(words + (panel * num_words + word[:, None]) * CHANNELS + channel[None, :], mask=inside, other=0)
    count_at = (panel * (num_words // CODES) + word[:, None] // CODES) * CHANNELS + channel[None, :]
    counts = tl.load(half_steps + count_at, mask=inside, other=0)  # one for each 64 inputs: eight words of eight
    step = counts.to(tl.float32) * 0.5 * tl.load(scales + panel * CHANNELS + channel)[None, :]
    codes = (stored[:, None, :] >> (4 * tl.arange(0, CODES))[None, :, None]) & 15
    values = tl.reshape(tl.load(levels + codes) * step[:, None, :], (WORDS * CODES, CHANNELS))
    row = panel * CHANNELS + channel[None, :]
    column = part * (WORDS * CODES) + tl.arange(0, WORDS * CODES)[:, None]
    at = out + row.to(tl.int64) * in_features + column
    tl.store(at, values.to(out.dtype.element_ty), mask=(row < out_features) & (column < in_features))


@functools.cache
def levels_on(device: torch.device) -> torch.Tensor:
    """The levels [16] fp32, copied once: a copy for each matrix would make the card wait for the host."""
    return torch.tensor(LEVELS, device=device)


def unpack(block: torch.Tensor, out: torch.Tensor) -> None:
    """Write the matrix that uint8 [packed_bytes] holds into `out` [out, in], contiguous, on the same device."""
    words, scales, half_steps = views(block, *out.shape)
    channels, inputs, _ = padded(*out.shape)
    grid = (channels // PANEL_CHANNELS, triton.cdiv(inputs // WORD_CODES, PROGRAM_WORDS))
    with torch.cuda.device_of(out):
        unpack_kernel[grid](
            words.view(torch.int32),
            scales,
            half_steps,
            levels_on(out.device),
            out,
            *out.shape,
            inputs,
            CHANNELS=PANEL_CHANNELS,
            WORDS=PROGRAM_WORDS,
            CODES=WORD_CODES,
        )
