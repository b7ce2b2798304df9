"""The C interface of the native library (native/include/farthing_native.h) in ctypes: structures, functions, errors.

This module owns no memory and does not know arrays (farthing.quant.native.binding does).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from farthing.core.errors import NativeLibraryError
from farthing.quant.native.place import REMEDY, open_library

NO_KERNEL = 4
ERRORS = {
    1: "a width does not fit the kernels",
    2: (
        "a null pointer, a misaligned buffer, an id without a row, offsets that do not ascend, "
        "or a parent that does not fit"
    ),
    3: "the scratch memory is too small",
    NO_KERNEL: "this CPU lacks the instruction set asked for",
    5: "the operating system refused a thread",
}


class CLayerSpec(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("hidden", "intermediate", "q_heads", "kv_heads", "head_dim")),
        *((name, ctypes.c_int32) for name in ("form", "norm", "norms_sums", "norms_added", "norms_heads")),
        *((name, ctypes.c_int32) for name in ("turns_heads", "is_causal", "window", "is_gated", "activation")),
        *((name, ctypes.c_int32) for name in ("rotates_hidden", "rotates_attended", "rotates_inner")),
        ("norm_eps", ctypes.c_float),
        ("head_norm_eps", ctypes.c_float),
        ("query_scale", ctypes.c_float),
    )


class LayerPointers(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in (
            *("qkv", "o", "up", "down"),
            *("qkv_bias", "o_bias", "up_bias", "down_bias"),
            *("attention_norm_gain", "attention_norm_bias", "mlp_norm_gain", "mlp_norm_bias"),
            *("attention_added_gain", "attention_added_bias", "mlp_added_gain", "mlp_added_bias"),
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
        ("distance_bias", ctypes.c_void_p),
        ("bias_reach", ctypes.c_int32),
        ("num_keep", ctypes.c_int32),
        ("keep", ctypes.c_void_p),
        ("prefixes", ctypes.POINTER(PrefixPointers)),
    )


class RotationPointers(ctypes.Structure):
    _fields_ = (
        ("left_size", ctypes.c_int32),
        ("right_size", ctypes.c_int32),
        ("left", ctypes.c_void_p),
        ("right", ctypes.c_void_p),
        ("signs", ctypes.c_void_p),
    )


class NormPointers(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int32),
        ("eps", ctypes.c_float),
        ("gain", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    )


class InputPointers(ctypes.Structure):
    _fields_ = (
        ("tokens", ctypes.c_void_p),
        ("dtype", ctypes.c_int32),
        ("num_tokens", ctypes.c_int32),
        ("scale", ctypes.c_float),
        ("positions", ctypes.c_void_p),
        ("num_positions", ctypes.c_int32),
        ("types", ctypes.c_void_p),
        ("num_types", ctypes.c_int32),
        ("norm", ctypes.POINTER(NormPointers)),
        ("rotation", ctypes.POINTER(RotationPointers)),
    )


class PassLayerPointers(ctypes.Structure):
    _fields_ = (
        ("spec", ctypes.POINTER(CLayerSpec)),
        ("weights", ctypes.POINTER(LayerPointers)),
        ("cos", ctypes.c_void_p),
        ("sin", ctypes.c_void_p),
        ("rope_positions", ctypes.c_int32),
        ("distance_bias", ctypes.c_void_p),
        ("bias_reach", ctypes.c_int32),
        ("prefixes", ctypes.POINTER(PrefixPointers)),
    )


class PassPointers(ctypes.Structure):
    _fields_ = (
        ("input", ctypes.POINTER(InputPointers)),
        ("ids", ctypes.c_void_p),
        ("positions", ctypes.c_void_p),
        ("types", ctypes.c_void_p),
        ("num_tokens", ctypes.c_int32),
        ("num_texts", ctypes.c_int32),
        ("cu_seqlens", ctypes.c_void_p),
        ("num_layers", ctypes.c_int32),
        ("layers", ctypes.POINTER(PassLayerPointers)),
        ("num_keep", ctypes.c_int32),
        ("keep", ctypes.c_void_p),
        ("last_norm", ctypes.POINTER(NormPointers)),
        ("last_rotation", ctypes.POINTER(RotationPointers)),
        ("takes_means", ctypes.c_int32),
    )


def load(path: Path) -> ctypes.CDLL:
    """Load the library. Raises `NativeLibraryError` when it is missing, cannot be loaded, or is of another version."""
    library = open_library(path)
    p, i, i64, size = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_size_t
    signatures: dict[str, tuple[Any, Sequence[Any]]] = {
        "ft_pool_create": (ctypes.c_int, (i, ctypes.c_char_p, p)),
        "ft_pool_destroy": (None, (p,)),
        "ft_pool_rouse": (None, (p,)),
        "ft_pool_isa": (ctypes.c_char_p, (p,)),
        "ft_cpu_isa": (ctypes.c_char_p, ()),
        "ft_packed_bytes": (size, (i, i, i)),
        "ft_pack_rows": (ctypes.c_int, (p, i, p, i, i, i, p)),
        "ft_pack_nf4": (ctypes.c_int, (p, p, i, i, i, p, i, p)),
        "ft_unpack_nf4": (ctypes.c_int, (p, p, i, i, p)),
        "ft_linear_scratch_bytes": (size, (p, i, i, i)),
        "ft_linear": (ctypes.c_int, (p, i, p, i, p, i, i, p, p, p, size)),
        "ft_layer_scratch_bytes": (size, (p, p, i, i)),
        "ft_layer_kv_bytes": (size, (p, i)),
        "ft_layers": (ctypes.c_int, (p, p, p, i, p, p, p, size)),
        "ft_rotate_scratch_bytes": (size, (p, p)),
        "ft_rotate_rows": (ctypes.c_int, (p, p, i, p, i64, p, p, size)),
        "ft_hadamard_rows": (ctypes.c_int, (p, p, i64, i)),
        "ft_embed": (ctypes.c_int, (p, p, p, p, p, i, i, p, p, size)),
        "ft_finish": (ctypes.c_int, (p, p, p, p, i, i, p, size)),
        "ft_mean_rows": (ctypes.c_int, (p, p, i, p, i, p)),
        "ft_run_scratch_bytes": (size, (p, p)),
        "ft_run": (ctypes.c_int, (p, p, p, p, size)),
        "ft_peak_ops": (ctypes.c_double, (p, i)),
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
