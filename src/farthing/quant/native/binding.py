"""Binds the native kernels (native/include/farthing_native.h) through ctypes.

In and out: contiguous numpy arrays that the caller owns; bf16 is uint16 (`farthing.core.arrays`). Every call releases
the interpreter's lock. The binding picks no weights, holds no model, and allocates nothing beyond its results and the
scratch memory, which grows to the largest batch seen.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from farthing.core.arrays import ALIGNMENT, Array, aligned_empty
from farthing.core.errors import NativeLibraryError
from farthing.quant.native.arguments import (
    FORM_CODES,
    Form,
    LayerShape,
    NativeBatch,
    NativePrefixes,
    NativeWeights,
    array_of,
    pointer,
)
from farthing.quant.native.library import ERRORS, NO_KERNEL, load
from farthing.quant.native.passes import DTYPE_CODES, NativeInput, NativeNorm, NativePass, NativeRotation
from farthing.quant.native.place import REMEDY


class NativeKernels:
    """A team of `num_threads` threads with the kernels of `isa`, or of the best instruction set this CPU has.

    Calls from several threads take turns.

    Raises:
        NativeLibraryError: the library cannot be loaded, or has no kernels for this CPU.
        RuntimeError: the library refused a call; the message says why. Callers check shapes, so this is a bug of ours.
    """

    def __init__(self, library: Path, num_threads: int, isa: str | None = None) -> None:
        self._library = load(library)
        self._pool = ctypes.c_void_p()
        name = None if isa is None else isa.encode()
        status = self._library.ft_pool_create(num_threads, name, ctypes.byref(self._pool))
        if status == NO_KERNEL and isa is None:
            raise NativeLibraryError(f"{library} was compiled for other CPUs: it has no kernels for this. {REMEDY}")
        self._check("ft_pool_create", status)
        self._scratch = aligned_empty(ALIGNMENT)
        self._turn = threading.Lock()
        self.num_threads = num_threads

    def close(self) -> None:
        self._library.ft_pool_destroy(self._pool)
        self._pool = ctypes.c_void_p()

    def rouse(self) -> None:
        """Wake the threads, which sleep soon after a call, for one that comes at once."""
        self._library.ft_pool_rouse(self._pool)

    @property
    def isa(self) -> str:
        return str(self._library.ft_pool_isa(self._pool).decode())

    @property
    def cpu_isa(self) -> str:
        """The best instruction set that this CPU has, which the library may have been compiled without."""
        return str(self._library.ft_cpu_isa().decode())

    def packed_bytes(self, form: Form, out_features: int, in_features: int) -> int:
        return int(self._library.ft_packed_bytes(FORM_CODES[form], out_features, in_features))

    def pack(self, form: Form, weight: Array) -> Array:
        """Pack weight [out, in] in fp32, bf16 (uint16) or fp16 into uint8 [packed_bytes], aligned to 64."""
        weight = np.ascontiguousarray(weight)
        n, k = weight.shape
        packed = aligned_empty(self.packed_bytes(form, n, k))
        code, dtype = FORM_CODES[form], DTYPE_CODES[weight.dtype]
        with self._turn:
            status = self._library.ft_pack_rows(self._pool, code, pointer(weight), dtype, n, k, pointer(packed))
        self._check("ft_pack_rows", status)
        return packed

    def pack_nf4(self, weight: Array, candidates: Sequence[float], nf4: Array) -> None:
        """Write `nf4`, a block of zeros, from weight [out, in] in fp32 or bf16 (farthing.quant.nf4_packed)."""
        weight, factors = np.ascontiguousarray(weight), np.array(candidates, dtype=np.float32)
        dtype = DTYPE_CODES[weight.dtype]
        with self._turn:
            status = self._library.ft_pack_nf4(
                self._pool, pointer(weight), dtype, *weight.shape, pointer(factors), len(factors), pointer(nf4)
            )
        self._check("ft_pack_nf4", status)

    def unpack_nf4(self, nf4: Array, out_features: int, in_features: int, packed: Array) -> None:
        """Write all of `packed`, an int8 block, from the same matrix in NF4 (farthing.quant.nf4_packed)."""
        with self._turn:
            status = self._library.ft_unpack_nf4(self._pool, pointer(nf4), out_features, in_features, pointer(packed))
        self._check("ft_unpack_nf4", status)

    def linear(self, form: Form, x: Array, packed: Array, out_features: int, bias: Array | None = None) -> Array:
        """Multiply x [tokens, in] fp32 to [tokens, out_features] fp32; for int8, each row of x gets one scale."""
        assert x.dtype == np.float32
        x = np.ascontiguousarray(x)
        tokens, k = x.shape
        y = np.empty((tokens, out_features), dtype=np.float32)
        code = FORM_CODES[form]
        assert packed.nbytes == self.packed_bytes(form, out_features, k)
        with self._turn:
            scratch = self._reserve(self._library.ft_linear_scratch_bytes(self._pool, code, out_features, k))
            status = self._library.ft_linear(
                self._pool,
                code,
                pointer(x),
                tokens,
                pointer(packed),
                out_features,
                k,
                pointer(bias),
                pointer(y),
                pointer(scratch),
                scratch.nbytes,
            )
        self._check("ft_linear", status)
        return y

    def kv_bytes(self, shape: LayerShape, num_tokens: int) -> int:
        """The bytes of one layer's keys and values of that many tokens, as `NativePrefixes` stores and knows them."""
        return int(self._library.ft_layer_kv_bytes(ctypes.byref(shape.c_spec), num_tokens))

    def layer_scratch_bytes(self, shape: LayerShape, num_tokens: int, num_texts: int) -> int:
        """The bytes of scratch memory that a layer needs for such a batch."""
        spec = ctypes.byref(shape.c_spec)
        return int(self._library.ft_layer_scratch_bytes(self._pool, spec, num_tokens, num_texts))

    def layers(self, shape: LayerShape, weights: Sequence[NativeWeights], batch: NativeBatch, hidden: Array) -> None:
        """Bring hidden [tokens, hidden] fp32 through layers of one shape, in place; with `keep`, only those rows.

        With `keep` or prefixes, a call is for one layer. With prefixes, each row comes out bit for bit as it does when
        all tokens that it sees are in one text.
        """
        assert hidden.dtype == np.float32
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
                pointer(hidden),
                pointer(scratch),
                scratch.nbytes,
            )
        self._check("ft_layers", status)

    def rotate_rows(self, rotation: NativeRotation, rows: Array, *, inverse: bool = False) -> Array:
        """R x, or with `inverse` R^T x, of each row x of rows [n, width] fp32, as a new array."""
        assert rows.dtype == np.float32
        rows = np.ascontiguousarray(rows)
        assert rows.shape[1] == rotation.signs.shape[0]
        turned = np.empty_like(rows)
        c_rotation = ctypes.byref(rotation.pointers)
        with self._turn:
            scratch = self._reserve(self._library.ft_rotate_scratch_bytes(self._pool, c_rotation))
            status = self._library.ft_rotate_rows(
                self._pool,
                c_rotation,
                inverse,
                pointer(rows),
                rows.shape[0],
                pointer(turned),
                pointer(scratch),
                scratch.nbytes,
            )
        self._check("ft_rotate_rows", status)
        return turned

    def hadamard_rows(self, rows: Array) -> None:
        """Rotate rows [n, width] fp32 in place, each 64 numbers by the orthonormal Hadamard matrix of 64."""
        assert rows.dtype == np.float32
        with self._turn:
            status = self._library.ft_hadamard_rows(self._pool, pointer(rows), rows.shape[0], rows.shape[1])
        self._check("ft_hadamard_rows", status)

    def embed(
        self, given: NativeInput, ids: Array, positions: Array | None = None, types: Array | None = None
    ) -> Array:
        """The first layer's input [tokens, hidden] fp32 of the tokens `ids` [tokens] int32.

        `positions` and `types`, [tokens] int32, are rows of the input's tables; types None for type 0 everywhere.
        """
        for numbers in (ids, positions, types):
            assert numbers is None or (numbers.dtype == np.int32 and numbers.shape == ids.shape)
        hidden = np.empty((ids.shape[0], given.hidden), dtype=np.float32)
        with self._turn:
            scratch = self._rotation_scratch(given.rotation)
            status = self._library.ft_embed(
                self._pool,
                ctypes.byref(given.pointers),
                pointer(ids),
                pointer(positions),
                pointer(types),
                ids.shape[0],
                given.hidden,
                pointer(hidden),
                pointer(scratch),
                scratch.nbytes,
            )
        self._check("ft_embed", status)
        return hidden

    def finish(self, last_norm: NativeNorm | None, rotation: NativeRotation | None, rows: Array) -> None:
        """Undo the rotation of rows [n, hidden] fp32 and norm them, in place."""
        assert rows.dtype == np.float32
        with self._turn:
            scratch = self._rotation_scratch(rotation)
            status = self._library.ft_finish(
                self._pool,
                None if last_norm is None else ctypes.byref(last_norm.pointers),
                None if rotation is None else ctypes.byref(rotation.pointers),
                pointer(rows),
                rows.shape[0],
                rows.shape[1],
                pointer(scratch),
                scratch.nbytes,
            )
        self._check("ft_finish", status)

    def mean_rows(self, rows: Array, cu_seqlens: Array) -> Array:
        """The means [texts, width] of the rows [tokens, width] fp32 of each text, to the bit as torch makes them."""
        assert rows.dtype == np.float32
        assert cu_seqlens.dtype == np.int32
        rows, num_texts, width = np.ascontiguousarray(rows), cu_seqlens.shape[0] - 1, rows.shape[1]
        means = np.empty((num_texts, width), dtype=np.float32)
        with self._turn:
            status = self._library.ft_mean_rows(
                self._pool, pointer(rows), width, pointer(cu_seqlens), num_texts, pointer(means)
            )
        self._check("ft_mean_rows", status)
        return means

    def run(self, given: NativePass) -> Array:
        """Take a batch from its ids to rows fp32: of the kept tokens, or the texts' means, or of all tokens."""
        for layer in given.layers.with_prefixes:
            assert layer.prefixes is not None
            self._check_sizes(layer.shape, given.cu_seqlens, layer.prefixes)
        rows = np.empty((given.num_rows, given.input.hidden), dtype=np.float32)
        c_pass = given.pointers()
        with self._turn:
            scratch = self._reserve(self._library.ft_run_scratch_bytes(self._pool, ctypes.byref(c_pass)))
            status = self._library.ft_run(
                self._pool, ctypes.byref(c_pass), pointer(rows), pointer(scratch), scratch.nbytes
            )
        self._check("ft_run", status)
        return rows

    def peak_ops(self, form: Form = "int8") -> float:
        """The operations a second that the team reaches from registers, which no matrix product can exceed.

        They are of int8 for int8, of fp32 for the other forms.
        """
        with self._turn:
            return float(self._library.ft_peak_ops(self._pool, FORM_CODES[form]))

    def profile(self) -> dict[str, int]:
        """The cycles by stage since the last call, summed over threads; all 0 unless built with -DFT_PROFILE."""
        with self._turn:
            cycles = (ctypes.c_uint64 * self._library.ft_profile(self._pool, None, 0))()
            self._library.ft_profile(self._pool, cycles, len(cycles))
        return {self._library.ft_profile_stage(stage).decode(): count for stage, count in enumerate(cycles)}

    def _check_sizes(self, shape: LayerShape, cu_seqlens: Array, prefixes: NativePrefixes) -> None:
        """Check what the library cannot see: it would write behind a block that is too short."""
        num_texts = (cu_seqlens.shape[0] - 1,)
        assert prefixes.parents.dtype == np.int32
        assert prefixes.offsets.dtype == np.int32
        assert prefixes.parents.shape == prefixes.offsets.shape == num_texts
        for known in prefixes.known:
            assert known.kv.nbytes == self.kv_bytes(shape, known.held_tokens)
        for text, kv in prefixes.stored.items():
            assert kv.nbytes == self.kv_bytes(shape, int(cu_seqlens[text + 1] - cu_seqlens[text]))

    def _rotation_scratch(self, rotation: NativeRotation | None) -> Array:
        c_rotation = None if rotation is None else ctypes.byref(rotation.pointers)
        return self._reserve(self._library.ft_rotate_scratch_bytes(self._pool, c_rotation))

    def _reserve(self, num_bytes: int) -> Array:
        if self._scratch.nbytes < num_bytes:
            self._scratch = aligned_empty(num_bytes)
        return self._scratch

    @staticmethod
    def _check(function: str, status: int) -> None:
        if status:
            raise RuntimeError(f"{function}: {ERRORS.get(status, f'error {status}')}")
