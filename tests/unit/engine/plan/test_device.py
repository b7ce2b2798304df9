from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from farthing.core.errors import SettingsError
from farthing.engine.plan.device import DeviceFacts, device_facts, free_on_card, together


def test_facts_of_this_machine() -> None:
    facts = device_facts("cpu")
    assert (facts.device, facts.is_cpu, facts.flash_attention) == ("cpu", True, False)
    assert facts.name
    assert 0 < facts.free_bytes <= facts.total_bytes
    assert facts.total_bytes <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 1 <= facts.num_threads <= (os.cpu_count() or 1)
    flags = Path("/proc/cpuinfo").read_text().split()
    assert facts.fast_bf16 is ("amx_tile" in flags and "amx_bf16" in flags)


def test_auto_is_the_card_where_there_is_one() -> None:
    assert device_facts("auto").is_cpu is not torch.cuda.is_available()


@pytest.mark.parametrize("name", ["gpu0", "cuda:99", "cuda:x", "cuda:-1", "mps", "", "CPU", "cpu:0"])
def test_an_unknown_device_is_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        device_facts(name)
    assert str(caught.value).startswith(f"device is {name!r}; available: cpu")
    assert caught.value.param == "device"


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_facts_of_a_card(name: str) -> None:
    facts = device_facts(name)
    assert (facts.device, facts.is_cpu) == ("cuda:0", False)
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


@pytest.mark.parametrize("name", ["cpu,cpu", "cuda:0,cuda:0", "cpu,cuda:0", "cuda:0,cuda:98"])
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
