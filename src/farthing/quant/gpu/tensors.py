"""Arrays on the host (`farthing.core.arrays`) as torch's tensors, and the other way round; both share the memory."""

from __future__ import annotations

import numpy as np
import torch

from farthing.core.arrays import BF16, Array


def as_tensor(array: Array) -> torch.Tensor:
    """The array as a tensor on the CPU; uint16 is bf16. The array must be writable, as mapped ones are."""
    if array.dtype == BF16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def as_array(tensor: torch.Tensor) -> Array:
    """A tensor on the CPU as an array; bf16 is uint16."""
    if tensor.dtype is torch.bfloat16:
        numbers: Array = tensor.view(torch.int16).numpy()
        return numbers.view(BF16)
    array: Array = tensor.numpy()
    return array
