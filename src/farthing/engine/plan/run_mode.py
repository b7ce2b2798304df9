"""What the planner works with: a model's shape, and a way to run it."""

from __future__ import annotations

import math
from typing import Literal, get_args

from farthing.core.deferred import dataclass
from farthing.models.layout import Layout
from farthing.models.spec import ModelSpec
from farthing.quant.format import WeightFormat

Place = Literal["host", "device"]
Dtype = Literal["fp32", "bf16", "fp16"]
DTYPE_BYTES: dict[Dtype, int] = {"fp32": 4, "bf16": 2, "fp16": 2}
Residency = Literal["resident", "host", "disk"]
RESIDENCIES: tuple[Residency, ...] = get_args(Residency)


@dataclass(frozen=True)
class ModelShape:
    """What the planner knows about a model.

    Attributes:
        max_tokens: the most tokens of one text that the model's files recommend.
        stored: the row of `farthing.quant.formats.FORMATS` in which the weights are stored.
        tokenizer_bytes: the size of the tokenizer's file; None where that is not here.
        is_quantised: the folder holds packed matrices, which are used where they are mapped.
        has_plain_table: the token table is stored as plain numbers, which can be copied to a card.
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
        device: "cpu", which computes with the native kernels; a card; or "torch-cpu", which computes on the CPU as
            cards do.
        others: further cards, which share the layers with `device`.
        dtype, residual_dtype: the dtypes of rows in products and of the residual stream.
        keeps_table: the token table stays in the device's memory: on a CPU those of its pages that were read, on a card
            a copy. Otherwise rows are gathered on the host.
        unpacks: matrices are unpacked before they are multiplied.
        shares_prefixes: the prefixes that texts share are computed once.
        prefix_bytes: the most bytes that the keys and values of held prefixes may take, on the device.
    """

    device: str
    others: tuple[str, ...]
    format: WeightFormat
    residency: Residency
    dtype: Dtype
    residual_dtype: Dtype
    context_length: int
    max_batch_tokens: int
    chunk_tokens: int
    num_threads: int
    keeps_table: bool
    unpacks: bool
    shares_prefixes: bool
    prefix_bytes: int

    @property
    def is_native(self) -> bool:
        """Whether layers are computed by the native kernels."""
        return self.device == "cpu"

    @property
    def on_card(self) -> bool:
        return self.device not in ("cpu", "torch-cpu")

    @property
    def main_place(self) -> Place:
        return "device" if self.on_card else "host"

    def shares(self, num_layers: int) -> list[tuple[str, range]]:
        """Each device with its layers; all but the last have the same number of them."""
        devices = (self.device, *self.others)
        size = math.ceil(num_layers / len(devices))
        starts = range(0, num_layers, size)
        ends = (min(start + size, num_layers) for start in starts)
        return [(device, range(start, end)) for device, start, end in zip(devices, starts, ends, strict=False)]
