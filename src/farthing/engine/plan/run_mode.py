"""What the planner decides between: a model's shape, and a way to run it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from farthing.models.layout import Layout
from farthing.models.spec import ModelSpec
from farthing.quant.format import WeightFormat

Place = Literal["host", "device"]
Residency = Literal["resident", "host", "disk"]
RESIDENCIES: tuple[Residency, ...] = get_args(Residency)


@dataclass(frozen=True)
class ModelShape:
    """What the planner knows of a model.

    Attributes:
        max_tokens: most tokens of one text that its files recommend.
        stored: row of `farthing.quant.formats.FORMATS` in which its weights are stored.
        tokenizer_bytes: of the tokenizer's file; None where it is not here.
        is_quantised: its folder holds packed matrices, which are used where they are mapped.
        has_plain_table: its token table is stored as plain numbers, which can be copied to a card.
    """

    spec: ModelSpec
    layout: Layout
    max_tokens: int
    stored: str
    tokenizer_bytes: int | None = None
    is_quantised: bool = False
    has_plain_table: bool = True


@dataclass(frozen=True)
class Way:
    """A way to run a model.

    Attributes:
        device: "cpu", or a card.
        others: further cards, that share the layers with it.
        dtype, residual_dtype: of rows in products and of the residual stream.
        keeps_table: the token table stays in the device's memory: on a CPU the pages of it that were read, on a card a
            copy. Else rows are gathered on the host.
        is_native: layers are computed by the native int8 kernels.
        unpacks: matrices are unpacked before they are multiplied.
        shares_prefixes: what texts share at their beginning is computed once.
        prefix_bytes: the most that keys and values of beginnings that come back may take, on the device.
    """

    device: str
    others: tuple[str, ...]
    format: WeightFormat
    residency: Residency
    dtype: torch.dtype
    residual_dtype: torch.dtype
    context_length: int
    max_batch_tokens: int
    chunk_tokens: int
    num_threads: int
    keeps_table: bool
    is_native: bool
    unpacks: bool
    shares_prefixes: bool
    prefix_bytes: int

    @property
    def main_place(self) -> Place:
        return "host" if self.device == "cpu" else "device"

    def shares(self, num_layers: int) -> list[tuple[str, range]]:
        """Each device with its layers, of which the first ones have the same number."""
        devices = (self.device, *self.others)
        size = math.ceil(num_layers / len(devices))
        starts = range(0, num_layers, size)
        ends = (min(start + size, num_layers) for start in starts)
        return [(device, range(start, end)) for device, start, end in zip(devices, starts, ends, strict=False)]
