"""Every format x residency on a card against the same format on the CPU, and against fp32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_small_formats import TEXTS, unit

from farthing.core.settings import EngineSettings
from farthing.engine.describe import describe_model
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model, load_weights
from farthing.quant import fp8
from farthing.quant.format import MatrixShape, Region
from farthing.quant.formats import FORMATS
from farthing.quant.gpu.fp8 import GpuFp8Linear
from farthing.quant.gpu.int8 import GpuInt8Linear
from farthing.quant.rotation import QuantisingLinear
from farthing.quant.unpacked import UnpackedLinear

LEAST = {"fp32": 0.99999, "bf16": 0.999, "fp16": 0.9999, "int8": 0.998, "fp8": 0.98, "nf4": 0.9}


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


class OnCard:
    """A format bound as on a card, wherever its tensors lie."""

    def __init__(self, name: str) -> None:
        self._form = FORMATS[name]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._form, name)

    def linear(
        self, packed: Mapping[str, torch.Tensor], bias: torch.Tensor | None, shape: MatrixShape, region: Region
    ) -> QuantisingLinear:
        block, size = packed["packed"], (shape.out_features, shape.in_features)
        if self._form.name == "int8":
            return GpuInt8Linear(block, bias, shape)
        scales, values = fp8.views(block, *size)
        return GpuFp8Linear(values, scales, bias, UnpackedLinear(partial(fp8.unpack, block), bias, shape, region))


@pytest.mark.parametrize(
    ("name", "dtype"), [("int8", torch.float32), ("int8", torch.bfloat16), ("fp8", torch.bfloat16)]
)
def test_a_model_of_the_cards_products_is_close_to_fp32(
    model: Path, name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farthing.engine.runner.native_kernels", lambda: None)
    description = describe_model(model, EngineSettings(format=name))
    plan = replace(description.plan, format=OnCard(name), dtype=dtype, residual_dtype=dtype)
    output = Runner(load_weights(replace(description, plan=plan))).run(TEXTS)
    assert (output.errors, output.num_recomputed) == ({}, 0)
    cosines = (unit(output.rows) * vectors(model, format="fp32", device="cpu")).sum(1)
    assert LEAST[name] < cosines.min() < 0.99999
