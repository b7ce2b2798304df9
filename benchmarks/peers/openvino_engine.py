"""OpenVINO with int8 weights by output channel; rows are quantised on the way, one scale a group of inputs.

Of what was tried on 2 cores of a Zen 4, this was fastest: bf16 between the products rather than fp32; groups of 512
inputs (Qwen3) and 384 (MiniLM) rather than smaller or larger ones; causal attention without a mask. The throughput hint
and pinned threads made no difference. Held to AVX2 it refuses bf16 and quantised rows, and multiplies widened weights.
"""

from __future__ import annotations

import numpy as np
import openvino as ov

from peers.task import Embed, Task, Texts, padded, token_mask


def load(task: Task) -> Embed:
    compiled = ov.Core().compile_model(
        task.exported,
        "CPU",
        {
            "INFERENCE_NUM_THREADS": task.num_threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32" if task.isa else "bf16",  # AVX2 knows no bf16
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0 if task.isa else 512 if task.pooling == "last" else 384,
        },
    )
    request = compiled.create_infer_request()

    def embed(texts: Texts) -> np.ndarray:
        ids, lengths = padded(texts)
        second = token_mask(lengths, ids.shape[1]) if task.pooling == "mean" else lengths - 1
        rows: np.ndarray = request.infer([ids, second])[0].copy()  # the request's own memory
        return rows

    return embed
