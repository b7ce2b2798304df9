"""The team of native threads of this process, as torch has one.

Models that compute with as many threads take turns with one team: more threads than cores would only make them wait
for each other.
"""

from __future__ import annotations

import functools
from pathlib import Path

from farthing.quant.native.binding import NativeKernels

LIBRARY = Path(__file__).parent / "lib" / "libfarthing_native.so"  # put there by native/build_native.py


@functools.cache
def native_kernels(num_threads: int) -> NativeKernels:
    """The kernels of the best instruction set of this CPU, with that many threads.

    Raises:
        OSError: the library is not there, or does not load.
    """
    return NativeKernels(LIBRARY, num_threads)
