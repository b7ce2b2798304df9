"""How far NF4 weights are from the exact ones: bitsandbytes' and ours, without and with the search for scales.

    pip install bitsandbytes && python benchmarks/nf4_weight_error.py

In: nothing. Out: a table of relative root mean square errors of seeded random matrices, on the CPU. "Rotated" is the
matrix with outlier channels, its inputs rotated 64 at a time before it is quantised (farthing.quant.rotation).
"""

from __future__ import annotations

from collections.abc import Callable

import bitsandbytes.functional as bnb
import numpy as np
import torch

from farthing.quant.nf4_packed import pack, unpack
from farthing.quant.rotation import rotate
from report import table

SHAPE = (256, 1024)


def matrices() -> dict[str, np.ndarray]:
    """[out, in] fp32 each."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal(SHAPE, dtype=np.float32)
    heavy = rng.standard_t(5, SHAPE).astype(np.float32)
    outliers = rng.standard_normal(SHAPE, dtype=np.float32)
    outliers[:, :: SHAPE[1] // 8] *= 16
    return {"normal": normal, "Student's t, 5": heavy, "outlier channels": outliers, "rotated": rotate(outliers)}


def by_bitsandbytes(weight: np.ndarray) -> np.ndarray:
    packed, state = bnb.quantize_4bit(
        torch.from_numpy(weight), blocksize=64, compress_statistics=True, quant_type="nf4"
    )
    return np.asarray(bnb.dequantize_4bit(packed, state))


def by_us(weight: np.ndarray) -> np.ndarray:
    out = np.empty_like(weight)
    unpack(pack(weight), out)
    return out


def by_us_without_search(weight: np.ndarray) -> np.ndarray:
    out = np.empty_like(weight)
    unpack(pack(weight, candidates=(1.0,)), out)
    return out


def relative_error(restore: Callable[[np.ndarray], np.ndarray], weight: np.ndarray) -> float:
    return float(np.linalg.norm(restore(weight) - weight) / np.linalg.norm(weight))


def main() -> None:
    ways = {"bitsandbytes": by_bitsandbytes, "ours, no search": by_us_without_search, "ours": by_us}
    rows = [
        [name, *(f"{relative_error(restore, weight):.5f}" for restore in ways.values())]
        for name, weight in matrices().items()
    ]
    print(table(["weights", *ways], rows))


if __name__ == "__main__":
    main()
