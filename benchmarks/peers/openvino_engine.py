"""OpenVINO with int8 weights by output channel, and rows quantised on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov

from peers.task import Embed, Task, Texts, padded, token_mask

MODEL = "int8.xml"


def load(task: Task) -> Embed:
    compiled = ov.Core().compile_model(
        task.exported / MODEL,
        "CPU",
        {
            "INFERENCE_NUM_THREADS": task.num_threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 1024,
        },
    )
    request = compiled.create_infer_request()

    def embed(texts: Texts) -> np.ndarray:
        ids, lengths = padded(texts)
        second = token_mask(lengths, ids.shape[1]) if task.pooling == "mean" else lengths - 1
        rows: np.ndarray = request.infer([ids, second])[0].copy()  # the request's own memory
        return rows

    return embed


def export(task: Task, folder: Path) -> None:
    import nncf
    import torch

    from peers.pooled import example_inputs, pooled_model  # torch and transformers, which serving does without

    with torch.inference_mode():
        model = ov.convert_model(pooled_model(task), example_input=example_inputs(task.pooling))
    compressed = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    ov.save_model(compressed, folder / MODEL, compress_to_fp16=False)
