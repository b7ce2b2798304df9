from __future__ import annotations

import importlib.util

import pytest
import torch

from farthing.quant.gpu.support import multiplies_fp8, triton_problem, triton_runs

CPU = torch.device("cpu")


def test_a_cpu_has_neither() -> None:
    assert not triton_runs(CPU)
    assert not multiplies_fp8(CPU)


def test_where_triton_is_not_installed_that_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert triton_problem(torch.device("cuda", 63)) == "triton is not installed"


@pytest.mark.gpu
def test_on_a_card_it_runs_or_says_why_not() -> None:
    card = torch.device("cuda", 0)
    assert triton_runs(card) is (triton_problem(card) is None)
    assert multiplies_fp8(card) is (torch.cuda.get_device_capability(card) >= (8, 9))
