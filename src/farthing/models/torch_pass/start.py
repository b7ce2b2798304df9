"""What a pass in torch begins with, and what a layer is computed with.

Neither asks in which format a matrix is stored or where a layer lives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from farthing.core.deferred import dataclass
from farthing.models.batch.packed import PackedBatch
from farthing.models.forward.rotation import Rotation
from farthing.models.spec import ModelSpec
from farthing.models.torch_pass.ops import chunks
from farthing.quant.gpu.linear import Linear


@dataclass(frozen=True)
class LayerWeights:
    """One layer, ready on the device.

    Attributes:
        matrix: the matrices, by part name.
        vector: the norms' and other vectors, by part name.
    """

    matrix: Mapping[str, Linear]
    vector: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class TorchBatch:
    """A batch, and what of it a device needs.

    Attributes:
        ids: [tokens] int64, on the host: embeddings are gathered there.
        positions: [tokens] int64, on the device.
        cu_seqlens: [segments + 1] int32, on the device; for variable-length kernels.
    """

    packed: PackedBatch
    ids: torch.Tensor
    positions: torch.Tensor
    cu_seqlens: torch.Tensor

    @classmethod
    def on(cls, packed: PackedBatch, device: torch.device) -> TorchBatch:
        ids, positions = torch.from_numpy(packed.ids).long(), torch.from_numpy(packed.positions).long()
        return cls(packed, ids, positions.to(device), torch.from_numpy(packed.cu_seqlens).to(device))

    @property
    def num_tokens(self) -> int:
        return self.packed.num_tokens

    def to(self, device: torch.device) -> TorchBatch:
        return TorchBatch(self.packed, self.ids, self.positions.to(device), self.cu_seqlens.to(device))


Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, TorchBatch, bool], torch.Tensor]


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
        gather: gives the embeddings [n, hidden] of token ids [n] (int64, on the host), as stored, on the device.
        shared: the layout's shared vectors by part name.
    """

    spec: ModelSpec
    gather: Callable[[torch.Tensor], torch.Tensor]
    batch: TorchBatch
    shared: Mapping[str, torch.Tensor]
    compute: Compute

    def residual(self) -> torch.Tensor:
        """The residual stream [tokens, hidden] before the first layer, in new memory."""
        rotation, batch = self.compute.rotation, self.batch
        shape = (batch.num_tokens, self.spec.hidden)
        hidden = torch.empty(shape, dtype=self.compute.residual_dtype, device=batch.positions.device)
        for part in chunks(batch.num_tokens, self.compute.chunk_tokens):
            rows = self.gather(batch.ids[part])
            if self.spec.input.scale != 1.0:
                rows = rows.float() * self.spec.input.scale
            hidden[part] = rows if rotation is None else turned(rotation, rows.float(), inverse=False)
        return hidden

    def unrotated(self, hidden: torch.Tensor) -> torch.Tensor:
        """The residual stream's rows [rows, hidden] without the rotation, for weights that were not rotated."""
        rotation = self.compute.rotation
        return hidden if rotation is None else turned(rotation, hidden.float(), inverse=True)


def turned(rotation: Rotation, rows: torch.Tensor, *, inverse: bool) -> torch.Tensor:
    """R x, or R^T x, for each row x of rows [n, width] fp32, as `farthing.models.forward.rotation` does it."""
    left, right, signs = (
        torch.from_numpy(part).to(rows.device) for part in (rotation.left, rotation.right, rotation.signs)
    )
    if inverse:
        left, right = left.T, right.T
    else:
        rows = rows * signs
    blocks = rows.reshape(-1, left.shape[0], right.shape[0])
    found = (left @ (blocks @ right.T)).view(-1, rotation.width)
    return found.mul_(signs) if inverse else found
