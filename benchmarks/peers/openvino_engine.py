"""OpenVINO with int8 weights by output channel; rows are quantised on the way, one scale a group of inputs."""

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
            "INFERENCE_PRECISION_HINT": "bf16",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 512 if task.pooling == "last" else 384,
        },
    )
    request = compiled.create_infer_request()

    def embed(texts: Texts) -> np.ndarray:
        ids, lengths = padded(texts)
        second = token_mask(lengths, ids.shape[1]) if task.pooling == "mean" else lengths - 1
        rows: np.ndarray = request.infer([ids, second])[0].copy()  # the request's own memory
        return rows

    return embed
