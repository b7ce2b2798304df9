"""Facts about the device that decide how a model is computed. Measures nothing and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from farthing.core.errors import SettingsError
from farthing.engine.plan.cpu import cpu_name, cpu_threads, host_memory_bytes
from farthing.models.forward.attention import has_varlen
from farthing.quant.gpu.support import multiplies_fp8, triton_problem
from farthing.quant.native.team import LIBRARY


@dataclass(frozen=True)
class DeviceFacts:
    """
    Attributes:
        device: "cpu" or "cuda:N".
        name: the name of the processor or card.
        total_bytes, free_bytes: device memory; on a CPU, the limits of the control groups count.
        fast_bf16: bf16 products are faster than fp32 ones (on CPUs: only with AMX).
        flash_attention: the variable-length attention kernel runs here (CUDA, compute capability 8.0 and up).
        num_threads: threads worth using on the CPU.
        has_native: the native int8 kernels were built.
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
    has_native: bool = False
    fast_fp8: bool = False
    host_free_bytes: int | None = None
    others: tuple[str, ...] = ()

    @property
    def is_cpu(self) -> bool:
        return self.device == "cpu"


def device_facts(device: str) -> DeviceFacts:
    """The facts about "cpu", "cuda", "cuda:N", several cards ("cuda:0,cuda:1"), or the best device there is ("auto").

    Raises:
        SettingsError: there is no such device; the message says which devices there are.
    """
    first, *others = [one_device(name) for name in device.split(",")]
    names = [facts.device for facts in (first, *others)]
    if others and ("cpu" in names or len(set(names)) < len(names)):
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
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return cpu_facts()
    kind, _, index = device.partition(":")
    count = torch.cuda.device_count()
    if kind != "cuda" or not (index or "0").isdigit() or int(index or 0) >= count:
        available = ", ".join(["cpu", *(f"cuda:{number}" for number in range(count))])
        raise SettingsError(f"device is {device!r}; available: {available}", param="device")
    return cuda_facts(int(index or 0))


def cpu_facts() -> DeviceFacts:
    total, free = host_memory_bytes()
    return DeviceFacts(
        device="cpu",
        name=cpu_name(),
        total_bytes=total,
        free_bytes=free,
        fast_bf16=torch.cpu._is_amx_tile_supported(),
        flash_attention=False,
        num_threads=cpu_threads(),
        has_native=LIBRARY.is_file(),
        host_free_bytes=free,
    )


def cuda_facts(index: int) -> DeviceFacts:
    modern = torch.cuda.get_device_capability(index) >= (8, 0)
    return DeviceFacts(
        device=f"cuda:{index}",
        name=torch.cuda.get_device_name(index),
        total_bytes=torch.cuda.mem_get_info(index)[1],
        free_bytes=card_free_bytes(index),
        fast_bf16=modern,
        flash_attention=modern and has_varlen(),
        num_threads=cpu_threads(),
        fast_fp8=multiplies_fp8(torch.device("cuda", index)),
        host_free_bytes=host_memory_bytes()[1],
    )


def gpu_kernels(facts: DeviceFacts) -> str:
    """Says whose kernels quantise rows and unpack and multiply weights on a card."""
    problem = triton_problem(torch.device(facts.device))
    return "Triton's" if problem is None else f"torch's own ({problem})"


def card_free_bytes(device: int | str) -> int:
    """The bytes that this process may still take of a card, whose memory other processes may use too."""
    free, total = torch.cuda.mem_get_info(device)
    limit_bytes = int(torch.cuda.get_per_process_memory_fraction(device) * total)
    return free_on_card(free, limit_bytes, torch.cuda.memory_reserved(device), torch.cuda.memory_allocated(device))


def free_on_card(free_bytes: int, limit_bytes: int, reserved_bytes: int, allocated_bytes: int) -> int:
    """The bytes that this process may still take of a card: free ones, and unused ones of torch's, up to its limit.

    The limit is that of torch.cuda.set_per_process_memory_fraction.
    """
    return max(0, min(free_bytes + reserved_bytes, limit_bytes) - allocated_bytes)
