"""What the native layers are given: widths, packed weights, a batch; and their C form.

In and out: contiguous CPU tensors that the caller owns and keeps alive during the call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from farthing.quant.native.library import (
    BatchPointers,
    BertPointers,
    BertSpec,
    KnownPointers,
    PrefixPointers,
    Qwen3Pointers,
    Qwen3Spec,
)

KEY_PANEL = 32  # blocks of keys and values have room for a multiple of so many tokens
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

    def c_spec(self) -> Qwen3Spec:
        return Qwen3Spec(self.hidden, self.intermediate, self.q_heads, self.kv_heads, self.head_dim, self.rms_eps)


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

    def pointers(self) -> Qwen3Pointers:
        return Qwen3Pointers(*(getattr(self, field[0]).data_ptr() for field in Qwen3Pointers._fields_))


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

    def c_spec(self) -> BertSpec:
        return BertSpec(self.hidden, self.intermediate, self.heads, ACTIVATION_CODES[self.activation], self.norm_eps)


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

    def pointers(self) -> BertPointers:
        return BertPointers(*(getattr(self, field[0]).data_ptr() for field in BertPointers._fields_))


@dataclass(frozen=True)
class KnownKeys:
    """Keys and values of tokens from position 0 on, as an earlier call stored them.

    Attributes:
        kv: uint8 [qwen3_kv_bytes(shape, held_tokens)], aligned to 64; its layout is the kernels' own.
        num_tokens: how many of them are seen, at least 1.
        held_tokens: how many there are.
    """

    kv: torch.Tensor
    num_tokens: int
    held_tokens: int

    def pointers(self) -> KnownPointers:
        padded_tokens = -(-self.held_tokens // KEY_PANEL) * KEY_PANEL
        return KnownPointers(self.kv.data_ptr(), padded_tokens, self.num_tokens)


@dataclass(frozen=True)
class NativePrefixes:
    """Texts of a batch as segments, whose tokens see all of the parent's, and of its parents, before their own.

    Attributes:
        parents: [texts] int32; -1 for none, j < texts for segment j, which is not empty, texts + k for known[k].
        offsets: [texts] int32, the position of each segment's first token: the tokens of all its ancestors.
        known: prefixes that are not in the batch.
        stored: by segment, one without a parent: uint8 [qwen3_kv_bytes(shape, its tokens)], aligned to 64, that its
            keys and values are written to.
    """

    parents: torch.Tensor
    offsets: torch.Tensor
    known: Sequence[KnownKeys] = ()
    stored: Mapping[int, torch.Tensor] = field(default_factory=dict)

    def pointers(self) -> PrefixPointers:
        num_texts = self.parents.shape[0]
        blocks = [pointer(self.stored.get(text)) for text in range(num_texts)] if self.stored else None
        return PrefixPointers(
            self.parents.data_ptr(),
            self.offsets.data_ptr(),
            len(self.known),
            (KnownPointers * len(self.known))(*(known.pointers() for known in self.known)),
            None if blocks is None else (ctypes.c_void_p * num_texts)(*blocks),
        )


@dataclass(frozen=True)
class NativeBatch:
    """Texts end to end.

    Attributes:
        cu_seqlens: [texts + 1] int32, where each text starts.
        cos: [positions, head_dim / 2] fp32, as sin; only for layers that turn heads by position.
        keep: [rows] int32 ascending, the only rows that go on after attention; None for all.
        prefixes: None where each text stands alone; only for Qwen3, whose cos and sin then cover offset + length.
    """

    cu_seqlens: torch.Tensor
    cos: torch.Tensor | None = None
    sin: torch.Tensor | None = None
    keep: torch.Tensor | None = None
    prefixes: NativePrefixes | None = None

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
            None if self.prefixes is None else ctypes.pointer(self.prefixes.pointers()),
        )


def pointer(tensor: torch.Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
