"""The teams of native threads of this process.

Models that compute with as many threads take turns with one team: more threads than cores would only make them wait
for each other.
"""

from __future__ import annotations

import functools

from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.place import LIBRARY

__all__ = ("LIBRARY", "native_kernels")


@functools.cache
def native_kernels(num_threads: int) -> NativeKernels:
    """The kernels of the best instruction set of this CPU, with that many threads.

    Raises:
        NativeLibraryError: the library is not there, or does not load.
    """
    return NativeKernels(LIBRARY, num_threads)
