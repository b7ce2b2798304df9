"""The bytes that it takes to calibrate a model's matrices, and whether to do so where nobody says.

The arithmetic follows `farthing.engine.weights.calibrate` and `farthing.quant.gptq`.
"""

from __future__ import annotations

from farthing.core.sizes import mebibytes
from farthing.engine.describe import ModelDescription
from farthing.engine.plan.scratch import FP32_BYTES
from farthing.models.layout import MatrixPart
from farthing.quant.format import CalibratedFormat

# A model whose widest matrix has more inputs is not calibrated unasked: the work grows with their square and cube.
MAX_INPUTS_UNASKED = 4096
# For each of inputs x inputs numbers: the sums in fp32, as they are and padded, and in fp64 three steps to the
# inverse's factor.
HESSIAN_BYTES = 2 * FP32_BYTES + 3 * 8
# The fp32 copies of a matrix: its pieces, treated, joined, padded and transposed, and its codes.
WEIGHT_COPIES = 5
# The growth of the process for each byte in use, measured 1.0 to 1.4: matrices of up to 32 MiB leave holes in its heap.
HEAP_HOLES = 1.5


def calibrating_bytes(description: ModelDescription, num_tokens: int) -> int:
    """The bytes in use for a layer and one of its matrices, beyond the process itself and the mapped file's pages."""
    parts = description.layout.matrices
    # Every matrix's inputs and outputs once, with the residual stream and a normed copy.
    row = 2 * description.spec.hidden + sum(part.in_features + part.shape.out_features for part in parts)
    packed = sum(part.num_bytes(description.plan.format) for part in parts)
    return num_tokens * row * FP32_BYTES + packed + max(map(matrix_bytes, parts))


def matrix_bytes(part: MatrixPart) -> int:
    weight = part.shape.out_features * part.in_features
    return part.in_features**2 * HESSIAN_BYTES + weight * FP32_BYTES * WEIGHT_COPIES


def calibration_problem(
    description: ModelDescription, num_tokens: int, free_bytes: int, *, is_asked: bool
) -> str | None:
    """Why the matrices are not calibrated, in a sentence; None where they are."""
    form, widest = description.plan.format, max(part.in_features for part in description.layout.matrices)
    if not isinstance(form, CalibratedFormat):
        return f"{form.name} rounds to nearest alone: it cannot be calibrated."
    needed = int(calibrating_bytes(description, num_tokens) * HEAP_HOLES)
    if widest > MAX_INPUTS_UNASKED and not is_asked:
        return (
            f"{form.name} is not calibrated unasked for matrices of {widest:,} inputs, more than "
            f"{MAX_INPUTS_UNASKED:,}: it takes long, and {mebibytes(needed)}. --calibrate does it."
        )
    if needed > free_bytes:
        return f"{form.name} is not calibrated: that takes {mebibytes(needed)}, and {mebibytes(free_bytes)} are free."
    return None
