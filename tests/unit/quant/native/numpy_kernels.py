"""The part of the native kernels that weight formats use, in numpy: the reference, and where no library was built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from farthing.core.arrays import BF16, Array, aligned_empty, to_float32
from farthing.quant import dense_packed, int8_packed, nf4_packed
from farthing.quant.dense import as_dtype
from farthing.quant.native.binding import NativeKernels

DTYPES = {"fp32": np.dtype(np.float32), "bf16": BF16, "fp16": np.dtype(np.float16)}


class NumpyKernels:
    """Like `NativeKernels`; in int8, rows have one scale each."""

    def packed_bytes(self, form: str, out_features: int, in_features: int) -> int:
        if form == "int8":
            return int8_packed.packed_bytes(out_features, in_features)
        return dense_packed.packed_bytes(out_features, in_features, DTYPES[form])

    def pack(self, form: str, weight: Array) -> Array:
        if form == "int8":
            return int8_packed.pack(weight)
        block = aligned_empty(self.packed_bytes(form, *weight.shape))
        dense_packed.pack(as_dtype(weight, DTYPES[form]), block.view(DTYPES[form]))
        return block

    def pack_nf4(self, weight: Array, candidates: Sequence[float], nf4: Array) -> None:
        nf4[:] = nf4_packed.pack(weight, candidates)

    def unpack_nf4(self, nf4: Array, out_features: int, in_features: int, packed: Array) -> None:
        words, scales, half_steps = nf4_packed.views(nf4, out_features, in_features)
        codes = nf4_packed.unpack_codes(words)
        counts = half_steps.swapaxes(1, 2).reshape(codes.shape[0], -1).astype(np.float32)
        levels = np.array(nf4_packed.LEVELS, np.float32)[codes].reshape(*counts.shape, nf4_packed.BLOCK_INPUTS)
        values = np.rint(levels * (counts / 2)[:, :, None]).astype(np.int8).reshape(codes.shape)
        packed[:] = int8_packed.lay_out(values[:out_features, :in_features], scales.reshape(-1, 1)[:out_features])

    def linear(self, form: str, x: Array, packed: Array, out_features: int, bias: Array | None = None) -> Array:
        assert packed.ctypes.data % 64 == 0
        assert packed.nbytes == self.packed_bytes(form, out_features, x.shape[1])
        if form == "int8":
            (rows, row_scales), (weight, scales) = (
                int8_packed.quantise_rows(x),
                int8_packed.unpack(packed, out_features, x.shape[1]),
            )
            y = (rows.astype(np.float64) @ weight.astype(np.float64).T) * row_scales * scales.T
        else:
            inputs = -(-x.shape[1] // dense_packed.STEP_INPUTS) * dense_packed.STEP_INPUTS
            panels = to_float32(packed.view(DTYPES[form])).reshape(-1, inputs, 32)
            weight = panels.swapaxes(1, 2).reshape(-1, inputs)[:out_features, : x.shape[1]]
            y = x.astype(np.float64) @ weight.astype(np.float64).T
        return np.asarray(y if bias is None else y + bias, np.float32)


NUMPY_KERNELS = cast("NativeKernels", NumpyKernels())
