"""The arguments of a native layer: its widths, packed weights, a batch; and their C form.

In and out: contiguous arrays that the caller owns and keeps alive during the call. What a pass has besides its layers
is in `farthing.quant.native.passes`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cached_property, lru_cache
from typing import Any, Literal

from farthing.core.arrays import Array
from farthing.core.deferred import dataclass
from farthing.quant.native.library import (
    BatchPointers,
    CLayerSpec,
    KnownPointers,
    LayerPointers,
    PrefixPointers,
)

KEY_PANEL = 32  # blocks of keys and values have room for a multiple of this many tokens
WIDTH_STEP = 16  # widths are multiples of it
ROTATED_INPUTS = 64  # widths that are rotated are multiples of it
MAX_HEAD_DIM = 256
MAX_WIDTH = 65536  # the most inputs of a product
FORM_CODES = {"int8": 0, "fp32": 1, "bf16": 2, "fp16": 3}
NORM_CODES = {"rms": 0, "layer": 1}
ACTIVATION_CODES = {"gelu": 0, "gelu_tanh": 1, "silu": 2}

Form = Literal["int8", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class LayerShape:
    """What a layer is (ft_layer_spec in native/include/farthing_native.h).

    Attributes:
        hidden, intermediate: multiples of 16.
        head_dim: 16 to 256 in steps of 16.
        norms_sums: norms come after the halves of the layer, over the sum of the residual stream and what a half adds;
            otherwise they come before the halves.
        norms_added: besides those before the halves, norms come over what a half adds.
        window: 0, or how many tokens away from a token the farthest are that it sees.
        query_scale: what products of queries and keys are multiplied by; None for 1 / sqrt(head_dim).
        is_plain: these fields can say everything about the layer.
        form: how the layer's matrices are packed.
        rotates_hidden, rotates_attended, rotates_inner: the rows that enter qkv and up, o, and down are rotated on
            their way, 64 inputs at a time (`NativeKernels.hadamard_rows`); the matrices were rotated likewise before
            they were packed. Only of int8, and of widths that are multiples of 64.
        head_norm_eps: of the norm of queries and keys; None for `norm_eps`.
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
    form: Form = "int8"
    rotates_hidden: bool = False
    rotates_attended: bool = False
    rotates_inner: bool = False
    head_norm_eps: float | None = None
    norms_added: bool = False
    window: int = 0
    query_scale: float | None = None

    def fits(self) -> bool:
        """Whether the kernels compute this layer."""
        q_width = self.q_heads * self.head_dim
        widths = (self.hidden, self.intermediate, q_width)
        rotated = (self.rotates_hidden, self.rotates_inner, self.rotates_attended)
        widths_fit = all(0 < width <= MAX_WIDTH and width % WIDTH_STEP == 0 for width in widths)
        heads_fit = self.head_dim % WIDTH_STEP == 0 and self.head_dim <= MAX_HEAD_DIM
        can_rotate = all(
            self.form == "int8" and width % ROTATED_INPUTS == 0
            for width, is_so in zip(widths, rotated, strict=True)
            if is_so
        )
        groups_fit = self.kv_heads > 0 and self.q_heads % self.kv_heads == 0
        are_known = self.norm in NORM_CODES and self.activation in ACTIVATION_CODES and self.form in FORM_CODES
        return self.is_plain and widths_fit and heads_fit and groups_fit and can_rotate and are_known

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
            FORM_CODES[self.form],
            NORM_CODES[self.norm],
            self.norms_sums,
            self.norms_added,
            self.norms_heads,
            self.turns_heads,
            self.is_causal,
            self.window,
            self.is_gated,
            ACTIVATION_CODES[self.activation],
            self.rotates_hidden,
            self.rotates_attended,
            self.rotates_inner,
            self.norm_eps,
            self.norm_eps if self.head_norm_eps is None else self.head_norm_eps,
            self.query_scale or 0.0,
        )


@dataclass(frozen=True)
class NativeWeights:
    """A layer's matrices as `NativeKernels.pack` returns them; what else it has, in fp32. Any bias may be missing."""

    qkv: Array
    o: Array
    up: Array
    down: Array
    attention_norm_gain: Array | None
    mlp_norm_gain: Array
    qkv_bias: Array | None = None
    o_bias: Array | None = None
    up_bias: Array | None = None
    down_bias: Array | None = None
    attention_norm_bias: Array | None = None
    mlp_norm_bias: Array | None = None
    attention_added_gain: Array | None = None
    attention_added_bias: Array | None = None
    mlp_added_gain: Array | None = None
    mlp_added_bias: Array | None = None
    q_norm: Array | None = None
    k_norm: Array | None = None

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

    kv: Array
    num_tokens: int
    held_tokens: int

    def pointers(self) -> KnownPointers:
        padded_tokens = -(-self.held_tokens // KEY_PANEL) * KEY_PANEL
        return KnownPointers(pointer(self.kv), padded_tokens, self.num_tokens)


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

    parents: Array
    offsets: Array
    known: Sequence[KnownKeys] = ()
    stored: Mapping[int, Array] = field(default_factory=dict)

    def pointers(self) -> PrefixPointers:
        num_texts = self.parents.shape[0]
        blocks = [pointer(self.stored.get(text)) for text in range(num_texts)] if self.stored else None
        return PrefixPointers(
            pointer(self.parents),
            pointer(self.offsets),
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
        distance_bias: [q_heads, 2 reach + 32] fp32, times log2(e): number key - query + reach is added to the product
            of a query and a key in these positions; the reach is at least every text's length. None for none.
    """

    cu_seqlens: Array
    cos: Array | None = None
    sin: Array | None = None
    keep: Array | None = None
    prefixes: NativePrefixes | None = None
    distance_bias: Array | None = None

    def pointers(self, num_tokens: int) -> BatchPointers:
        return BatchPointers(
            num_tokens,
            self.cu_seqlens.shape[0] - 1,
            pointer(self.cu_seqlens),
            pointer(self.cos),
            pointer(self.sin),
            0 if self.cos is None else self.cos.shape[0],
            pointer(self.distance_bias),
            reach_of(self.distance_bias),
            0 if self.keep is None else self.keep.shape[0],
            pointer(self.keep),
            None if self.prefixes is None else ctypes.pointer(self.prefixes.pointers()),
        )


def reach_of(distance_bias: Array | None) -> int:
    return 0 if distance_bias is None else (distance_bias.shape[1] - KEY_PANEL) // 2


@lru_cache(maxsize=256)
def array_of(kind: type[Any], count: int) -> Any:
    """The type of `count` of that kind side by side; each new type costs time, and is left to the garbage collector."""
    return kind * count


def pointer(array: Array | None) -> int | None:
    if array is None:
        return None
    flags = array.flags
    assert flags.c_contiguous, "the kernels read arrays as they lie"
    if flags.writeable and array.size:
        buffer: Any = array
        return ctypes.addressof(ctypes.c_char.from_buffer(buffer))  # in a quarter of the time of the other way
    return array.ctypes.data
