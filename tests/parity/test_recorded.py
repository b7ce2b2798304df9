"""int8 rows are those that recorded.npz holds: nearly those of version 0.1, which added in other orders, and, bit for
bit, those of this version, so that no change of the kernels moves them unnoticed.

    python tests/parity/test_recorded.py       records this version's rows anew
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from first_synthetic import write_first_synthetic

from farthing.core.settings import EngineSettings, SourceSettings
from farthing.engine import native_model
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model
from farthing.models.synth.checkpoint import find_shape
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native.team import LIBRARY
from farthing.sources.find import find_model

RECORDED = Path(__file__).with_name("recorded.npz")
LENGTHS = (1, 2, 5, 17, 17, 64, 200)
TOPS = {"qwen3": 150_000, "minilm": 30_000}  # the highest token, by model
ISAS = ("portable", "avx512bf16")


def texts() -> dict[str, list[list[int]]]:
    """By model; the random numbers go on from one to the next."""
    random = np.random.default_rng(11)
    return {name: [random.integers(1000, top, n).tolist() for n in LENGTHS] for name, top in TOPS.items()}


def write_model(name: str, folder: Path) -> Path:
    if name == "minilm":
        return find_model("starter", SourceSettings(), show_progress=False).path
    write_first_synthetic(find_shape("qwen3-tiny"), folder)
    return folder


def rows(name: str, path: Path, kernels: NativeKernels, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    monkeypatch.setattr(native_model, "native_kernels", lambda _: kernels)
    settings = EngineSettings(format="int8", device="cpu", num_threads=2)
    return Runner(load_model(path, settings)).run(texts()[name]).rows


@pytest.fixture(params=TOPS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=ISAS)
def isa(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def found(name: str, isa: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    try:
        kernels = NativeKernels(LIBRARY, 2, isa)
    except RuntimeError:
        pytest.skip(f"this processor has no {isa}")
    return rows(name, write_model(name, tmp_path), kernels, monkeypatch)


def test_rows_are_nearly_those_of_version_0_1(name: str, isa: str, found: np.ndarray) -> None:
    want = np.load(RECORDED)[f"{name} {isa}"]
    assert cosines(found, want).min() > 0.9995  # two roundings of one model


def test_rows_are_those_that_were_recorded(name: str, isa: str, found: np.ndarray) -> None:
    want = np.load(RECORDED)[f"{name} {isa} now"]
    if name == "minilm" or np.array_equal(found, want):
        np.testing.assert_array_equal(found, want)
    else:  # sines and cosines are numpy's, which differ in the last bit between processors
        assert cosines(found, want).min() > 0.99999


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray((one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1))


def record() -> None:
    import tempfile

    held = dict(np.load(RECORDED))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for name in TOPS:
            path = write_model(name, Path(folder) / name)
            for isa in ISAS:
                held[f"{name} {isa} now"] = rows(name, path, NativeKernels(LIBRARY, 2, isa), patch)
    np.savez_compressed(RECORDED, **held)


if __name__ == "__main__":
    record()
