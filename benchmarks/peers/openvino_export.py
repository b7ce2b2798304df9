"""A checkpoint for OpenVINO: converted from torch, so that attention stays one operator, then compressed to int8."""

from __future__ import annotations

from pathlib import Path

import nncf
import openvino as ov
import torch

from peers.pooled import example_inputs, pooled_model
from peers.task import Task


def export_int8(task: Task, file: Path) -> None:
    with torch.inference_mode():
        model = ov.convert_model(pooled_model(task), example_input=example_inputs(task.pooling))
    compressed = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    ov.save_model(compressed, file, compress_to_fp16=False)
