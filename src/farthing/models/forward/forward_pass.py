"""One batch on its way through the layers: what a pass begins with, and what a layer is computed with.

`farthing.models.forward.torch_pass` and `farthing.models.forward.native_pass` are the passes. Neither asks in which
format a matrix is stored or where a layer lives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

from farthing.models.batch.packed import PackedBatch
from farthing.models.forward.attention import Attend
from farthing.models.forward.ops import chunks
from farthing.models.forward.rotation import Rotation
from farthing.models.spec import ModelSpec
from farthing.quant.format import Linear
from farthing.quant.native.arguments import NativeWeights


@dataclass(eq=False)
class LayerWeights:
    """One layer, ready on the device.

    Attributes:
        matrix: the matrices, by part name.
        vector: the norms' and other vectors, by part name.
        native: all of these as the native kernels take them; None before a first batch, and where matrices are unpacked
            for each.
        stays: the layer stays in memory when the next one is asked for.
    """

    matrix: Mapping[str, Linear]
    vector: Mapping[str, torch.Tensor]
    native: NativeWeights | None = None
    stays: bool = False


@dataclass(frozen=True)
class Compute:
    """How a pass is computed.

    Attributes:
        dtype: the dtype of the rows that go into matrix products and attention.
        residual_dtype: the dtype of the residual stream.
        chunk_tokens: the rows of the feed-forward part computed at a time, which bounds its scratch memory.
        rotation: the rotation of the residual stream, where the weights that read and write it were rotated.
    """

    dtype: torch.dtype
    residual_dtype: torch.dtype
    chunk_tokens: int
    attend: Attend
    rotation: Rotation | None = None


@dataclass(frozen=True)
class PassStart:
    """What a pass begins with.

    Attributes:
        gather: gives the embeddings [n, hidden] of token ids [n], as stored, on the device.
        shared: the layout's shared vectors by part name.
    """

    spec: ModelSpec
    gather: Callable[[torch.Tensor], torch.Tensor]
    batch: PackedBatch
    shared: Mapping[str, torch.Tensor]
    compute: Compute

    def residual(self) -> torch.Tensor:
        """The residual stream [tokens, hidden] before the first layer, in new memory."""
        rotation, batch = self.compute.rotation, self.batch
        shape = (batch.num_tokens, self.spec.hidden)
        hidden = torch.empty(shape, dtype=self.compute.residual_dtype, device=batch.positions.device)
        for part in chunks(batch.num_tokens, self.compute.chunk_tokens):
            rows = self.gather(batch.ids[part])
            hidden[part] = rows if rotation is None else rotation.apply(rows.float())
        return hidden

    def unrotated(self, hidden: torch.Tensor) -> torch.Tensor:
        """The residual stream's rows [rows, hidden] without the rotation, for weights that were not rotated."""
        rotation = self.compute.rotation
        return hidden if rotation is None else rotation.inverse(hidden.float())


class ForwardPass(Protocol):
    """One batch on its way through the layers; holds the residual stream."""

    def move_to(self, device: torch.device) -> None:
        """Move what a layer needs of the batch to the device of the next layers; do nothing where it is there."""
        ...

    def layer(self, weights: LayerWeights, keep: torch.Tensor | None) -> None:
        """Go through one layer. With `keep` [rows] int64, only these rows go on after its attention.

        `keep` may be on another device than the layer.
        """
        ...

    def finish(self) -> torch.Tensor:
        """Do what the model does after its last layer, row by row; returns [rows, hidden] fp32."""
        ...

    def means(self, rows: torch.Tensor) -> torch.Tensor:
        """The means [texts, hidden] of the rows [tokens, hidden] fp32 of each text; no text has a prefix."""
        ...
