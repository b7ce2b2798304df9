"""oneDNN's prepacked fp32 matrix product against torch's F.linear, on this CPU.

    python benchmarks/prepacked_linear.py [--rounds 15]

Both in turn, medians. The shapes are those of MiniLM's and Qwen3-Embedding-0.6B's layers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F

from farthing.quant.dense import PrepackedLinear
from report import facts, json_line, table

SHAPES = ((1152, 384), (4096, 1024), (1024, 2048), (6144, 1024), (1024, 3072))
TOKENS = (1, 8, 32, 128, 1024, 4096)


def measure(shape: tuple[int, int], num_tokens: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of every run by way; several calls a run where one is too short to time."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=generator)
    x = torch.randn(num_tokens, shape[1], generator=generator)
    packed = PrepackedLinear(weight, None)
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "F.linear": lambda: F.linear(x, weight),
        "prepacked": lambda: packed(x),
    }
    calls = max(1, 256 // num_tokens)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, multiply in ways.items():
            started = time.perf_counter()
            for _ in range(calls):
                multiply()
            seconds[name].append((time.perf_counter() - started) / calls)
    return {name: runs[1:] for name, runs in seconds.items()}


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    lines, seconds = [], {}
    for shape in SHAPES:
        for num_tokens in TOKENS:
            runs = measure(shape, num_tokens, rounds)
            plain, packed = median(runs["F.linear"]), median(runs["prepacked"])
            name = f"{num_tokens} x {shape[1]} -> {shape[0]}"
            lines.append([name, f"{plain * 1e3:.3f}", f"{packed * 1e3:.3f}", f"{plain / packed:.2f}"])
            seconds.update({f"{name} / {way}": values for way, values in runs.items()})
    print(table(["tokens x in -> out", "F.linear ms", "prepacked ms", "F.linear / prepacked"], lines))
    print(json_line(facts(["torch", "farthing"]), seconds, benchmark="prepacked_linear"))


if __name__ == "__main__":
    main()
