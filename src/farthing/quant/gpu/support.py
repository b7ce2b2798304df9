"""What a card can do for quantised weights: whether it has fp8 tensor cores, and whether Triton's kernels run on it.

Files named `*_kernel` import triton and are imported only where `triton_runs` says so.
"""

from __future__ import annotations

import functools
import importlib.util
import logging

import torch

# The least compute capabilities that Triton compiles for (https://github.com/triton-lang/triton, "Compatibility"), and
# that multiply e4m3.
TRITON_CAPABILITY, FP8_CAPABILITY = (8, 0), (8, 9)

log = logging.getLogger(__name__)


def multiplies_fp8(device: torch.device) -> bool:
    """Whether the device multiplies e4m3 as it is stored."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= FP8_CAPABILITY


def triton_runs(device: torch.device) -> bool:
    return device.type == "cuda" and triton_problem(device) is None


@functools.cache
def triton_problem(device: torch.device) -> str | None:
    """Why Triton's kernels do not run on a card; None where they do. One is compiled and run to find out."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    major, minor = torch.cuda.get_device_capability(device)
    if (major, minor) < TRITON_CAPABILITY:
        return f"triton needs compute capability 8.0 or more, and the card has {major}.{minor}"
    try:
        from farthing.quant.gpu.rows_kernel import quantise

        quantise(torch.zeros(1, 64, device=device), torch.int8, rotates=False)
        torch.cuda.synchronize(device)
    # Triton raises in its own way for whatever it lacks (a C compiler, headers, a driver it knows).
    except Exception as error:  # noqa: BLE001
        log.warning("Triton's kernels do not run on %s, torch's own take their place: %s", device, error)
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
    return None
