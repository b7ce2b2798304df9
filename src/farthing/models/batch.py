"""A packed batch: the tokens of many texts end to end, without padding.

Texts are ordered by length, so that texts of equal length lie side by side and attention takes each such run as one
dense tensor. `order` leads back to the caller's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch


@dataclass(frozen=True)
class Run:
    """`count` neighbouring texts of `length` tokens each, from token `start` on."""

    start: int
    count: int
    length: int

    @property
    def tokens(self) -> slice:
        return slice(self.start, self.start + self.count * self.length)


@dataclass(frozen=True)
class PackedBatch:
    """
    Attributes:
        ids: [tokens] int64, on the host: embeddings are gathered there.
        positions: [tokens] int64, on the device, place of each token in its text.
        lengths: [texts] tokens of each text, in packed order.
        runs: texts of equal length, in packed order.
        order: caller's index of each packed text.
        cu_seqlens: [texts + 1] int32, where each text starts; for variable-length kernels.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    lengths: tuple[int, ...]
    runs: tuple[Run, ...]
    order: tuple[int, ...]
    cu_seqlens: torch.Tensor

    @property
    def num_tokens(self) -> int:
        return self.ids.shape[0]

    @property
    def max_length(self) -> int:
        return self.lengths[-1]

    def to(self, device: torch.device) -> PackedBatch:
        """With what is on the device moved to another one."""
        return replace(self, positions=self.positions.to(device), cu_seqlens=self.cu_seqlens.to(device))

    def first_rows(self) -> torch.Tensor:
        """[texts] int64, the row of each text's first token."""
        return self.cu_seqlens[:-1].long()

    def last_rows(self) -> torch.Tensor:
        """[texts] int64, the row of each text's last token."""
        return self.cu_seqlens[1:].long() - 1


def pack(texts: Sequence[Sequence[int]], device: torch.device) -> PackedBatch:
    """Pack token ids; every text must have at least one token."""
    assert texts and all(len(text) > 0 for text in texts), "a batch needs texts, and every text needs tokens"
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    lengths = [len(texts[index]) for index in order]
    runs, start = [], 0
    for length, group in groupby(lengths):
        count = sum(1 for _ in group)
        runs.append(Run(start, count, length))
        start += count * length
    ids = np.concatenate([np.asarray(texts[index], dtype=np.int64) for index in order])
    positions = np.concatenate([np.arange(length, dtype=np.int64) for length in lengths])
    starts = np.cumsum([0, *lengths], dtype=np.int32)
    return PackedBatch(
        ids=torch.from_numpy(ids),
        positions=torch.from_numpy(positions).to(device),
        lengths=tuple(lengths),
        runs=tuple(runs),
        order=tuple(order),
        cu_seqlens=torch.from_numpy(starts).to(device),
    )
