from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from farthing.quant import int8
from farthing.quant.format import MatrixShape, Region
from farthing.quant.int8 import Int8Format, NativeInt8Linear, TorchInt8Linear
from farthing.quant.int8_packed import quantise_rows
from farthing.quant.native.team import native_kernels


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture
def without_native(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "native_kernels", lambda: None)


@pytest.mark.parametrize("num_tokens", [1, 2, 7, 16, 17, 33, 300])
@pytest.mark.parametrize("bias", [True, False])
def test_torch_alone_gives_the_exact_quantised_product(without_native: None, num_tokens: int, bias: bool) -> None:
    x, weight, offset = random(num_tokens, 96), random(48, 96), random(48)
    form = Int8Format()
    linear = form.linear(form.pack(weight), offset if bias else None, MatrixShape(48, 96), Region())
    assert isinstance(linear, TorchInt8Linear)
    (qx, sx), (qw, sw) = quantise_rows(x), quantise_rows(weight)
    exact = (qx.double() @ qw.double().T) * sx.double() * sw.double().T + (offset.double() if bias else 0)
    assert linear(x).numpy() == pytest.approx(exact.numpy(), rel=1e-5, abs=1e-5)


@pytest.mark.skipif(native_kernels() is None, reason="the native kernels were not built (no C++ compiler)")
@pytest.mark.parametrize("num_tokens", [1, 15, 300])
def test_native_and_torch_give_the_same(monkeypatch: pytest.MonkeyPatch, num_tokens: int) -> None:
    x, weight, bias, form = random(num_tokens, 192), random(64, 192), random(64), Int8Format()
    native = form.linear(form.pack(weight), bias, MatrixShape(64, 192), Region())
    assert isinstance(native, NativeInt8Linear)
    monkeypatch.setattr(int8, "native_kernels", lambda: None)
    plain = form.linear(form.pack(weight), bias, MatrixShape(64, 192), Region())
    assert float((native(x) - plain(x)).norm() / plain(x).norm()) < 2e-4


@pytest.mark.skipif(native_kernels() is None, reason="the native kernels were not built (no C++ compiler)")
def test_the_native_team_has_the_threads_of_the_settings(tiny_qwen3: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from farthing.core.settings import EngineSettings\n"
        "from farthing.engine.weights.load import load_model; from farthing.quant.native.team import native_kernels\n"
        "load_model(Path(sys.argv[1]), EngineSettings(format='int8', num_threads=1))\n"
        "print(native_kernels().num_threads)"
    )
    command = [sys.executable, "-c", program, str(tiny_qwen3)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "1"


def test_each_group_of_inputs_has_a_scale_of_its_own(without_native: None) -> None:
    x, weight = random(9, 600), random(48, 600)
    x[:, 256:512] *= 1000
    form = Int8Format()
    linear = form.linear(form.pack(weight), None, MatrixShape(48, 600, input_group=256), Region())
    qw, sw = quantise_rows(weight)
    groups = [quantise_rows(part) for part in x.split(256, dim=1)]
    rounded = torch.cat([quantised.double() * scale for quantised, scale in groups], dim=1)
    assert linear(x).numpy() == pytest.approx((rounded @ (qw.double() * sw).T).numpy(), rel=1e-4, abs=1e-2)


def test_bytes_are_those_that_are_stored() -> None:
    form = Int8Format()
    packed = form.pack(random(64, 128))
    assert list(packed) == ["packed"]
    assert form.num_bytes(64, 128) == packed["packed"].nbytes
