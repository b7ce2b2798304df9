"""The teams of native threads of this process.

Models that compute with as many threads take turns with one team: more threads than cores would only make them wait
for each other.
"""

from __future__ import annotations

import functools
import logging

from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.place import LIBRARY

__all__ = ("LIBRARY", "native_kernels")

logger = logging.getLogger(__name__)

PORTABLE_SLOWER = 2.4  # benchmarks/instruction_sets.py, MiniLM, 8x128, on a Zen 4


@functools.cache
def native_kernels(num_threads: int) -> NativeKernels:
    """The kernels of the best instruction set of this CPU, with that many threads.

    Raises:
        NativeLibraryError: the library is not there, or does not load.
    """
    kernels = NativeKernels(LIBRARY, num_threads)
    say_if_slow(kernels.isa, kernels.cpu_isa)
    return kernels


@functools.cache
def say_if_slow(isa: str, cpu_isa: str) -> None:
    """Warn of kernels that are much slower than others: this CPU's, or those of a better one."""
    if isa != cpu_isa:
        logger.warning(
            "The kernels are those for %s, and this CPU could run the faster ones for %s, which were not compiled. "
            "Install a wheel of farthing (pip install --force-reinstall --only-binary farthing farthing), or in a "
            "checkout: python native/build_native.py, with a compiler that knows %s.",
            isa,
            cpu_isa,
            cpu_isa,
        )
    elif isa == "portable":
        logger.warning(
            "This CPU has neither AVX2 nor ARM's dot products, so that its kernels are the portable ones: in int8 some "
            "%g times slower than AVX2's.",
            PORTABLE_SLOWER,
        )
