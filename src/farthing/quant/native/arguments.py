"""The arguments of a native layer: its widths, packed weights, a batch; and their C form.

In and out: contiguous CPU tensors that the caller owns and keeps alive during the call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import torch

from farthing.quant.native.library import (
    BatchPointers,
    CLayerSpec,
    KnownPointers,
    LayerPointers,
    PrefixPointers,
)

KEY_PANEL = 32  # blocks of keys and values have room for a multiple of this many tokens
NORM_CODES = {"rms": 0, "layer": 1}
ACTIVATION_CODES = {"gelu": 0, "gelu_tanh": 1, "silu": 2}


@dataclass(frozen=True)
class LayerShape:
    """What a layer is (ft_layer_spec in native/include/farthing_native.h).

    Attributes:
        hidden, intermediate: multiples of 64.
        head_dim: 32, 64, 96 or 128.
        norms_sums: norms come after the halves of the layer, over the sum of the residual stream and what a half adds;
            otherwise they come before the halves. Where they come after, all products have biases and rotated inputs.
        is_plain: these fields can say everything about the layer.
    """

    hidden: int
    intermediate: int
    q_heads: int
    kv_heads: int
    head_dim: int
    norm: str
    norms_sums: bool
    norms_heads: bool
    turns_heads: bool
    is_causal: bool
    is_gated: bool
    activation: str
    norm_eps: float
    is_plain: bool = True

    def fits(self) -> bool:
        """Whether the kernels compute this layer."""
        widths_fit = self.hidden % 64 == 0 and self.intermediate % 64 == 0 and self.head_dim in (32, 64, 96, 128)
        norms_fit = self.norm == ("layer" if self.norms_sums else "rms") and self.norms_heads == self.turns_heads
        return self.is_plain and widths_fit and norms_fit and self.activation in ACTIVATION_CODES

    @property
    def num_weights(self) -> int:
        """The numbers in the layer's matrices."""
        heads = 2 * (self.q_heads + self.kv_heads) * self.head_dim
        return self.hidden * (heads + (2 + self.is_gated) * self.intermediate)

    @cached_property
    def c_spec(self) -> CLayerSpec:
        return CLayerSpec(
            self.hidden,
            self.intermediate,
            self.q_heads,
            self.kv_heads,
            self.head_dim,
            NORM_CODES[self.norm],
            self.norms_sums,
            self.norms_heads,
            self.turns_heads,
            self.is_causal,
            self.is_gated,
            ACTIVATION_CODES[self.activation],
            self.norms_sums,  # where sums are normed, the inputs of all matrices are rotated
            self.norm_eps,
        )


@dataclass(frozen=True)
class NativeWeights:
    """A layer's matrices as `pack` returns them; biases, norms and gains of queries and keys, if any, in fp32."""

    qkv: torch.Tensor
    o: torch.Tensor
    up: torch.Tensor
    down: torch.Tensor
    attention_norm_gain: torch.Tensor
    mlp_norm_gain: torch.Tensor
    qkv_bias: torch.Tensor | None = None
    o_bias: torch.Tensor | None = None
    up_bias: torch.Tensor | None = None
    down_bias: torch.Tensor | None = None
    attention_norm_bias: torch.Tensor | None = None
    mlp_norm_bias: torch.Tensor | None = None
    q_norm: torch.Tensor | None = None
    k_norm: torch.Tensor | None = None

    @cached_property
    def pointers(self) -> LayerPointers:
        return LayerPointers(*(pointer(getattr(self, field[0])) for field in LayerPointers._fields_))

    @cached_property
    def address(self) -> int:
        return ctypes.addressof(self.pointers)


@dataclass(frozen=True)
class KnownKeys:
    """Keys and values of tokens from position 0 on, as an earlier call stored them.

    Attributes:
        kv: uint8 [kv_bytes(shape, held_tokens)], aligned to 64; its layout is the kernels' own.
        num_tokens: the number of tokens that are seen, at least 1.
        held_tokens: the number of tokens that are held.
    """

    kv: torch.Tensor
    num_tokens: int
    held_tokens: int

    def pointers(self) -> KnownPointers:
        padded_tokens = -(-self.held_tokens // KEY_PANEL) * KEY_PANEL
        return KnownPointers(self.kv.data_ptr(), padded_tokens, self.num_tokens)


@dataclass(frozen=True)
class NativePrefixes:
    """Texts of a batch as segments, whose tokens see all tokens of the parent, and of its parents, before their own.

    Attributes:
        parents: [texts] int32; -1 for none, j < texts for segment j, which is not empty, texts + k for known[k].
        offsets: [texts] int32, the position of each segment's first token: the tokens of all its ancestors.
        known: prefixes that are not in the batch.
        stored: by segment, for segments without a parent: uint8 [kv_bytes(shape, its tokens)], aligned to 64, to which
            the segment's keys and values are written.
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
            array_of(KnownPointers, len(self.known))(*(known.pointers() for known in self.known)),
            None if blocks is None else array_of(ctypes.c_void_p, num_texts)(*blocks),
        )


@dataclass(frozen=True)
class NativeBatch:
    """The texts of a batch, end to end.

    Attributes:
        cu_seqlens: [texts + 1] int32, where each text starts.
        cos: [positions, head_dim / 2] fp32, like sin; only for layers that turn heads by position.
        keep: [rows] int32 ascending, the only rows that go on after attention; None for all.
        prefixes: None where each text stands alone; only for causal layers. cos and sin then cover offset + length.
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


@lru_cache(maxsize=256)
def array_of(kind: type[Any], count: int) -> Any:
    """The type of `count` of that kind side by side; each new type costs time, and is left to the garbage collector."""
    return kind * count


def pointer(tensor: torch.Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
