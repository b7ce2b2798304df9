"""ggml's tensor types: how many bytes they take, and their values as fp32.

In: the number of a type, and bytes. Out: numbers. F32, F16 and BF16 are plain tensors and need nothing else; blocks of
quantised values are left to the gguf package (the extra `gguf`), which knows all of ggml's types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from farthing.core.arrays import BF16, NAMES, Array
from farthing.core.deferred import dataclass
from farthing.core.errors import CheckpointError, MissingExtraError

PLAIN: Mapping[int, np.dtype[Any]] = {0: np.dtype(np.float32), 1: np.dtype(np.float16), 30: BF16}


@dataclass(frozen=True)
class BlockType:
    """
    Attributes:
        values: the number of values in a block; a row is a whole number of blocks.
        bytes: the bytes of a block.
        plain: the dtype of values that are stored as they are.
        dequantise: turns rows of bytes [n, row bytes] uint8 into values [n, row values] fp32; None where `plain` is
            set.
    """

    name: str
    values: int
    bytes: int
    plain: np.dtype[Any] | None = None
    dequantise: Callable[[Array], Array] | None = None

    def row_bytes(self, width: int) -> int:
        return width // self.values * self.bytes


def block_type(number: int) -> BlockType:
    """The block type of ggml's number.

    Raises:
        MissingExtraError: the values are quantised, and the gguf package is not installed.
        CheckpointError: the type is unknown, or the package cannot dequantise it.
    """
    plain = PLAIN.get(number)
    if plain is not None:
        return BlockType(NAMES[plain], 1, plain.itemsize, plain)
    try:
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
        from gguf.quants import dequantize
    except ModuleNotFoundError as error:
        raise MissingExtraError("Reading quantised GGUF files", "gguf") from error
    if number not in list(GGMLQuantizationType):
        raise CheckpointError(
            f"The type {number} is not one of those that the installed gguf package knows. Update the package, or "
            "take a file in Q8_0, Q6_K, Q4_K or F16."
        )
    kind = GGMLQuantizationType(number)
    values, num_bytes = GGML_QUANT_SIZES[kind]
    try:
        dequantize(np.zeros((1, num_bytes), np.uint8), kind)
    except NotImplementedError as error:
        raise CheckpointError(
            f"Values of type {kind.name} cannot be dequantised. Take a file in Q8_0, Q6_K, Q4_K or F16."
        ) from error
    return BlockType(kind.name, values, num_bytes, None, lambda rows: dequantize(rows, kind))
