"""What a pass has besides its layers: the input's tables, norms, a rotation, and all of it in one call; in C form.

In: contiguous arrays that the caller owns and keeps alive as long as the objects. Their C form is made once for each
object.
"""

from __future__ import annotations

import ctypes
from functools import cached_property

import numpy as np

from farthing.core.arrays import BF16, Array
from farthing.core.deferred import dataclass
from farthing.quant.native.arguments import (
    NORM_CODES,
    LayerShape,
    NativePrefixes,
    NativeWeights,
    array_of,
    pointer,
    reach_of,
)
from farthing.quant.native.library import (
    InputPointers,
    NormPointers,
    PassLayerPointers,
    PassPointers,
    RotationPointers,
)

DTYPE_CODES = {np.dtype(np.float32): 0, BF16: 1, np.dtype(np.float16): 2}


@dataclass(frozen=True)
class NativeNorm:
    """An RMSNorm ("rms") or a LayerNorm ("layer"), which has a bias; gain and bias [width] fp32."""

    kind: str
    eps: float
    gain: Array
    bias: Array | None = None

    @cached_property
    def pointers(self) -> NormPointers:
        assert self.gain.dtype == np.float32
        assert self.bias is None or self.bias.dtype == np.float32
        return NormPointers(NORM_CODES[self.kind], self.eps, pointer(self.gain), pointer(self.bias))


@dataclass(frozen=True)
class NativeRotation:
    """R = (left kron right) diag(signs), fp32: left [a, a] and right [b, b] orthogonal, signs [a * b]."""

    left: Array
    right: Array
    signs: Array

    @cached_property
    def pointers(self) -> RotationPointers:
        assert self.left.dtype == self.right.dtype == self.signs.dtype == np.float32
        assert self.signs.shape[0] == self.left.shape[0] * self.right.shape[0]
        sizes = self.left.shape[0], self.right.shape[0]
        return RotationPointers(*sizes, pointer(self.left), pointer(self.right), pointer(self.signs))


@dataclass(frozen=True)
class NativeInput:
    """What the first layer gets: rows of the tables, added up, normed, rotated.

    Attributes:
        tokens: [vocabulary, hidden] in fp32, bf16 (uint16) or fp16; may be mapped from a file, and its rows need no
            alignment but their numbers' own.
        scale: what the rows of `tokens` are multiplied by.
        positions: [positions, hidden] fp32, or None.
        types: [types, hidden] fp32, or None.
        norm: of the sum, or None.
        rotation: of the normed sum, or None.
    """

    tokens: Array
    scale: float = 1.0
    positions: Array | None = None
    types: Array | None = None
    norm: NativeNorm | None = None
    rotation: NativeRotation | None = None

    @property
    def hidden(self) -> int:
        return int(self.tokens.shape[1])

    @cached_property
    def pointers(self) -> InputPointers:
        for table in (self.positions, self.types):
            assert table is None or (table.dtype == np.float32 and table.shape[1] == self.hidden)
        return InputPointers(
            pointer(self.tokens),
            DTYPE_CODES[self.tokens.dtype],
            self.tokens.shape[0],
            self.scale,
            pointer(self.positions),
            0 if self.positions is None else self.positions.shape[0],
            pointer(self.types),
            0 if self.types is None else self.types.shape[0],
            None if self.norm is None else ctypes.pointer(self.norm.pointers),
            None if self.rotation is None else ctypes.pointer(self.rotation.pointers),
        )


@dataclass(frozen=True)
class NativeLayer:
    """One layer of a pass; cos, sin, distance_bias and prefixes as in `NativeBatch`."""

    shape: LayerShape
    weights: NativeWeights
    cos: Array | None = None
    sin: Array | None = None
    distance_bias: Array | None = None
    prefixes: NativePrefixes | None = None

    @cached_property
    def pointers(self) -> PassLayerPointers:
        return PassLayerPointers(
            ctypes.pointer(self.shape.c_spec),
            ctypes.pointer(self.weights.pointers),
            pointer(self.cos),
            pointer(self.sin),
            0 if self.cos is None else self.cos.shape[0],
            pointer(self.distance_bias),
            reach_of(self.distance_bias),
            None if self.prefixes is None else ctypes.pointer(self.prefixes.pointers()),
        )


@dataclass(frozen=True)
class NativeLayers:
    """The layers of a pass, first to last.

    Their C form is kept, and they should be too: making them takes 100 microseconds, a tenth of a short text's time.
    """

    layers: tuple[NativeLayer, ...]

    @cached_property
    def pointers(self) -> ctypes.Array[PassLayerPointers]:
        made: ctypes.Array[PassLayerPointers] = array_of(PassLayerPointers, len(self.layers))(
            *(layer.pointers for layer in self.layers)
        )
        return made

    @cached_property
    def with_prefixes(self) -> tuple[NativeLayer, ...]:
        return tuple(layer for layer in self.layers if layer.prefixes is not None)


@dataclass(frozen=True)
class NativePass:
    """A batch's way from token ids to rows, in one call.

    Attributes:
        ids: [tokens] int32.
        cu_seqlens: [texts + 1] int32, where each text starts.
        positions, types: [tokens] int32, rows of the input's tables; types None for type 0 everywhere.
        keep: [rows] int32 ascending, the only rows that go on after the last layer's attention; None for all.
        last_norm: of the last layer's rows, after `last_rotation` was undone.
        takes_means: the result is each text's mean; without `keep`, and each text has a token.
    """

    input: NativeInput
    ids: Array
    cu_seqlens: Array
    layers: NativeLayers
    positions: Array | None = None
    types: Array | None = None
    keep: Array | None = None
    last_norm: NativeNorm | None = None
    last_rotation: NativeRotation | None = None
    takes_means: bool = False

    @property
    def num_rows(self) -> int:
        """The rows of the result."""
        if self.takes_means:
            return int(self.cu_seqlens.shape[0] - 1)
        return int((self.ids if self.keep is None else self.keep).shape[0])

    def pointers(self) -> PassPointers:
        for numbers in (self.ids, self.cu_seqlens, self.positions, self.types, self.keep):
            assert numbers is None or numbers.dtype == np.int32
        return PassPointers(
            ctypes.pointer(self.input.pointers),
            pointer(self.ids),
            pointer(self.positions),
            pointer(self.types),
            self.ids.shape[0],
            self.cu_seqlens.shape[0] - 1,
            pointer(self.cu_seqlens),
            len(self.layers.layers),
            self.layers.pointers,
            0 if self.keep is None else self.keep.shape[0],
            pointer(self.keep),
            None if self.last_norm is None else ctypes.pointer(self.last_norm.pointers),
            None if self.last_rotation is None else ctypes.pointer(self.last_rotation.pointers),
            self.takes_means,
        )
