"""A model's files, in whatever form they come.

In: a folder of safetensors, such a folder that MLX quantised, or a GGUF file. Out: `ModelFiles`, the same for each.
The readers of the rarer forms are imported when one is met, so that no other model waits for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from farthing.checkpoint.quantiser import is_mlx
from farthing.checkpoint.reader import Checkpoint, TensorInfo
from farthing.checkpoint.table import Table
from farthing.core.arrays import Array


class ModelFiles(Protocol):
    """
    Attributes:
        path: the folder, or the file.
        config: the content of config.json.
    """

    path: Path
    config: dict[str, Any]

    def json(self, name: str) -> Any:
        """The parsed file of a Hugging Face style folder, or None when there is no file of that name."""
        ...

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor by name, with the shape and type that `read` gives it."""
        ...

    def read(self, name: str) -> Array:
        """One tensor; what the file holds in quantised blocks is read as fp32, everything else as it is stored.

        What is read as stored lies in a mapping of its own, which goes with the array; nobody may write to it. bf16 is
        `farthing.core.arrays.BF16`.
        """
        ...

    def rows(self, name: str) -> Table:
        """A matrix of which only rows will be asked for."""
        ...

    @property
    def fingerprint(self) -> str:
        """Sixteen digits that differ for other weights, config or tokenizer (`farthing.checkpoint.identity`)."""
        ...

    def write_configuration(self, folder: Path) -> None:
        """Write to `folder` what belongs beside other weights of the same model: configuration and tokenizer."""
        ...


def open_files(path: Path) -> ModelFiles:
    """Open a model's files.

    Raises:
        CheckpointError: something is missing or broken.
        UnknownArchitectureError, MissingExtraError: a GGUF file that cannot be read here.
    """
    if path.is_file():
        from farthing.checkpoint.gguf.file import GgufCheckpoint

        return GgufCheckpoint(path)
    folder = Checkpoint(path)
    if not is_mlx(folder.config):
        return folder
    from farthing.checkpoint.mlx import MlxCheckpoint

    return MlxCheckpoint(folder)
