from __future__ import annotations

from collections.abc import Iterator

import pytest

from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.team import LIBRARY

ISAS = ("portable", "avx2", "avx512vnni", "avx512bf16", "amx")


@pytest.fixture(params=ISAS)
def kernels(request: pytest.FixtureRequest) -> Iterator[NativeKernels]:
    if not LIBRARY.is_file():
        pytest.skip("the native kernels were not built (no C++ compiler)")
    try:
        made = NativeKernels(LIBRARY, 2, request.param)
    except RuntimeError:
        pytest.skip(f"this CPU has no {request.param}")
    yield made
    made.close()
