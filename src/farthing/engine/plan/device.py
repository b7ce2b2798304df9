"""Facts about the device that decide how a model is computed. Measures nothing and changes nothing."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from farthing.core.deferred import dataclass
from farthing.core.errors import MissingExtraError, SettingsError
from farthing.engine.plan.cpu import cpu_name, cpu_threads, host_memory_bytes

# What the drivers of NVIDIA's and AMD's cards put there. Importing torch to ask it takes more than a second.
CARD_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd", "/proc/driver/nvidia/version")


@dataclass(frozen=True)
class DeviceFacts:
    """
    Attributes:
        device: "cpu", "torch-cpu" or "cuda:N".
        name: the name of the processor or card.
        total_bytes, free_bytes: device memory; on a CPU, the limits of the control groups count.
        fast_bf16: the card's bf16 products are faster than its fp32 ones.
        flash_attention: the variable-length attention kernel runs here (CUDA, compute capability 8.0 and up).
        num_threads: threads worth using on the CPU.
        fast_fp8: e4m3 weights are multiplied as they are stored (CUDA, compute capability 8.9 and up).
        host_free_bytes: free memory of the machine that a card is in; None where it does not limit.
        others: further cards, which share the layers with this one; each has at least `free_bytes`.
    """

    device: str
    name: str
    total_bytes: int
    free_bytes: int
    fast_bf16: bool
    flash_attention: bool
    num_threads: int
    fast_fp8: bool = False
    host_free_bytes: int | None = None
    others: tuple[str, ...] = ()

    @property
    def is_native(self) -> bool:
        """Whether the native kernels compute."""
        return self.device == "cpu"

    @property
    def on_card(self) -> bool:
        return self.device not in ("cpu", "torch-cpu")


def device_facts(device: str) -> DeviceFacts:
    """The facts about "cpu", "torch-cpu", "cuda", "cuda:N", several cards ("cuda:0,cuda:1"), or the best there is
    ("auto").

    Raises:
        SettingsError: there is no such device; the message says which devices there are.
        MissingExtraError: the device computes with torch, which is not installed.
    """
    first, *others = [one_device(name) for name in device.split(",")]
    names = [facts.device for facts in (first, *others)]
    if others and (not all(facts.on_card for facts in (first, *others)) or len(set(names)) < len(names)):
        raise SettingsError(f"device is {device!r}; several devices must be different cards", param="device")
    return together(first, others)


def together(first: DeviceFacts, others: Sequence[DeviceFacts]) -> DeviceFacts:
    """Several cards as one card, which can do what all of them can, and has what the smallest of them has."""
    cards = [first, *others]
    return replace(
        first,
        total_bytes=min(card.total_bytes for card in cards),
        free_bytes=min(card.free_bytes for card in cards),
        fast_bf16=all(card.fast_bf16 for card in cards),
        flash_attention=all(card.flash_attention for card in cards),
        fast_fp8=all(card.fast_fp8 for card in cards),
        others=tuple(card.device for card in others),
    )


def one_device(device: str) -> DeviceFacts:
    if device == "cpu" or (device == "auto" and not may_have_card()):
        return cpu_facts("cpu")
    if not has_torch():
        if device == "auto":
            return cpu_facts("cpu")
        raise MissingExtraError(f"The device {device!r}", "cuda")
    if device == "torch-cpu":
        return cpu_facts(device)
    from farthing.engine.cards.facts import card_count, card_facts

    count = card_count()
    if device == "auto":
        return card_facts(0) if count else cpu_facts("cpu")
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index or "0").isdecimal() or int(index or 0) >= count:
        available = ", ".join(["cpu", *(f"cuda:{number}" for number in range(count))])
        raise SettingsError(f"device is {device!r}; available: {available}", param="device")
    return card_facts(int(index or 0))


def may_have_card() -> bool:
    """Whether a driver of cards is there, so that it is worth asking torch."""
    return any(Path(file).exists() for file in CARD_FILES)


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def is_card_unused(facts: DeviceFacts) -> bool:
    """Whether there seems to be a card, which is not used because torch is missing."""
    return facts.is_native and may_have_card() and not has_torch()


def cpu_facts(device: str) -> DeviceFacts:
    total, free = host_memory_bytes()
    return DeviceFacts(
        device=device,
        name=cpu_name(),
        total_bytes=total,
        free_bytes=free,
        fast_bf16=False,
        flash_attention=False,
        num_threads=cpu_threads(),
        host_free_bytes=free,
    )
