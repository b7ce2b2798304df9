from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

import tiers
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.team import LIBRARY

ISAS = ("portable", "avx2", "avxvnni", "avx512vnni", "avx512bf16", "amx")

BETWEEN = "avx512vnni"  # of the same source as avx512bf16, which has it all and bf16


@functools.cache
def best() -> str:
    kernels = NativeKernels(LIBRARY, 1)
    try:
        return kernels.isa
    finally:
        kernels.close()


@pytest.fixture(params=ISAS)
def kernels(request: pytest.FixtureRequest) -> Iterator[NativeKernels]:
    if not LIBRARY.is_file():
        pytest.skip("the native kernels were not built (no C++ compiler)")
    if request.param == BETWEEN and not tiers.FULL and best() != BETWEEN:
        pytest.skip("slow: run with --slow")
    try:
        made = NativeKernels(LIBRARY, 2, request.param)
    except RuntimeError:
        pytest.skip(f"this CPU has no {request.param}")
    yield made
    made.close()
