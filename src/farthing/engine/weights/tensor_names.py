"""A checkpoint's tensors under the names of the model's layout, checked before anything is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import accumulate

from farthing.checkpoint.files import ModelFiles
from farthing.checkpoint.quantiser import REMEDY, quantised_by
from farthing.checkpoint.reader import Checkpoint
from farthing.checkpoint.table import Table
from farthing.core.arrays import Array
from farthing.core.errors import CheckpointError
from farthing.models.config import assumed_note
from farthing.models.layout import Fused, Layout, Shape

ANSWERS = ("lm_head.weight", "lm_head.decoder.weight", "cls.predictions.decoder.weight")  # a language model's output
STORED_DTYPES = ("F32", "BF16", "F16")  # safetensors' names of the types that a weight may be stored in


class NamedWeights:
    """A checkpoint's tensors under the layout's names, complete and with nothing left over.

    Args:
        keeps_mapping: map each safetensors file once for as long as this object lives, not anew for every tensor.

    Attributes:
        mapped: the tensors that are mapped for as long as this object lives, by stored name.

    Raises:
        CheckpointError: on construction; names the tensors that are missing, left over, of another shape or no floats.
    """

    def __init__(self, checkpoint: ModelFiles, layout: Layout, *, keeps_mapping: bool = False) -> None:
        self._checkpoint = checkpoint
        self._stored_name = {plain_name(name, layout): name for name in checkpoint.tensors}
        twin = next((name for name in layout.twins if name in self._stored_name), None)
        if twin is not None:
            self._stored_name.setdefault(layout.table.source, self._stored_name[twin])
        wanted = dict(layout.tensors())
        self._rows = self._take_apart(layout, wanted)
        missing = [name for name in wanted if name not in self._stored_name]
        left_over = [name for name in self._stored_name if name not in wanted and not layout.is_optional(name)]
        if missing or left_over:
            tool = quantised_by(checkpoint.config, self._stored_name)
            names = f"missing {some(missing)}; left over {some(left_over)}"
            if tool:
                raise CheckpointError(f"{checkpoint.path} is quantised by {tool}, which is not read: {names}. {REMEDY}")
            raise CheckpointError(
                f"{checkpoint.path} does not fit its config.json: {names}. The file is of another model, or incomplete."
                f"{assumed_note(checkpoint.config)}{untied_note(missing, self._stored_name, layout)}"
            )
        for name, shape in wanted.items():
            stored = checkpoint.tensors[self._stored_name[name]]
            if stored.shape != shape and name not in self._rows:
                raise CheckpointError(f"{name} has shape {list(stored.shape)}; config.json makes it {list(shape)}.")
            if stored.dtype not in STORED_DTYPES:
                tool = quantised_by(checkpoint.config, self._stored_name)
                by, remedy = (f", quantised by {tool}", f" {REMEDY}") if tool else ("", "")
                raise CheckpointError(
                    f"{name} is stored as {stored.dtype}{by}; checkpoints in {', '.join(STORED_DTYPES)} can be read."
                    f"{remedy}"
                )
        self.mapped: Mapping[str, Array] = {}
        if keeps_mapping and isinstance(checkpoint, Checkpoint):
            self.mapped = checkpoint.map(map(self._stored_name.__getitem__, wanted))

    def read(self, name: str) -> Array:
        stored = self._stored_name[name]
        found = self.mapped[stored] if stored in self.mapped else self._checkpoint.read(stored)
        return found[self._rows[name]] if name in self._rows else found

    def _take_apart(self, layout: Layout, wanted: Mapping[str, Shape]) -> dict[str, slice]:
        """Find wanted tensors in fused ones, whose names they take the place of; returns their rows by wanted name.

        Raises `CheckpointError` where a fused tensor has not the rows of its parts.
        """
        found: dict[str, slice] = {}
        for name, (fused, index) in fused_names(layout, self._stored_name).items():
            stem, end = name[: index - len(fused.stem)], name[index:]
            parts = [f"{stem}{part}{end}" for part in fused.parts]
            stored = self._stored_name[name]
            shape, shapes = self._checkpoint.tensors[stored].shape, [wanted.get(part) for part in parts]
            if any(part is None or part[1:] != shape[1:] for part in shapes):
                continue  # left over, as the check of names says
            heights = [part[0] for part in shapes if part is not None]
            if sum(heights) != shape[0]:
                raise CheckpointError(
                    f"{stored} has {shape[0]} rows; config.json makes it {sum(heights)}, those of "
                    f"{', '.join(fused.parts)}."
                )
            del self._stored_name[name]
            for part, start, height in zip(parts, accumulate([0, *heights]), heights, strict=False):
                self._stored_name[part], found[part] = stored, slice(start, start + height)
        return found

    def rows(self, name: str) -> Table:
        return self._checkpoint.rows(self._stored_name[name])


def plain_name(stored: str, layout: Layout) -> str:
    """The layout's name of a stored tensor."""
    name = f".{unwrap(stored, layout.wrappers)}."
    for old, new in layout.renamed:
        name = name.replace(f".{old}.", f".{new}.", 1)
    return name[1:-1]


def fused_names(layout: Layout, names: Collection[str]) -> dict[str, tuple[Fused, int]]:
    """Those of the names that are of fused matrices, or of their biases, and where in them the stem ends."""
    found = {}
    for fused in layout.fused:
        for end in (".weight", ".bias"):
            tail = f".{fused.stem}{end}"
            found.update({name: (fused, len(name) - len(end)) for name in names if f".{name}".endswith(tail)})
    return found


def untied_note(missing: Collection[str], stored: Collection[str], layout: Layout) -> str:
    """A hint for when only the token table is missing, and the output matrix, which may equal it, is there; else ""."""
    answers = next((name for name in stored if name in ANSWERS), None)
    if answers is None or layout.twins or list(missing) != [layout.table.source]:
        return ""
    return (
        f" It holds {answers}, which stands for the missing matrix only where config.json ties them "
        "(tie_word_embeddings: true)."
    )


def unwrap(name: str, wrappers: tuple[str, ...]) -> str:
    """The name without the prefix that it got when the model was saved as part of a larger one."""
    return next((name.removeprefix(wrapper) for wrapper in wrappers if name.startswith(wrapper)), name)


def some(names: list[str]) -> str:
    shown = ", ".join(names[:8]) or "nothing"
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
