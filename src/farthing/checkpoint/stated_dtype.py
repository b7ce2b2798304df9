"""What config.json calls the dtypes that weights are stored in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from farthing.core.arrays import BF16

STATED: Mapping[np.dtype[Any], str] = {
    np.dtype(np.float32): "float32",
    np.dtype(np.float16): "float16",
    BF16: "bfloat16",
}
