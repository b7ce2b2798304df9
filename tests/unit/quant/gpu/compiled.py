"""Compiles the kernels for a card that need not be there, and prints each one's shared memory in bytes as JSON.

python compiled.py CAPABILITY (80, 89, 90, ...). In a process of its own: elsewhere the kernels are interpreted.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from farthing.quant.gpu import int8_kernel, nf4_kernel, rows_kernel

LAUNCH = ("num_warps", "num_stages")


def shared_bytes(kernel: Any, types: dict[str, str], options: dict[str, Any], capability: int) -> int:
    """`types` of the tensors; other arguments are numbers, constants where `options` has them."""
    names = kernel.arg_names
    constants = {name: value for name, value in options.items() if name not in LAUNCH}
    signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in names}
    source = ASTSource(kernel, signature, {(names.index(name),): value for name, value in constants.items()})
    launch = {name: value for name, value in options.items() if name in LAUNCH}
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=launch)
    return int(compiled.metadata.shared)


def all_kernels(capability: int) -> dict[str, int]:
    product = {
        "rows": "*i8",
        "row_scales": "*fp32",
        "weight": "*i8",
        "scales": "*fp32",
        "bias": "*fp32",
        "out": "*bf16",
    }
    rows = {"rows": "*bf16", "matrix": "*fp32", "values": "*i8", "scales": "*fp32"}
    rotating = {"LARGEST": 127.0, "ROUNDS": True, "ROTATES": True, "PRECISION": "tf32"}
    words = {"words": "*i32", "scales": "*fp32", "half_steps": "*u8", "levels": "*fp32", "out": "*bf16"}
    found = {
        f"product of {count} rows": shared_bytes(
            int8_kernel.product_kernel,
            product,
            {"HAS_BIAS": True, **int8_kernel.launch_options(count, 1024, capability // 10)},
            capability,
        )
        for count in (1, 4096)
    }
    found["rows of 12288"] = shared_bytes(
        rows_kernel.quantise_kernel, rows, {**rotating, **rows_kernel.launch_options(12288)}, capability
    )
    if capability >= 89:
        e4m3 = {**rotating, "LARGEST": 448.0, "ROUNDS": False, **rows_kernel.launch_options(1024)}
        found["rows in e4m3"] = shared_bytes(
            rows_kernel.quantise_kernel, {**rows, "values": "*fp8e4nv"}, e4m3, capability
        )
    constants = {"CHANNELS": 32, "WORDS": nf4_kernel.PROGRAM_WORDS, "CODES": nf4_kernel.WORD_CODES}
    found["nf4"] = shared_bytes(nf4_kernel.unpack_kernel, words, constants, capability)
    return found


if __name__ == "__main__":
    print(json.dumps(all_kernels(int(sys.argv[1]))))
