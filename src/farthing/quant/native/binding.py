"""Binding of the native int8 kernels (native/include/farthing_native.h) through ctypes.

In and out: contiguous CPU tensors that the caller owns. Every call releases the interpreter's lock. What it does not
do: pick weights, hold a model, or allocate beyond its results and the scratch memory, which grows to the largest batch
seen.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ERRORS = {
    1: "a width does not fit the kernels",
    2: "a null pointer, a misaligned buffer, or offsets that do not ascend",
    3: "the scratch memory is too small",
    4: "this CPU lacks the instruction set asked for",
    5: "the operating system refused a thread",
}


class _Spec(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("hidden", "intermediate", "q_heads", "kv_heads", "head_dim")),
        ("rms_eps", ctypes.c_float),
    )


class _Weights(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in ("input_norm", "mlp_norm", "q_norm", "k_norm", "qkv", "o", "gate_up", "down")
    )


class _Batch(ctypes.Structure):
    _fields_ = (
        ("num_tokens", ctypes.c_int32),
        ("num_texts", ctypes.c_int32),
        ("cu_seqlens", ctypes.c_void_p),
        ("cos", ctypes.c_void_p),
        ("sin", ctypes.c_void_p),
        ("rope_positions", ctypes.c_int32),
        ("num_keep", ctypes.c_int32),
        ("keep", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class Qwen3Shape:
    """Widths of a Qwen3 layer: hidden and intermediate multiples of 64, head_dim 32, 64, 96 or 128."""

    hidden: int
    intermediate: int
    q_heads: int
    kv_heads: int
    head_dim: int
    rms_eps: float

    def fits(self) -> bool:
        return self.hidden % 64 == 0 and self.intermediate % 64 == 0 and self.head_dim in (32, 64, 96, 128)


@dataclass(frozen=True)
class Qwen3Weights:
    """Norm gains in fp32 ([hidden], [hidden], [head_dim], [head_dim]), and matrices as `pack` returns them."""

    input_norm: torch.Tensor
    mlp_norm: torch.Tensor
    q_norm: torch.Tensor
    k_norm: torch.Tensor
    qkv: torch.Tensor
    o: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


@dataclass(frozen=True)
class NativeBatch:
    """cu_seqlens [texts + 1] int32; cos, sin [positions, head_dim / 2] fp32; keep [rows] int32 ascending, or None."""

    cu_seqlens: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor
    keep: torch.Tensor | None


class NativeKernels:
    """A team of `num_threads` threads with the kernels of `isa`, or of the best instruction set this CPU has.

    Calls from several threads take turns.

    Raises:
        OSError: the library cannot be loaded.
        RuntimeError: it refused a call; the message says why. Shapes are checked by callers, so this is a bug of ours.
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
        """weight [out, in] in fp32 or bf16 -> its packed form, uint8 [bytes], aligned to 64."""
        assert weight.dtype in (torch.float32, torch.bfloat16)
        weight = weight.contiguous()
        n, k = weight.shape
        packed = torch.zeros(self.packed_bytes(n, k), dtype=torch.uint8)
        dtype = int(weight.dtype is torch.bfloat16)
        status = self._library.ft_pack_rows(weight.data_ptr(), dtype, 0, n, n, k, packed.data_ptr())
        self._check("ft_pack_rows", status)
        return packed

    def linear(
        self, x: torch.Tensor, packed: torch.Tensor, out_features: int, bias: torch.Tensor | None
    ) -> torch.Tensor:
        """x [tokens, in] fp32 -> [tokens, out_features] fp32; each row of x is quantised with a scale of its own."""
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

    def qwen3_layer(self, shape: Qwen3Shape, weights: Qwen3Weights, batch: NativeBatch, hidden: torch.Tensor) -> None:
        """Bring hidden [tokens, hidden] fp32 through one layer, in place; with `keep` only these rows are brought."""
        assert hidden.dtype is torch.float32
        assert hidden.is_contiguous()
        num_texts, keep = batch.cu_seqlens.shape[0] - 1, batch.keep
        c_spec = _Spec(shape.hidden, shape.intermediate, shape.q_heads, shape.kv_heads, shape.head_dim, shape.rms_eps)
        c_weights = _Weights(*(getattr(weights, field[0]).data_ptr() for field in _Weights._fields_))
        c_batch = _Batch(
            hidden.shape[0],
            num_texts,
            batch.cu_seqlens.data_ptr(),
            batch.cos.data_ptr(),
            batch.sin.data_ptr(),
            batch.cos.shape[0],
            0 if keep is None else keep.shape[0],
            pointer(keep),
        )
        with self._turn:
            spec = ctypes.byref(c_spec)
            scratch = self._reserve(self._library.ft_qwen3_scratch_bytes(self._pool, spec, hidden.shape[0], num_texts))
            status = self._library.ft_qwen3_layer(
                self._pool,
                spec,
                ctypes.byref(c_weights),
                ctypes.byref(c_batch),
                hidden.data_ptr(),
                scratch.data_ptr(),
                scratch.numel(),
            )
        self._check("ft_qwen3_layer", status)

    def peak_ops(self) -> float:
        """Int8 operations a second that the team reaches from registers: what no matrix product can exceed."""
        with self._turn:
            return float(self._library.ft_peak_ops(self._pool))

    def profile(self) -> dict[str, int]:
        """Cycles by stage since the last call, summed over threads; all 0 unless built with -DFT_PROFILE."""
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


def pointer(tensor: torch.Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    p, i, size = ctypes.c_void_p, ctypes.c_int32, ctypes.c_size_t
    signatures: dict[str, tuple[Any, Sequence[Any]]] = {
        "ft_pool_create": (ctypes.c_int, (i, ctypes.c_char_p, p)),
        "ft_pool_destroy": (None, (p,)),
        "ft_pool_isa": (ctypes.c_char_p, (p,)),
        "ft_packed_bytes": (size, (i, i)),
        "ft_pack_rows": (ctypes.c_int, (p, i, i, i, i, i, p)),
        "ft_linear_scratch_bytes": (size, (p, i, i)),
        "ft_linear": (ctypes.c_int, (p, p, i, p, i, i, p, p, p, size)),
        "ft_qwen3_scratch_bytes": (size, (p, p, i, i)),
        "ft_qwen3_layer": (ctypes.c_int, (p, p, p, p, p, p, size)),
        "ft_peak_ops": (ctypes.c_double, (p,)),
        "ft_profile": (i, (p, p, i)),
        "ft_profile_stage": (ctypes.c_char_p, (i,)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
