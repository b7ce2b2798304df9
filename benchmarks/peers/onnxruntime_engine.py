"""ONNX Runtime, int8 by `quantize_dynamic`: weights by output channel, rows by tensor.

All graph optimisations, which include the fusion of quantising with the product. Threads spin between operators, as is
the default: without it long batches are as fast and one short text is slower. 8-bit MatMulNBits took 1.7 times as long.
"""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from peers.task import Embed, Task, Texts, padded, token_mask


def load(task: Task) -> Embed:
    options = ort.SessionOptions()
    options.intra_op_num_threads = task.num_threads
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(task.exported, options, providers=["CPUExecutionProvider"])

    def embed(texts: Texts) -> np.ndarray:
        ids, lengths = padded(texts)
        second = {"mask": token_mask(lengths, ids.shape[1])} if task.pooling == "mean" else {"last": lengths - 1}
        rows: np.ndarray = session.run(None, {"ids": ids, **second})[0]
        return rows

    return embed
