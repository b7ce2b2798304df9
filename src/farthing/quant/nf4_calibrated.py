"""NF4 that is rounded for a matrix's inputs: GPTQ's feedback of errors (`farthing.quant.gptq`) on the stored form.

In: a matrix and H = X^T X of its inputs. Out: the block of `farthing.quant.nf4_packed`, in which only codes and half
steps differ from what rounding to nearest gives. A block's scale is chosen when the block is begun, from weights that
already make up for the blocks before, and errors are those of the values as they are stored.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from farthing.quant.gptq import round_with_feedback
from farthing.quant.int8_packed import PANEL_CHANNELS, padded
from farthing.quant.nf4_packed import (
    BLOCK_INPUTS,
    LEVELS,
    SCALE_CANDIDATES,
    pack_codes,
    packed_bytes,
    quantised,
    steps,
    views,
)


def pack_calibrated(weight: torch.Tensor, hessian: torch.Tensor) -> torch.Tensor:
    """Pack weight [out, in] in any float dtype, by hessian [in, in] fp32, on the host, into uint8 [packed_bytes].

    Nothing makes up for a channel that holds NaN or Inf; such a channel harms no other one.
    """
    n, k, _ = padded(*weight.shape)
    more = k - weight.shape[1]
    rows = F.pad(weight.float(), (0, more, 0, n - weight.shape[0]))
    chosen = ChosenCodes(rows)
    round_with_feedback(rows, F.pad(hessian, (0, more, 0, more)), BLOCK_INPUTS, chosen.begin)
    block = torch.zeros(packed_bytes(*weight.shape), dtype=torch.uint8)
    words, scales, half_steps = views(block, *weight.shape)
    scales.copy_(chosen.scale.view(-1, PANEL_CHANNELS))
    for panels, _ in steps(*weight.shape):
        channels = slice(panels.start * PANEL_CHANNELS, panels.stop * PANEL_CHANNELS)
        words[panels] = pack_codes(chosen.codes[:, channels].T)
        half_steps[panels] = chosen.counts[:, channels].T.reshape(-1, PANEL_CHANNELS, k // BLOCK_INPUTS).transpose(1, 2)
    return block


class ChosenCodes:
    """What rounding has chosen for the inputs so far.

    Attributes:
        scale: fp32 [n], a 127th of each channel's largest magnitude before anything was rounded.
        codes: uint8 [k, n].
        counts: uint8 [k / 64, n] half steps.
    """

    def __init__(self, rows: torch.Tensor) -> None:
        """rows [n, k] fp32."""
        n, k = rows.shape
        self._largest = rows.abs().amax(1)
        self.scale = self._largest / 127
        self.codes = torch.empty((k, n), dtype=torch.uint8)
        self.counts = torch.empty((k // BLOCK_INPUTS, n), dtype=torch.uint8)
        self._levels = torch.tensor(LEVELS)
        self._borders = (self._levels[1:] + self._levels[:-1]) / 2
        self._num_begun = 0

    def begin(self, weight: torch.Tensor) -> Callable[[int, torch.Tensor], torch.Tensor]:
        """Choose the scales of the next inputs, weight [n, 64]; returns the function that rounds these inputs."""
        # Where making up for errors leads beyond the channel's largest, the scale is cut: half steps end at 254.
        largest = torch.minimum(weight.abs().amax(1), self._largest)
        _, counts = quantised(weight[:, None], largest[:, None], self.scale[:, None], SCALE_CANDIDATES)
        step = counts[:, 0].float() / 2 * self.scale  # [n]
        first = self._num_begun * BLOCK_INPUTS
        self.counts[self._num_begun] = counts[:, 0]
        self._num_begun += 1

        def rounded(place: int, values: torch.Tensor) -> torch.Tensor:
            codes = torch.bucketize(torch.where(step == 0, 0, values / step), self._borders, out_int32=True)
            self.codes[first + place] = codes
            return self._levels[codes] * step

        return rounded
