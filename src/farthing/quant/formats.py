"""The table of weight formats. A new format is a file beside this one, and a row here; its tensors on a card
are bound in `farthing.quant.gpu.linears`."""

from __future__ import annotations

import numpy as np

from farthing.core.arrays import BF16
from farthing.core.errors import SettingsError
from farthing.quant.dense import DenseFormat
from farthing.quant.format import WeightFormat
from farthing.quant.fp8 import Fp8Format
from farthing.quant.int8 import Int8Format
from farthing.quant.nf4 import Nf4Format

FORMATS: dict[str, WeightFormat] = {
    "fp32": DenseFormat("fp32", np.dtype(np.float32), "fp32"),
    "bf16": DenseFormat("bf16", BF16, "bf16"),
    "fp16": DenseFormat("fp16", np.dtype(np.float16), "fp16"),
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
