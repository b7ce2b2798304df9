"""A checkpoint's tensors under the names of the model's layout, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from farthing.checkpoint.files import ModelFiles
from farthing.checkpoint.reader import Checkpoint
from farthing.checkpoint.table import Table
from farthing.core.errors import CheckpointError
from farthing.models.layout import Layout

STORED_DTYPES = ("F32", "BF16", "F16")  # safetensors' names of what a weight may be stored as


class NamedWeights:
    """A checkpoint's tensors under the layout's names, whole and nothing left over.

    Args:
        keeps_mapping: map each safetensors file once for as long as this lives, instead of anew for every tensor.

    Attributes:
        mapped: by stored name, the tensors that are mapped for as long as this lives.

    Raises:
        CheckpointError: on construction, naming tensors that are missing, left over, of another shape or no floats.
    """

    def __init__(self, checkpoint: ModelFiles, layout: Layout, *, keeps_mapping: bool = False) -> None:
        self._checkpoint = checkpoint
        self._stored_name = {unwrap(name, layout.wrappers): name for name in checkpoint.tensors}
        wanted = dict(layout.tensors())
        missing = [name for name in wanted if name not in self._stored_name]
        left_over = [name for name in self._stored_name if name not in wanted and not layout.is_optional(name)]
        if missing or left_over:
            raise CheckpointError(
                f"{checkpoint.path} does not fit its config.json: missing {some(missing)}; left over "
                f"{some(left_over)}. The file is of another model, or incomplete."
            )
        for name, shape in wanted.items():
            stored = checkpoint.tensors[self._stored_name[name]]
            if stored.shape != shape:
                raise CheckpointError(f"{name} has shape {list(stored.shape)}; config.json makes it {list(shape)}.")
            if stored.dtype not in STORED_DTYPES:
                raise CheckpointError(
                    f"{name} is stored as {stored.dtype}; checkpoints in {', '.join(STORED_DTYPES)} can be read."
                )
        self.mapped: Mapping[str, torch.Tensor] = {}
        if keeps_mapping and isinstance(checkpoint, Checkpoint):
            self.mapped = checkpoint.map(map(self._stored_name.__getitem__, wanted))

    def read(self, name: str) -> torch.Tensor:
        stored = self._stored_name[name]
        return self.mapped[stored] if stored in self.mapped else self._checkpoint.read(stored)

    def rows(self, name: str) -> Table:
        return self._checkpoint.rows(self._stored_name[name])


def unwrap(name: str, wrappers: tuple[str, ...]) -> str:
    """The name without the prefix that saving it as part of a larger model put before it."""
    return next((name.removeprefix(wrapper) for wrapper in wrappers if name.startswith(wrapper)), name)


def some(names: list[str]) -> str:
    shown = ", ".join(names[:8]) or "nothing"
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
