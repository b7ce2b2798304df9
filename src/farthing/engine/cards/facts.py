"""Facts about cards, as torch tells them."""

from __future__ import annotations

import torch

from farthing.engine.plan.cpu import cpu_threads, host_memory_bytes
from farthing.engine.plan.device import DeviceFacts
from farthing.models.torch_pass.attention import has_varlen
from farthing.quant.gpu.support import multiplies_fp8, triton_problem


def card_count() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def card_facts(index: int) -> DeviceFacts:
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
