"""int8 rows are, bit for bit, those of version 0.1 before models became data, which recorded.npz holds.

The bits are those of one instruction set: torch's own sines, and the order of its sums, differ between processors. So
the rows are compared bit for bit where the processor and torch are as they were, and closely elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from farthing.core.settings import EngineSettings
from farthing.engine import runner
from farthing.engine.weights.load import load_model
from farthing.quant import int8
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.team import LIBRARY

RECORDED = Path(__file__).with_name("recorded.npz")
RECORDED_ON = "AVX512", "2.13"  # what torch computed with, and its version
LENGTHS = (1, 2, 5, 17, 17, 64, 200)
MODELS = {"qwen3": ("tiny_qwen3", 150_000), "minilm": ("starter_dir", 30_000)}


def texts() -> dict[str, list[list[int]]]:
    """By model; the random numbers go on from one to the next."""
    random = np.random.default_rng(11)
    return {name: [random.integers(1000, top, n).tolist() for n in LENGTHS] for name, (_, top) in MODELS.items()}


@pytest.mark.skipif(not LIBRARY.is_file(), reason="the native kernels were not built (no C++ compiler)")
@pytest.mark.parametrize("isa", ["portable", "avx512bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_int8_rows_are_those_that_were_recorded(
    name: str, isa: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        kernels = NativeKernels(LIBRARY, 2, isa)
    except RuntimeError:
        pytest.skip(f"this processor has no {isa}")
    for module in (int8, runner):
        monkeypatch.setattr(module, "native_kernels", lambda: kernels)
    settings = EngineSettings(format="int8", device="cpu", num_threads=2)
    path: Path = request.getfixturevalue(MODELS[name][0])
    output = runner.Runner(load_model(path, settings)).run(texts()[name])
    want = np.load(RECORDED)[f"{name} {isa}"]
    here = torch.backends.cpu.get_cpu_capability(), torch.__version__
    if here[0] == RECORDED_ON[0] and here[1].startswith(RECORDED_ON[1]):
        np.testing.assert_array_equal(output.rows, want)
    else:
        cosines = (output.rows * want).sum(1) / np.linalg.norm(output.rows, axis=1) / np.linalg.norm(want, axis=1)
        assert cosines.min() > 0.999999
