"""Channels that dwarf the others, as in trained models, put into a synthetic Qwen3 checkpoint.

There are two kinds, on channels drawn once for the whole model:

- behind the norms: gains 64 times the others, and matrices that undo them;
- in the residual stream itself ("massive activations", https://arxiv.org/abs/2402.17762): a large part that is the same
  for all tokens, from the embeddings on, and larger outputs of o and down. Norm gains are small for these channels and
  larger for the rest, so that every layer still reads all channels at about one size.

The result is another function than that of the checkpoint without outliers, but it makes as much of its texts.
"""

from __future__ import annotations

import math
import re

import numpy as np

from farthing.core.arrays import Array

GAIN_CHANNELS = 4
GAIN_SCALE = 64.0
RESIDUAL_SHARE = 512  # one channel in this many, at least one
RESIDUAL_CONSTANT = 32.0  # 64 times the other channels of the embeddings, 20 times what these are after 28 layers
OUTPUT_SCALE = 16.0  # of o and down in these channels
EMBEDDING_SCALE = 5.0  # of the other channels: larger against what the layers add, as in trained models
# The approximate variance of the other channels before a layer: the embeddings', and what each layer adds (measured).
START_VARIANCE, LAYER_VARIANCE, ATTENTION_SHARE = 0.25, 0.07, 0.3
READERS = tuple(f"{name}_proj.weight" for name in ("q", "k", "v", "gate", "up"))


class Outliers:
    """Changes rows of tensors in place, by the tensors' names in the checkpoint."""

    def __init__(self, hidden: int, num_layers: int, generator: np.random.Generator) -> None:
        self._num_layers = num_layers
        num_residual = max(1, hidden // RESIDUAL_SHARE)
        drawn = generator.permutation(hidden)
        self._gains = drawn[:GAIN_CHANNELS]
        self._residual = drawn[GAIN_CHANNELS : GAIN_CHANNELS + num_residual]
        self._constants = np.float32(RESIDUAL_CONSTANT) * (1 - 2 * (np.arange(num_residual, dtype=np.float32) % 2))
        self._constant_variance = RESIDUAL_CONSTANT**2 * num_residual / hidden

    def __call__(self, name: str, first: int, rows: Array) -> None:
        """Change `rows` [n, width] fp32, of which the first is row `first` of the tensor; a vector is one row."""
        if name == "embed_tokens.weight":
            rows *= EMBEDDING_SCALE
            rows[:, self._residual] += self._constants
        elif name.endswith(("o_proj.weight", "down_proj.weight")):
            places = self._residual - first
            rows[places[(places >= 0) & (places < len(rows))]] *= OUTPUT_SCALE
        elif name.endswith(READERS):
            rows[:, self._gains] /= GAIN_SCALE
        elif name == "norm.weight" or name.endswith("layernorm.weight"):
            found = re.search(r"layers\.(\d+)\.", name)
            depth = (int(found[1]) if found else self._num_layers) + ATTENTION_SHARE * name.count("post_attention")
            variance = START_VARIANCE + LAYER_VARIANCE * depth
            rms = math.sqrt(variance + self._constant_variance)
            gains = rows[:, self._residual] * rms / RESIDUAL_CONSTANT
            rows *= rms / math.sqrt(variance)
            rows[:, self._residual] = gains
            if found:
                rows[:, self._gains] *= GAIN_SCALE
