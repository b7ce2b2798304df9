"""The C interface of the native library (native/include/farthing_native.h) in ctypes: structures, functions, errors.

This module owns no memory and does not know tensors (farthing.quant.native.binding does).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from farthing.core.errors import NativeLibraryError
from farthing.quant.native.place import REMEDY, open_library

ERRORS = {
    1: "a width does not fit the kernels",
    2: "a null pointer, a misaligned buffer, offsets that do not ascend, or a parent that does not fit",
    3: "the scratch memory is too small",
    4: "this CPU lacks the instruction set asked for",
    5: "the operating system refused a thread",
}


class CLayerSpec(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("hidden", "intermediate", "q_heads", "kv_heads", "head_dim")),
        *((name, ctypes.c_int32) for name in ("norm", "norms_sums", "norms_heads", "turns_heads", "is_causal")),
        *((name, ctypes.c_int32) for name in ("is_gated", "activation", "is_rotated")),
        ("norm_eps", ctypes.c_float),
    )


class LayerPointers(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in (
            *("qkv", "o", "up", "down"),
            *("qkv_bias", "o_bias", "up_bias", "down_bias"),
            *("attention_norm_gain", "attention_norm_bias", "mlp_norm_gain", "mlp_norm_bias"),
            *("q_norm", "k_norm"),
        )
    )


class KnownPointers(ctypes.Structure):
    _fields_ = (("kv", ctypes.c_void_p), ("padded_tokens", ctypes.c_int32), ("num_tokens", ctypes.c_int32))


class PrefixPointers(ctypes.Structure):  # what a POINTER is set to lives as long as the structure
    _fields_ = (
        ("parents", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("num_known", ctypes.c_int32),
        ("known", ctypes.POINTER(KnownPointers)),
        ("stored", ctypes.POINTER(ctypes.c_void_p)),
    )


class BatchPointers(ctypes.Structure):
    _fields_ = (
        ("num_tokens", ctypes.c_int32),
        ("num_texts", ctypes.c_int32),
        ("cu_seqlens", ctypes.c_void_p),
        ("cos", ctypes.c_void_p),
        ("sin", ctypes.c_void_p),
        ("rope_positions", ctypes.c_int32),
        ("num_keep", ctypes.c_int32),
        ("keep", ctypes.c_void_p),
        ("prefixes", ctypes.POINTER(PrefixPointers)),
    )


def load(path: Path) -> ctypes.CDLL:
    """Load the library. Raises `NativeLibraryError` when it is missing, cannot be loaded, or is of another version."""
    library = open_library(path)
    p, i, size = ctypes.c_void_p, ctypes.c_int32, ctypes.c_size_t
    signatures: dict[str, tuple[Any, Sequence[Any]]] = {
        "ft_pool_create": (ctypes.c_int, (i, ctypes.c_char_p, p)),
        "ft_pool_destroy": (None, (p,)),
        "ft_pool_isa": (ctypes.c_char_p, (p,)),
        "ft_packed_bytes": (size, (i, i)),
        "ft_pack_rows": (ctypes.c_int, (p, i, i, i, i, i, p)),
        "ft_pack_nf4": (ctypes.c_int, (p, p, i, i, i, p, i, p)),
        "ft_unpack_nf4": (ctypes.c_int, (p, p, i, i, p)),
        "ft_linear_scratch_bytes": (size, (p, i, i)),
        "ft_linear": (ctypes.c_int, (p, p, i, p, i, i, p, p, p, size)),
        "ft_layer_scratch_bytes": (size, (p, p, i, i)),
        "ft_layer_kv_bytes": (size, (p, i)),
        "ft_layers": (ctypes.c_int, (p, p, p, i, p, p, p, size)),
        "ft_mean_rows": (ctypes.c_int, (p, i, p, i, p)),
        "ft_peak_ops": (ctypes.c_double, (p,)),
        "ft_profile": (i, (p, p, i)),
        "ft_profile_stage": (ctypes.c_char_p, (i,)),
    }
    for name, (result, arguments) in signatures.items():
        try:
            function = getattr(library, name)
        except AttributeError as error:
            message = f"The native library {path} is of another version of Farthing: it has no {name}. {REMEDY}"
            raise NativeLibraryError(message) from error
        function.restype, function.argtypes = result, arguments
    return library
