"""Every format x residency on a card against the same format on the CPU, and against fp32."""

from __future__ import annotations

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
from farthing.engine.plan.run_mode import Dtype
from farthing.engine.runner import Runner
from farthing.engine.weights.load import load_model, load_weights
from farthing.quant.format import MatrixShape
from farthing.quant.formats import FORMATS
from farthing.quant.gpu import fp8, linears
from farthing.quant.gpu.fp8 import GpuFp8Linear
from farthing.quant.gpu.int8 import GpuInt8Linear
from farthing.quant.gpu.linear import Linear, TensorRegion
from farthing.quant.gpu.unpacked import UnpackedLinear

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


def card_int8(tensors: linears.Tensors, bias: torch.Tensor | None, shape: MatrixShape, region: TensorRegion) -> Linear:
    return GpuInt8Linear(tensors["packed"], bias, shape)


def card_fp8(tensors: linears.Tensors, bias: torch.Tensor | None, shape: MatrixShape, region: TensorRegion) -> Linear:
    block, size = tensors["packed"], (shape.out_features, shape.in_features)
    scales, values = fp8.views(block, *size)
    return GpuFp8Linear(values, scales, bias, UnpackedLinear(partial(fp8.unpack, block), bias, shape, region))


@pytest.mark.parametrize(("name", "dtype"), [("int8", "fp32"), ("int8", "bf16"), ("fp8", "bf16")])
def test_a_model_of_the_cards_products_is_close_to_fp32(
    model: Path, name: str, dtype: Dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Formats bound as on a card, wherever their tensors lie."""
    monkeypatch.setitem(linears.LINEARS, name, {"int8": card_int8, "fp8": card_fp8}[name])
    description = describe_model(model, EngineSettings(format=name, device="torch-cpu"))
    plan = replace(description.plan, dtype=dtype, residual_dtype=dtype)
    output = Runner(load_weights(description.with_plan(plan))).run(TEXTS)
    assert (output.errors, output.num_recomputed) == ({}, 0)
    cosines = (unit(output.rows) * vectors(model, format="fp32", device="cpu")).sum(1)
    assert LEAST[name] < cosines.min() < 0.99999
