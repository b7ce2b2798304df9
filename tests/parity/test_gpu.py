"""Every format x residency on a card against the same format on the CPU, and against fp32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_small_formats import TEXTS, unit

from farthing.core.settings import EngineSettings
from farthing.engine.describe import describe_model
from farthing.engine.load import load_model, load_weights
from farthing.engine.runner import Runner
from farthing.quant.format import MatrixShape
from farthing.quant.formats import FORMATS
from farthing.quant.gpu.int8 import GpuInt8Linear

LEAST = {"fp32": 0.99999, "bf16": 0.999, "fp16": 0.9999, "int8": 0.998, "fp8": 0.99, "nf4": 0.9}


def vectors(path: Path, **settings: Any) -> np.ndarray:
    output = Runner(load_model(path, EngineSettings(**settings))).run(TEXTS)
    assert not output.errors
    return unit(output.rows)


@pytest.mark.gpu
@pytest.mark.parametrize("residency", ["resident", "host", "disk"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_format_on_a_card_is_as_close_to_fp32_as_on_the_cpu(model: Path, name: str, residency: str) -> None:
    if FORMATS[name].quantises and residency == "disk":
        pytest.skip("only folders that farthing quantize wrote are read from disk in this format")
    got = vectors(model, format=name, residency=residency, device="cuda")
    exact = vectors(model, format="fp32", device="cpu")
    assert (got * exact).sum(1).min() > LEAST[name]


@pytest.mark.gpu
@pytest.mark.parametrize("name", FORMATS)
def test_layers_from_the_host_give_the_vectors_of_resident_ones(model: Path, name: str) -> None:
    resident, copied = (
        vectors(model, format=name, residency=residency, device="cuda") for residency in ("resident", "host")
    )
    np.testing.assert_array_equal(resident, copied)


class CardInt8:
    """int8 bound as on a card, wherever its tensors lie."""

    def __init__(self) -> None:
        self._form = FORMATS["int8"]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._form, name)

    def linear(self, packed: Any, bias: torch.Tensor | None, shape: MatrixShape, region: Any) -> GpuInt8Linear:  # noqa: ARG002
        return GpuInt8Linear(packed["packed"], bias, shape)


def test_a_model_of_the_cards_int8_products_stays_as_close_to_fp32_as_the_cpus(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farthing.engine.runner.native_kernels", lambda: None)
    description = describe_model(model, EngineSettings(format="int8"))
    as_on_card = replace(description, plan=replace(description.plan, format=CardInt8()))
    got = unit(Runner(load_weights(as_on_card)).run(TEXTS).rows)
    monkeypatch.undo()
    exact, on_cpu = vectors(model, format="fp32"), vectors(model, format="int8")
    assert (got * exact).sum(1).min() > 0.998
    assert (got * on_cpu).sum(1).min() > 0.998
