"""NF4 that is rounded for a matrix's inputs: GPTQ's feedback of errors (`farthing.quant.gptq`) on the stored form.

In: a matrix and H = X^T X of its inputs. Out: the block of `farthing.quant.nf4_packed`, in which only codes and half
steps differ from what rounding to nearest gives. A block's scale is chosen when the block is begun, from weights that
already make up for the blocks before, and errors are those of the values as they are stored.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from farthing.core.arrays import Array, aligned_zeros, to_float32
from farthing.quant.gptq import round_with_feedback
from farthing.quant.int8_packed import PANEL_CHANNELS, padded
from farthing.quant.nf4_packed import (
    BLOCK_INPUTS,
    LEVELS,
    nearest,
    pack_codes,
    packed_bytes,
    quantised,
    steps,
    views,
)


def pack_calibrated(weight: Array, hessian: Array) -> Array:
    """Pack weight [out, in] in fp32, bf16 or fp16, by hessian [in, in] fp32, into uint8 [packed_bytes].

    Nothing makes up for a channel that holds NaN or Inf; such a channel harms no other one.
    """
    n, k, _ = padded(*weight.shape)
    more = k - weight.shape[1]
    rows = np.pad(to_float32(weight), ((0, n - weight.shape[0]), (0, more)))
    chosen = ChosenCodes(rows)
    round_with_feedback(rows, np.pad(hessian, (0, more)), BLOCK_INPUTS, chosen.begin)
    block = aligned_zeros(packed_bytes(*weight.shape))
    words, scales, half_steps = views(block, *weight.shape)
    scales[:] = chosen.scale.reshape(-1, PANEL_CHANNELS)
    for panels, _ in steps(*weight.shape):
        channels = slice(panels.start * PANEL_CHANNELS, panels.stop * PANEL_CHANNELS)
        words[panels] = pack_codes(chosen.codes[:, channels].T)
        counts = chosen.counts[:, channels].T
        half_steps[panels] = counts.reshape(-1, PANEL_CHANNELS, k // BLOCK_INPUTS).swapaxes(1, 2)
    return block


class ChosenCodes:
    """What rounding has chosen for the inputs so far.

    Attributes:
        scale: fp32 [n], a 127th of each channel's largest magnitude before anything was rounded.
        codes: uint8 [k, n].
        counts: uint8 [k / 64, n] half steps.
    """

    def __init__(self, rows: Array) -> None:
        """rows [n, k] fp32."""
        n, k = rows.shape
        self._largest = np.abs(rows).max(1)
        self.scale = self._largest / np.float32(127)
        self.codes = np.empty((k, n), dtype=np.uint8)
        self.counts = np.empty((k // BLOCK_INPUTS, n), dtype=np.uint8)
        self._levels = np.array(LEVELS, dtype=np.float32)
        self._num_begun = 0

    def begin(self, weight: Array) -> Callable[[int, Array], Array]:
        """Choose the scales of the next inputs, weight [n, 64]; returns the function that rounds these inputs."""
        # Where making up for errors leads beyond the channel's largest, the scale is cut: half steps end at 254.
        largest = np.minimum(np.abs(weight).max(1), self._largest)
        _, counts = quantised(weight[:, None], largest[:, None], self.scale[:, None])
        step = counts[:, 0].astype(np.float32) / np.float32(2) * self.scale  # [n]
        is_nothing = step == 0
        first = self._num_begun * BLOCK_INPUTS
        self.counts[self._num_begun] = counts[:, 0]
        self._num_begun += 1

        def rounded(place: int, values: Array) -> Array:
            with np.errstate(divide="ignore", invalid="ignore"):
                self.codes[first + place] = nearest(np.where(is_nothing, np.float32(0), values / step))
                chosen: Array = self._levels[self.codes[first + place]] * step
            return chosen

        return rounded
