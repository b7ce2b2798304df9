"""Binds the native int8 kernels (native/include/farthing_native.h) through ctypes.

In and out: contiguous CPU tensors that the caller owns. Every call releases the interpreter's lock. The binding picks
no weights, holds no model, and allocates nothing beyond its results and the scratch memory, which grows to the largest
batch seen.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from pathlib import Path

import torch

from farthing.quant.native.arguments import (
    LayerShape,
    NativeBatch,
    NativePrefixes,
    NativeWeights,
    array_of,
    pointer,
)
from farthing.quant.native.library import ERRORS, load


class NativeKernels:
    """A team of `num_threads` threads with the kernels of `isa`, or of the best instruction set this CPU has.

    Calls from several threads take turns.

    Raises:
        NativeLibraryError: the library cannot be loaded.
        RuntimeError: the library refused a call; the message says why. Callers check shapes, so this is a bug of ours.
    """

    def __init__(self, library: Path, num_threads: int, isa: str | None = None) -> None:
        self._library = load(library)
        self._pool = ctypes.c_void_p()
        name = None if isa is None else isa.encode()
        self._check("ft_pool_create", self._library.ft_pool_create(num_threads, name, ctypes.byref(self._pool)))
        self._scratch = torch.empty(0, dtype=torch.uint8)
        self._turn = threading.Lock()
        self.num_threads = num_threads

    def close(self) -> None:
        self._library.ft_pool_destroy(self._pool)
        self._pool = ctypes.c_void_p()

    @property
    def isa(self) -> str:
        return str(self._library.ft_pool_isa(self._pool).decode())

    def packed_bytes(self, out_features: int, in_features: int) -> int:
        return int(self._library.ft_packed_bytes(out_features, in_features))

    def pack(self, weight: torch.Tensor) -> torch.Tensor:
        """Pack weight [out, in] in fp32 or bf16 into uint8 [bytes], aligned to 64."""
        assert weight.dtype in (torch.float32, torch.bfloat16)
        weight = weight.contiguous()
        n, k = weight.shape
        packed = torch.zeros(self.packed_bytes(n, k), dtype=torch.uint8)
        dtype = int(weight.dtype is torch.bfloat16)
        status = self._library.ft_pack_rows(weight.data_ptr(), dtype, 0, n, n, k, packed.data_ptr())
        self._check("ft_pack_rows", status)
        return packed

    def pack_nf4(self, weight: torch.Tensor, candidates: Sequence[float], nf4: torch.Tensor) -> None:
        """Write `nf4`, a block of zeros, from weight [out, in] in fp32 or bf16 (farthing.quant.nf4_packed)."""
        assert weight.dtype in (torch.float32, torch.bfloat16)
        weight, factors = weight.contiguous(), torch.tensor(candidates)
        dtype = int(weight.dtype is torch.bfloat16)
        with self._turn:
            status = self._library.ft_pack_nf4(
                self._pool, weight.data_ptr(), dtype, *weight.shape, factors.data_ptr(), len(factors), nf4.data_ptr()
            )
        self._check("ft_pack_nf4", status)

    def unpack_nf4(self, nf4: torch.Tensor, out_features: int, in_features: int, packed: torch.Tensor) -> None:
        """Write all of `packed` from the same matrix in NF4 (farthing.quant.nf4_packed)."""
        with self._turn:
            status = self._library.ft_unpack_nf4(
                self._pool, nf4.data_ptr(), out_features, in_features, packed.data_ptr()
            )
        self._check("ft_unpack_nf4", status)

    def linear(
        self, x: torch.Tensor, packed: torch.Tensor, out_features: int, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """Multiply x [tokens, in] fp32 to [tokens, out_features] fp32; each row of x is quantised with one scale."""
        assert x.dtype is torch.float32
        x = x.contiguous()
        tokens, k = x.shape
        y = torch.empty((tokens, out_features), dtype=torch.float32)
        with self._turn:
            scratch = self._reserve(self._library.ft_linear_scratch_bytes(self._pool, out_features, k))
            status = self._library.ft_linear(
                self._pool,
                x.data_ptr(),
                tokens,
                packed.data_ptr(),
                out_features,
                k,
                pointer(bias),
                y.data_ptr(),
                scratch.data_ptr(),
                scratch.numel(),
            )
        self._check("ft_linear", status)
        return y

    def kv_bytes(self, shape: LayerShape, num_tokens: int) -> int:
        """The bytes of one layer's keys and values of that many tokens, as `NativePrefixes` stores and knows them."""
        return int(self._library.ft_layer_kv_bytes(ctypes.byref(shape.c_spec), num_tokens))

    def layers(
        self, shape: LayerShape, weights: Sequence[NativeWeights], batch: NativeBatch, hidden: torch.Tensor
    ) -> None:
        """Bring hidden [tokens, hidden] fp32 through layers of one shape, in place; with `keep`, only those rows.

        With `keep` or prefixes, a call is for one layer. With prefixes, each row comes out bit for bit as it does when
        all tokens that it sees are in one text.
        """
        assert hidden.dtype is torch.float32
        assert hidden.is_contiguous()
        if batch.prefixes is not None:
            self._check_sizes(shape, batch.cu_seqlens, batch.prefixes)
        c_batch, c_spec = batch.pointers(hidden.shape[0]), ctypes.byref(shape.c_spec)
        num_tokens, num_texts = c_batch.num_tokens, c_batch.num_texts
        with self._turn:
            scratch = self._reserve(self._library.ft_layer_scratch_bytes(self._pool, c_spec, num_tokens, num_texts))
            status = self._library.ft_layers(
                self._pool,
                c_spec,
                array_of(ctypes.c_void_p, len(weights))(*(one.address for one in weights)),
                len(weights),
                ctypes.byref(c_batch),
                hidden.data_ptr(),
                scratch.data_ptr(),
                scratch.numel(),
            )
        self._check("ft_layers", status)

    def mean_rows(self, rows: torch.Tensor, cu_seqlens: torch.Tensor) -> torch.Tensor:
        """The means [texts, width] of the rows [tokens, width] fp32 of each text, to the bit as torch makes them."""
        assert rows.dtype is torch.float32
        assert cu_seqlens.dtype is torch.int32
        rows, num_texts, width = rows.contiguous(), cu_seqlens.shape[0] - 1, rows.shape[1]
        means = torch.empty((num_texts, width), dtype=torch.float32)
        status = self._library.ft_mean_rows(rows.data_ptr(), width, cu_seqlens.data_ptr(), num_texts, means.data_ptr())
        self._check("ft_mean_rows", status)
        return means

    def _check_sizes(self, shape: LayerShape, cu_seqlens: torch.Tensor, prefixes: NativePrefixes) -> None:
        """Check what the library cannot see: it would write behind a block that is too short."""
        num_texts = (cu_seqlens.shape[0] - 1,)
        assert prefixes.parents.dtype is torch.int32
        assert prefixes.offsets.dtype is torch.int32
        assert prefixes.parents.shape == prefixes.offsets.shape == num_texts
        for known in prefixes.known:
            assert known.kv.nbytes == self.kv_bytes(shape, known.held_tokens)
        for text, kv in prefixes.stored.items():
            assert kv.nbytes == self.kv_bytes(shape, int(cu_seqlens[text + 1] - cu_seqlens[text]))

    def peak_ops(self) -> float:
        """The int8 operations a second that the team reaches from registers, which no matrix product can exceed."""
        with self._turn:
            return float(self._library.ft_peak_ops(self._pool))

    def profile(self) -> dict[str, int]:
        """The cycles by stage since the last call, summed over threads; all 0 unless built with -DFT_PROFILE."""
        with self._turn:
            cycles = (ctypes.c_uint64 * self._library.ft_profile(self._pool, None, 0))()
            self._library.ft_profile(self._pool, cycles, len(cycles))
        return {self._library.ft_profile_stage(stage).decode(): count for stage, count in enumerate(cycles)}

    def _reserve(self, num_bytes: int) -> torch.Tensor:
        if self._scratch.numel() < num_bytes:
            self._scratch = torch.empty(num_bytes, dtype=torch.uint8)
        return self._scratch

    @staticmethod
    def _check(function: str, status: int) -> None:
        if status:
            raise RuntimeError(f"{function}: {ERRORS.get(status, f'error {status}')}")
