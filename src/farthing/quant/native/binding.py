"""Binding of the native int8 kernels (native/include/farthing_native.h) through ctypes.

In and out: contiguous CPU tensors that the caller owns. Every call releases the interpreter's lock. What it does not
do: pick weights, hold a model, or allocate beyond its results and the scratch memory, which grows to the largest batch
seen.
"""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from farthing.quant.native.library import (
    ERRORS,
    BatchPointers,
    BertPointers,
    BertSpec,
    Qwen3Pointers,
    Qwen3Spec,
    load,
)

ACTIVATION_CODES = {"gelu": 0, "gelu_tanh": 1, "silu": 2}


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
class BertShape:
    """Widths of a BERT layer: hidden and intermediate multiples of 64, hidden / heads 32, 64, 96 or 128."""

    hidden: int
    intermediate: int
    heads: int
    activation: str
    norm_eps: float

    def fits(self) -> bool:
        widths_fit = self.hidden % 64 == 0 and self.intermediate % 64 == 0
        return widths_fit and self.hidden / self.heads in (32, 64, 96, 128) and self.activation in ACTIVATION_CODES


@dataclass(frozen=True)
class BertWeights:
    """Matrices as `pack` returns them, of rotated weights (farthing.quant.rotation); biases and norms in fp32."""

    qkv: torch.Tensor
    o: torch.Tensor
    up: torch.Tensor
    down: torch.Tensor
    qkv_bias: torch.Tensor
    o_bias: torch.Tensor
    up_bias: torch.Tensor
    down_bias: torch.Tensor
    attention_norm_gain: torch.Tensor
    attention_norm_bias: torch.Tensor
    mlp_norm_gain: torch.Tensor
    mlp_norm_bias: torch.Tensor


@dataclass(frozen=True)
class NativeBatch:
    """Texts end to end.

    Attributes:
        cu_seqlens: [texts + 1] int32, where each text starts.
        cos: [positions, head_dim / 2] fp32, as sin; only for layers that turn heads by position.
        keep: [rows] int32 ascending, the only rows that go on after attention; None for all.
    """

    cu_seqlens: torch.Tensor
    cos: torch.Tensor | None = None
    sin: torch.Tensor | None = None
    keep: torch.Tensor | None = None

    def pointers(self, num_tokens: int) -> BatchPointers:
        return BatchPointers(
            num_tokens,
            self.cu_seqlens.shape[0] - 1,
            self.cu_seqlens.data_ptr(),
            pointer(self.cos),
            pointer(self.sin),
            0 if self.cos is None else self.cos.shape[0],
            0 if self.keep is None else self.keep.shape[0],
            pointer(self.keep),
        )


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
        spec = Qwen3Spec(shape.hidden, shape.intermediate, shape.q_heads, shape.kv_heads, shape.head_dim, shape.rms_eps)
        self._layer("qwen3", spec, pointers(Qwen3Pointers, weights), batch, hidden)

    def bert_layer(self, shape: BertShape, weights: BertWeights, batch: NativeBatch, hidden: torch.Tensor) -> None:
        """Likewise; `batch` needs no cos and sin."""
        activation = ACTIVATION_CODES[shape.activation]
        spec = BertSpec(shape.hidden, shape.intermediate, shape.heads, activation, shape.norm_eps)
        self._layer("bert", spec, pointers(BertPointers, weights), batch, hidden)

    def _layer(
        self,
        family: str,
        spec: ctypes.Structure,
        weights: ctypes.Structure,
        batch: NativeBatch,
        hidden: torch.Tensor,
    ) -> None:
        assert hidden.dtype is torch.float32
        assert hidden.is_contiguous()
        c_batch, c_spec = batch.pointers(hidden.shape[0]), ctypes.byref(spec)
        scratch_bytes = getattr(self._library, f"ft_{family}_scratch_bytes")
        layer = getattr(self._library, f"ft_{family}_layer")
        with self._turn:
            scratch = self._reserve(scratch_bytes(self._pool, c_spec, c_batch.num_tokens, c_batch.num_texts))
            status = layer(
                self._pool,
                c_spec,
                ctypes.byref(weights),
                ctypes.byref(c_batch),
                hidden.data_ptr(),
                scratch.data_ptr(),
                scratch.numel(),
            )
        self._check(f"ft_{family}_layer", status)

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


Pointers = TypeVar("Pointers", Qwen3Pointers, BertPointers)


def pointers(kind: type[Pointers], weights: Qwen3Weights | BertWeights) -> Pointers:
    return kind(*(getattr(weights, field[0]).data_ptr() for field in kind._fields_))
