"""What attention adds to the product of a query and a key by how far apart they are.

"alibi" (https://arxiv.org/abs/2108.12409), in both directions as in Jina's models: a slope for each head times the
distance. "buckets" (T5, https://arxiv.org/abs/1910.10683): a learned number for each head and range of distances, as in
transformers' modeling_mpnet.py.
"""

from __future__ import annotations

import math

import numpy as np

from farthing.core.arrays import Array
from farthing.models.spec import DistanceBiasSpec

BUCKETS = "distance_buckets"  # the name of the part [buckets, heads] among a layout's shared vectors


def bias_table(spec: DistanceBiasSpec, num_heads: int, reach: int, learned: Array | None) -> Array:
    """[heads, 2 reach] fp32; number key - query + reach is for a key and a query in these positions.

    `learned` [buckets, heads] fp32 are the numbers of "buckets".
    """
    distances = np.arange(-reach, reach)
    if spec.kind == "alibi":
        found: Array = slopes(num_heads)[:, None] * -np.abs(distances).astype(np.float32)
        return found
    assert learned is not None, "the table of buckets is one of the layout's shared vectors"
    return np.ascontiguousarray(learned[bucket(distances, spec)].T)


def slopes(num_heads: int) -> Array:
    """[heads] fp32: a geometric series that begins where it ends at 2^-8; with other numbers of heads than powers of
    two, those of the next smaller one and every other of the next larger."""
    whole = 2 ** int(math.log2(num_heads))
    found = [2 ** (-8 * (i + 1) / whole) for i in range(whole)]
    found += [2 ** (-4 * (i + 1) / whole) for i in range(0, 2 * (num_heads - whole), 2)]
    return np.array(found, dtype=np.float32)


def bucket(distances: Array, spec: DistanceBiasSpec) -> Array:
    """The bucket of each distance key - query: half of them for keys behind the query, and in each half a bucket for
    each short distance, and for long ones ranges that widen up to `max_distance`."""
    half = spec.num_buckets // 2
    exact = half // 2
    far = np.abs(distances)
    # In fp32, as in torch, where a boundary between two buckets lies.
    ratio = np.log(np.maximum(far, 1).astype(np.float32) / np.float32(exact)) / np.float32(
        math.log(spec.max_distance / exact)
    )
    long = exact + (ratio * np.float32(half - exact)).astype(np.int64)
    found: Array = np.where(far < exact, far, np.minimum(long, half - 1)) + np.where(distances > 0, half, 0)
    return found
