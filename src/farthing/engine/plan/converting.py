"""Bytes that it takes to bring a matrix into its format, beyond what becomes of it.

Arithmetic that follows `farthing.engine.weights.convert` and the formats' `linear`; only the largest matrix of a layer counts,
since they are brought in one after the other.
"""

from __future__ import annotations

from farthing.engine.plan.run_mode import ModelShape, Way
from farthing.engine.plan.scratch import FP32_BYTES
from farthing.models.layout import MatrixPart


def converting_bytes(model: ModelShape, way: Way) -> int:
    """For the matrix of a layer that takes most."""
    if model.is_quantised:
        return 0
    return max(matrix_converting_bytes(model, way, part) for part in model.layout.matrices)


def matrix_converting_bytes(model: ModelShape, way: Way, part: MatrixPart) -> int:
    """Stored pieces (mapped), those joined, and what is made of them; fp32 on a CPU is laid out again at the end."""
    count, stored = sum(part.out_features) * part.in_features, model.spec.stored_bytes
    if way.format.quantises:
        # Each piece is treated in fp32 (farthing.engine.weights.convert): gains, rotations, and then all are joined.
        return count * stored + 3 * count * FP32_BYTES
    is_joined = len(part.sources) > 1
    if way.device == "cpu" and way.format.name == "fp32":
        packed = way.format.num_bytes(sum(part.out_features), part.in_features)
        return max(count * stored * (1 + is_joined), packed)
    if way.format.name == model.stored:  # nothing is made: the pieces joined, or the one as it lies, are the layer's
        return count * stored if is_joined else 0
    return count * stored * (1 + is_joined)
