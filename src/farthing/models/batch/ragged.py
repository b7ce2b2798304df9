"""Arrays of different shapes in one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def ragged(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """An array [n] of objects, which are arrays of any shapes; they are never stacked."""
    result = np.empty(len(arrays), dtype=object)
    for index, array in enumerate(arrays):
        result[index] = array
    return result
