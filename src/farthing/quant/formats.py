"""The table of weight formats. A new format is a file beside this one, and a row here."""

from __future__ import annotations

import torch

from farthing.core.errors import SettingsError
from farthing.quant.dense import DenseFormat
from farthing.quant.format import WeightFormat
from farthing.quant.fp8 import Fp8Format
from farthing.quant.int8 import Int8Format
from farthing.quant.nf4 import Nf4Format

FORMATS: dict[str, WeightFormat] = {
    "fp32": DenseFormat("fp32", torch.float32),
    "bf16": DenseFormat("bf16", torch.bfloat16),
    "fp16": DenseFormat("fp16", torch.float16),
    "int8": Int8Format(),
    "nf4": Nf4Format(),
    "fp8": Fp8Format(),
}


def weight_format(name: str) -> WeightFormat:
    """The format of a name. Raises a `SettingsError` that names the formats there are."""
    try:
        return FORMATS[name]
    except KeyError:
        raise SettingsError(
            f"Unknown weight format {name!r}; available: {', '.join(FORMATS)}", param="format"
        ) from None
