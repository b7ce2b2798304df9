"""ONNX Runtime, int8 by `quantize_dynamic`: weights by output channel, rows by tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from peers.task import Embed, Task, Texts, padded, token_mask

MODEL = "int8.onnx"


def load(task: Task) -> Embed:
    options = ort.SessionOptions()
    options.intra_op_num_threads = task.num_threads
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(task.exported / MODEL, options, providers=["CPUExecutionProvider"])

    def embed(texts: Texts) -> np.ndarray:
        rows: np.ndarray = session.run(None, feeds(*padded(texts), task.pooling))[0]
        return rows

    return embed


def feeds(ids: np.ndarray, lengths: np.ndarray, pooling: str) -> dict[str, np.ndarray]:
    width = ids.shape[1]
    if pooling == "mean":
        return {"ids": ids, "mask": token_mask(lengths, width)}
    mask = np.triu(np.full((1, 1, width, width), -1e9, dtype=np.float32), 1)
    return {"ids": ids, "last": lengths - 1, "mask": mask}


def export(task: Task, folder: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from peers.pooled import onnx_program  # torch and transformers, which serving does without

    exact = folder / "fp32.onnx"
    onnx_program(task).save(exact, external_data=True)
    quantize_dynamic(
        exact,
        folder / MODEL,
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
        use_external_data_format=True,
    )
    for file in folder.glob(f"{exact.name}*"):
        file.unlink()
