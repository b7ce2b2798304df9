"""What binds and multiplies matrices in these tests: the native kernels, and the same in numpy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy_kernels import NUMPY_KERNELS

from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.team import LIBRARY, native_kernels


@pytest.fixture
def built_kernels() -> NativeKernels:
    """The native kernels; skips where they were not built."""
    if not LIBRARY.is_file():
        pytest.skip("the native kernels were not built (no C++ compiler)")
    return native_kernels(2)


@pytest.fixture(params=["numpy", "native"])
def kernels(request: pytest.FixtureRequest) -> NativeKernels:
    if request.param == "numpy":
        return NUMPY_KERNELS
    found: NativeKernels = request.getfixturevalue("built_kernels")
    return found


@pytest.fixture
def digest() -> Callable[[Any], str]:
    """The first sixteen digits of the SHA-256 of an array's bytes."""
    return lambda array: hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
