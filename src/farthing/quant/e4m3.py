"""Numbers in e4m3 (https://arxiv.org/abs/2209.05433), in numpy: a sign, four bits of exponent, three behind the point.

There is no Inf; 0x7F and 0xFF are NaN. The largest number is 448.
"""

from __future__ import annotations

import numpy as np

from farthing.core.arrays import Array

LARGEST = 448.0
MANTISSA_BITS, BIAS = 3, 7
SIGN, NAN = 0x80, 0x7F
FP32_MANTISSA_BITS, FP32_BIAS = 23, 127
LEAST_NORMAL = 2.0 ** (1 - BIAS)
LEAST = LEAST_NORMAL / 2**MANTISSA_BITS  # below LEAST_NORMAL, numbers are multiples of this
CUT_BITS = FP32_MANTISSA_BITS - MANTISSA_BITS


def decoded() -> Array:
    """The number, fp32, of each of the 256 codes."""
    codes = np.arange(256)
    exponent, mantissa = codes >> MANTISSA_BITS & 15, codes & 2**MANTISSA_BITS - 1
    is_normal = exponent > 0
    size = (
        np.where(is_normal, mantissa + 2**MANTISSA_BITS, mantissa) * LEAST * 2.0 ** np.where(is_normal, exponent - 1, 0)
    )
    values: Array = np.where(codes & SIGN, -size, size).astype(np.float32)
    values[codes & NAN == NAN] = np.nan
    return values


VALUES = decoded()


def encoded(values: Array) -> Array:
    """The codes uint8 of fp32 values, rounded to nearest, ties to even; larger numbers and Inf become 448."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    magnitude = bits & np.uint32(0x7FFFFFFF)
    size = magnitude.view(np.float32)
    last = magnitude >> np.uint32(CUT_BITS) & np.uint32(1)
    codes = magnitude + (np.uint32(2 ** (CUT_BITS - 1) - 1) + last) >> np.uint32(CUT_BITS)
    codes -= np.uint32(FP32_BIAS - BIAS << MANTISSA_BITS)  # wraps around for small numbers, which are replaced
    is_small = size < np.float32(LEAST_NORMAL)
    codes[is_small] = np.rint(size[is_small] / np.float32(LEAST)).astype(np.uint32)
    np.minimum(codes, np.uint32(NAN - 1), out=codes)
    codes[np.isnan(size)] = NAN
    codes |= bits >> np.uint32(24) & np.uint32(SIGN)
    octets: Array = codes.astype(np.uint8)
    return octets
