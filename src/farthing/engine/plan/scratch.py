"""The bytes that a pass needs beside the weights, in arithmetic that follows the code of the passes.

In: a model's spec and how it is computed. Out: upper estimates, close enough to plan by (benchmarks/memory_matrix.py
holds them against measured peaks). Weights, the token table, the interpreter and libraries are not counted.
"""

from __future__ import annotations

from collections.abc import Collection

from farthing.core.deferred import dataclass
from farthing.models.spec import ModelSpec
from farthing.models.torch_pass.sizes import ALL_HEADS_TOKENS
from farthing.quant.native.arguments import LayerShape
from farthing.quant.native.team import native_kernels

FP32_BYTES = 4


@dataclass(frozen=True)
class Pass:
    """One batch on its way through the layers.

    Attributes:
        num_tokens, num_texts, longest: the tokens of the batch, its texts, and the tokens of its longest text.
        chunk_tokens: the number of rows taken at a time between two attentions.
        dtype_bytes, residual_bytes: the size of a number in products and in the residual stream.
        converted: the bytes of the largest matrix, where it is converted when it is multiplied.
        on_card: the whole result of attention is there at once, or that of some heads with their keys and values
            repeated.
    """

    spec: ModelSpec
    num_tokens: int
    num_texts: int
    longest: int
    chunk_tokens: int
    dtype_bytes: int
    residual_bytes: int
    converted: int
    on_card: bool = False

    @property
    def residual(self) -> int:
        return self.num_tokens * self.spec.hidden * self.residual_bytes

    @property
    def positions(self) -> int:
        """The bytes of cos and sin of every token, or of the positions in models that learned them."""
        return self.num_tokens * (2 * self.spec.head_dim * FP32_BYTES if self.spec.turns_heads else 8)


def torch_pass_bytes(run: Pass) -> int:
    """The peak of `farthing.models.torch_pass.run.TorchPass` in bytes."""
    spec, chunk = run.spec, min(run.num_tokens, run.chunk_tokens)
    projections = run.num_tokens * (spec.q_width + 2 * spec.kv_width) * run.dtype_bytes
    in_projections = chunk * (3 * spec.hidden + 3 * spec.q_width + 2 * spec.kv_width) * FP32_BYTES
    attended = min(run.num_tokens, max(ALL_HEADS_TOKENS, run.longest // spec.num_kv_heads))
    if run.on_card:
        attended = max(run.num_tokens, 3 * attended)
    in_attention = attended * spec.q_width * run.dtype_bytes
    # Either the steps of the norm, or the norm's result, gate and up and their product, and the output.
    inner = 2 * spec.hidden * FP32_BYTES + 3 * spec.intermediate * run.dtype_bytes
    feed_forward = chunk * max(4 * spec.hidden * FP32_BYTES, inner)
    after_attention = run.num_tokens * spec.q_width * run.dtype_bytes + feed_forward
    peak = max(projections + max(in_projections, in_attention), after_attention)
    return run.residual + run.positions + peak + run.converted


def native_pass_bytes(run: Pass, shapes: Collection[LayerShape], num_threads: int) -> int:
    """The peak of a pass on the native kernels in bytes: what they ask for, the residual stream, cosines and sines.

    How many rows a thread takes at once depends on its caches, so that only the kernels know.
    """
    kernels, spec = native_kernels(num_threads), run.spec
    scratch = max(kernels.layer_scratch_bytes(shape, run.num_tokens, run.num_texts) for shape in shapes)
    # Angles, cosines and sines, of half of a head's numbers each.
    tables = 3 * run.longest * spec.head_dim // 2 * FP32_BYTES if spec.turns_heads else 0
    return run.residual + tables + scratch
