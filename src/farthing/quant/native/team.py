"""The one team of native threads of this process, as torch has one.

Two models in a process take turns with it: more threads than cores would only make them wait for each other.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import torch

from farthing.quant.native.binding import NativeKernels

LIBRARY = Path(__file__).parent / "lib" / "libfarthing_native.so"  # put there by native/build_native.py

log = logging.getLogger(__name__)


@functools.cache
def native_kernels() -> NativeKernels | None:
    """The kernels with as many threads as torch has now; None where the library was not built or does not load."""
    if not LIBRARY.is_file():
        return None
    try:
        return NativeKernels(LIBRARY, torch.get_num_threads())
    except OSError as error:
        log.warning("The native CPU kernels do not load, int8 runs without them: %s", error)
        return None
