"""What attention adds by distance, against transformers and the paper's own numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

from farthing.models.distance_bias import bias_table, bucket, slopes
from farthing.models.spec import DistanceBiasSpec


def test_buckets_are_those_of_transformers_at_every_distance() -> None:
    distances = np.arange(-2000, 2001)
    want = MPNetEncoder.relative_position_bucket(torch.from_numpy(distances), num_buckets=32, max_distance=128)
    np.testing.assert_array_equal(bucket(distances, DistanceBiasSpec("buckets")), want.numpy())


def test_a_table_of_buckets_is_read_by_key_minus_query() -> None:
    learned = np.arange(64, dtype=np.float32).reshape(32, 2)  # [buckets, heads]
    table = bias_table(DistanceBiasSpec("buckets"), 2, 5, learned)
    assert table.shape == (2, 10)
    for distance in range(-5, 5):
        number = bucket(np.array([distance]), DistanceBiasSpec("buckets"))[0]
        np.testing.assert_array_equal(table[:, distance + 5], learned[number])


@pytest.mark.parametrize(
    ("num_heads", "want"),
    [
        (8, [2.0**-i for i in range(1, 9)]),  # https://arxiv.org/abs/2108.12409, section 3
        (12, [2.0**-i for i in range(1, 9)] + [2.0**-0.5, 2.0**-1.5, 2.0**-2.5, 2.0**-3.5]),
    ],
)
def test_slopes_of_alibi_are_the_papers(num_heads: int, want: list[float]) -> None:
    np.testing.assert_allclose(slopes(num_heads), want, rtol=1e-6)
    table = bias_table(DistanceBiasSpec("alibi"), num_heads, 3, None)
    np.testing.assert_allclose(table, -np.outer(want, [3, 2, 1, 0, 1, 2]), rtol=1e-6)
