from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from farthing.core.errors import MissingExtraError, SettingsError
from farthing.engine.cards.facts import free_on_card
from farthing.engine.plan import device as device_module
from farthing.engine.plan.device import DeviceFacts, device_facts, is_card_unused, together


def test_facts_of_this_machine() -> None:
    facts = device_facts("cpu")
    assert (facts.device, facts.is_native, facts.on_card, facts.flash_attention) == ("cpu", True, False, False)
    assert facts.name
    assert 0 < facts.free_bytes <= facts.total_bytes
    assert facts.total_bytes <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 1 <= facts.num_threads <= (os.cpu_count() or 1)


def test_auto_is_the_card_where_there_is_one() -> None:
    assert device_facts("auto").on_card is torch.cuda.is_available()


def test_torch_computes_on_the_cpu_where_it_is_asked_to() -> None:
    facts = device_facts("torch-cpu")
    assert (facts.is_native, facts.on_card) == (False, False)


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "has_torch", lambda: False)


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "torch-cpu"])
def test_without_torch_what_needs_it_names_the_extra(name: str) -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'farthing\[cuda\]'"):
        device_facts(name)


@pytest.mark.usefixtures("no_torch")
def test_a_card_that_torch_is_missing_for_is_known_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "may_have_card", lambda: True)
    facts = device_facts("auto")
    assert facts.device == "cpu"
    assert is_card_unused(facts)


def test_nobody_asks_torch_where_no_driver_is(measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if device_module.may_have_card():
        pytest.skip("this machine has a driver of cards")
    found = measured(
        "from farthing.engine.plan.device import device_facts\ndevice_facts('auto')\n"
        "print(json.dumps({'torch': 'torch' in sys.modules}))"
    )
    assert found == {"torch": False}


@pytest.mark.parametrize("name", ["gpu0", "cuda:99", "cuda:x", "cuda:-1", "mps", "", "CPU", "cpu:0", "torch"])
def test_an_unknown_device_is_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        device_facts(name)
    assert str(caught.value).startswith(f"device is {name!r}; available: cpu")
    assert caught.value.param == "device"


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_facts_of_a_card(name: str) -> None:
    facts = device_facts(name)
    assert (facts.device, facts.on_card) == ("cuda:0", True)
    assert facts.name == torch.cuda.get_device_name(0)
    assert 0 < facts.free_bytes <= facts.total_bytes
    assert facts.fast_bf16 is (torch.cuda.get_device_capability(0) >= (8, 0))


def test_what_torch_holds_unused_is_free_and_its_limit_holds() -> None:
    assert free_on_card(free_bytes=70, limit_bytes=80, reserved_bytes=0, allocated_bytes=0) == 70
    assert free_on_card(free_bytes=70, limit_bytes=80, reserved_bytes=8, allocated_bytes=3) == 75
    assert free_on_card(free_bytes=70, limit_bytes=20, reserved_bytes=8, allocated_bytes=3) == 17
    assert free_on_card(free_bytes=70, limit_bytes=2, reserved_bytes=8, allocated_bytes=3) == 0


@pytest.mark.gpu
def test_a_limit_for_the_process_is_all_that_is_free() -> None:
    torch.cuda.set_per_process_memory_fraction(0.01)
    try:
        assert device_facts("cuda").free_bytes <= torch.cuda.mem_get_info()[1] // 100
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("name", ["cpu,cpu", "torch-cpu,torch-cpu", "cuda:0,cuda:0", "cpu,cuda:0", "cuda:0,cuda:98"])
def test_several_devices_must_be_different_cards(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        device_facts(name)
    assert caught.value.param == "device"


def test_several_cards_can_do_what_all_can_and_have_what_the_smallest_has() -> None:
    large = DeviceFacts("cuda:0", "A100", 80, 70, fast_bf16=True, flash_attention=True, num_threads=8)
    small = DeviceFacts("cuda:1", "T4", 16, 15, fast_bf16=False, flash_attention=False, num_threads=8)
    both = together(large, [small])
    assert (both.device, both.others, both.free_bytes) == ("cuda:0", ("cuda:1",), 15)
    assert (both.fast_bf16, both.flash_attention) == (False, False)
    assert together(large, []) == large
