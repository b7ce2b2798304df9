"""int8 rows are, bit for bit, those that recorded.npz holds: no change of the kernels may move them unnoticed.

Sums go in one order on every processor; only sines and cosines are numpy's, which may differ in the last bit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from farthing.core.settings import EngineSettings
from farthing.engine import native_model
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.team import LIBRARY

RECORDED = Path(__file__).with_name("recorded.npz")
LENGTHS = (1, 2, 5, 17, 17, 64, 200)
MODELS = {"qwen3": ("tiny_qwen3", 150_000), "minilm": ("starter_dir", 30_000)}


def texts() -> dict[str, list[list[int]]]:
    """By model; the random numbers go on from one to the next."""
    random = np.random.default_rng(11)
    return {name: [random.integers(1000, top, n).tolist() for n in LENGTHS] for name, (_, top) in MODELS.items()}


@pytest.mark.parametrize("isa", ["portable", "avx512bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_int8_rows_are_those_that_were_recorded(
    name: str, isa: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        kernels = NativeKernels(LIBRARY, 2, isa)
    except RuntimeError:
        pytest.skip(f"this processor has no {isa}")
    monkeypatch.setattr(native_model, "native_kernels", lambda _: kernels)
    settings = EngineSettings(format="int8", device="cpu", num_threads=2)
    path: Path = request.getfixturevalue(MODELS[name][0])
    output = Runner(load_model(path, settings)).run(texts()[name])
    want = np.load(RECORDED)[f"{name} {isa}"]
    np.testing.assert_array_equal(output.rows, want)
