"""A checkpoint's tensors in a format that rounds each matrix for the inputs it gets from a sample of texts.

In: the tensors as `farthing.engine.weights.convert` treats them, and texts as token ids. The texts go through the model
as one packed batch, in fp32, layer by layer. Each matrix sees the rows that the quantised matrices before it make of
the texts, is quantised for those rows, and multiplies them in its stored form. So a matrix makes up for its own
rounding, and what came before is rounded already. Memory holds one layer's packed matrices, and the tensors that make
up one matrix at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch

from farthing.core.errors import NonFiniteError
from farthing.engine.describe import ModelDescription
from farthing.engine.weights.convert import ConvertedTensors, rotates_inputs
from farthing.engine.weights.store import GatheringStore
from farthing.models.batch.packed import pack
from farthing.models.forward.attention import attend_runs
from farthing.models.forward.forward_pass import Compute, ForwardPass, LayerWeights, PassStart
from farthing.models.forward.torch_pass import TorchPass
from farthing.models.layout import MatrixPart
from farthing.quant.format import CalibratedFormat, Linear, Region
from farthing.quant.rotation import RotatedLinear


class CalibratedTensors(ConvertedTensors):
    """`ModelTensors` on the host; layers must be asked for in order, and a layer's parts before the next layer's."""

    def __init__(self, description: ModelDescription, texts: Sequence[Sequence[int]]) -> None:
        super().__init__(description)
        self._layers_done = 0
        self._found: dict[str, Mapping[str, torch.Tensor]] = {}
        self._forward = self._begin(description, texts)

    def packed(self, layer: int, part: MatrixPart) -> Mapping[str, torch.Tensor]:
        if layer == self._layers_done:
            self._go_through(layer)
        assert layer == self._layers_done - 1, "layers are calibrated in order"
        return self._found.pop(part.name)

    def _begin(self, description: ModelDescription, texts: Sequence[Sequence[int]]) -> ForwardPass:
        batch = pack(texts, torch.device("cpu"))
        compute = Compute(
            dtype=torch.float32,
            residual_dtype=torch.float32,
            chunk_tokens=batch.num_tokens,  # each matrix is called once, with all rows
            attend=attend_runs,
            rotation=description.rotation,
        )
        store = GatheringStore(self.table(), torch.device("cpu"), keeps_table=False)
        with torch.inference_mode():
            return TorchPass(PassStart(description.spec, store.gather, batch, self.shared(), compute))

    @torch.inference_mode()
    def _go_through(self, layer: int) -> None:
        matrices = {part.name: self._linear(layer, part) for part in self._layout.matrices}
        self._forward.layer(LayerWeights(matrices, self.vectors(layer)), None)
        self._layers_done += 1

    def _linear(self, layer: int, part: MatrixPart) -> Linear:
        linear = CalibratingLinear(self, layer, part)
        return RotatedLinear(linear) if rotates_inputs(self._plan.format, part) else linear

    def quantised(self, layer: int, part: MatrixPart, rows: torch.Tensor) -> Linear:
        """Quantise the layer's matrix for the rows [tokens, in_features] that it gets, and keep it.

        Raises:
            NonFiniteError: the rows hold NaN or Inf.
        """
        form = part.stored_in(self._plan.format)
        pack = form.pack
        if isinstance(form, CalibratedFormat):
            pack = partial(form.pack_calibrated, hessian=finite_hessian(rows, layer, part))
        packed = self.packed_by(pack, layer, part)
        self._found[part.name] = packed
        return form.linear(packed, self.bias(layer, part), part.shape, Region())


def finite_hessian(rows: torch.Tensor, layer: int, part: MatrixPart) -> torch.Tensor:
    """X^T X of a matrix's rows X. Raises `NonFiniteError` when it holds NaN or Inf."""
    hessian = rows.T @ rows
    if not hessian.isfinite().all():
        raise NonFiniteError(
            f"The model gave NaN or Inf for texts to calibrate with, before {part.name} of layer {layer}. The "
            "checkpoint may be damaged."
        )
    return hessian


class CalibratingLinear:
    """A matrix that is quantised when it is called: once, and for the rows that it is called with."""

    def __init__(self, tensors: CalibratedTensors, layer: int, part: MatrixPart) -> None:
        self._tensors, self._layer, self._part = tensors, layer, part

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._tensors.quantised(self._layer, self._part, x)(x)
