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

import numpy as np

from farthing.core.arrays import Array
from farthing.core.errors import NonFiniteError
from farthing.engine.describe import ModelDescription
from farthing.engine.weights.convert import ConvertedTensors, rotates_inputs
from farthing.models.batch.packed import pack
from farthing.models.distance_bias import BUCKETS
from farthing.models.forward.native_pass import NativeForward
from farthing.models.forward.plain_pass import PlainPass, Product
from farthing.models.layout import MatrixPart
from farthing.models.token_table import TokenTable
from farthing.quant.format import CalibratedFormat, Region
from farthing.quant.rotation import rotate


class CalibratedTensors(ConvertedTensors):
    """`ModelTensors` on the host; layers must be asked for in order, and a layer's parts before the next layer's."""

    def __init__(self, description: ModelDescription, texts: Sequence[Sequence[int]]) -> None:
        super().__init__(description)
        self._layers_done = 0
        self._found: dict[str, Mapping[str, Array]] = {}
        self._forward = self._begin(description, texts)

    def packed(self, layer: int, part: MatrixPart) -> Mapping[str, Array]:
        if layer == self._layers_done:
            self._go_through(layer)
        assert layer == self._layers_done - 1, "layers are calibrated in order"
        return self._found.pop(part.name)

    def _begin(self, description: ModelDescription, texts: Sequence[Sequence[int]]) -> PlainPass:
        batch, table = pack(texts), TokenTable(self.table(), keeps_pages=False)
        shared = self.shared()
        forward = NativeForward(
            description.spec, description.layout, self._plan.format, self._kernels, shared, description.rotation
        )
        return PlainPass(description.spec, batch, forward.first_rows(batch, table), shared.get(BUCKETS))

    def _go_through(self, layer: int) -> None:
        matrices = {part.name: self._product(layer, part) for part in self._layout.matrices}
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is found in the next matrix's rows
            self._forward.layer(matrices, self.vectors(layer))
        self._layers_done += 1

    def _product(self, layer: int, part: MatrixPart) -> Product:
        rotates = rotates_inputs(self._plan.format, part)

        def multiply(x: Array) -> Array:
            rows = rotate(x) if rotates else x
            return self.quantised(layer, part, rows)(rows)

        return multiply

    def quantised(self, layer: int, part: MatrixPart, rows: Array) -> Product:
        """Quantise the layer's matrix for the rows [tokens, in_features] that it gets, and keep it.

        Raises:
            NonFiniteError: the rows hold NaN or Inf.
        """
        form = part.stored_in(self._plan.format)
        pack = partial(form.pack, kernels=self._kernels)
        if isinstance(form, CalibratedFormat):
            pack = partial(form.pack_calibrated, hessian=finite_hessian(rows, layer, part))
        packed = self.packed_by(pack, layer, part)
        self._found[part.name] = packed
        return form.bind(packed, self.bias(layer, part), part.shape, Region(), self._kernels)


def finite_hessian(rows: Array, layer: int, part: MatrixPart) -> Array:
    """X^T X of a matrix's rows X. Raises `NonFiniteError` when it holds NaN or Inf."""
    hessian = rows.T @ rows
    if not np.isfinite(hessian).all():
        raise NonFiniteError(
            f"The model gave NaN or Inf for texts to calibrate with, before {part.name} of layer {layer}. The "
            "checkpoint may be damaged."
        )
    return hessian
