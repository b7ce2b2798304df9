"""The one team of native threads of this process, as torch has one.

Two models in a process take turns with it: more threads than cores would only make them wait for each other.
"""

from __future__ import annotations

import functools
import logging

import torch

from farthing.core.errors import NativeLibraryError
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.place import LIBRARY

__all__ = ("LIBRARY", "native_kernels")

log = logging.getLogger(__name__)


@functools.cache
def native_kernels() -> NativeKernels | None:
    """The kernels with as many threads as torch has now; None where the library was not built or does not load."""
    if not LIBRARY.is_file():
        return None
    try:
        return NativeKernels(LIBRARY, torch.get_num_threads())
    except NativeLibraryError as error:
        log.warning("int8 runs without the native kernels: %s", error)
        return None
