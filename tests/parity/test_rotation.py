"""Weights with gains folded in and the residual stream and values rotated, in fp32: the same function."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farthing.core.arrays import Array
from farthing.core.deferred import dataclass
from farthing.core.settings import EngineSettings
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model
from farthing.models.synth.checkpoint import find_shape, write_synthetic
from farthing.quant import formats
from farthing.quant.dense import DenseFormat
from farthing.quant.native.binding import NativeKernels
from farthing.quant.native_matrix import NativeMatrix

TEXTS = [np.random.default_rng(n).integers(0, 200, n).tolist() for n in (1, 5, 40)]


@dataclass(frozen=True)
class Treated(DenseFormat):
    """fp32 that is treated as if it were rounded."""

    quantises: bool = True

    def bind(self, packed: Any, *rest: Any, **how: Any) -> NativeMatrix:
        return super().bind({"weight": packed["packed"]}, *rest, **how)

    def pack(self, weight: Array, kernels: NativeKernels) -> dict[str, Array]:
        return {"packed": super().pack(weight, kernels)["weight"]}


def rows(path: Path) -> np.ndarray:
    output = Runner(load_model(path, EngineSettings(format="fp32"))).run(TEXTS)
    return output.rows / np.linalg.norm(output.rows, axis=1, keepdims=True)


@pytest.mark.parametrize("hidden", [64, 96])
@pytest.mark.parametrize("outliers", [False, True])
def test_treated_weights_are_the_same_function(
    hidden: int, outliers: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = replace(find_shape("qwen3-tiny"), hidden=hidden, vocab=200)
    write_synthetic(shape, tmp_path, outliers=outliers, dtype=np.dtype(np.float32))
    exact = rows(tmp_path)
    monkeypatch.setitem(formats.FORMATS, "fp32", Treated("fp32", np.dtype(np.float32), "fp32"))
    assert np.abs(rows(tmp_path) - exact).max() < (1e-4 if outliers else 1e-5)
