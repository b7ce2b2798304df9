"""A checkpoint for ONNX Runtime: the graph that was fastest for each family, then `quantize_dynamic`.

Qwen3: opset 23, which has attention, rotary embedding and RMS norm as operators. BERT: the older exporter's graph with
plain attention; neither fusing it with onnxruntime.transformers.optimizer (and quantising the fused attention) nor
opset 23 was faster.
"""

from __future__ import annotations

from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from peers.pooled import example_inputs, pooled_model
from peers.task import Task


def export_int8(task: Task, file: Path) -> None:
    exact = file.with_name("fp32.onnx")
    with torch.inference_mode():
        if task.pooling == "last":
            causal_graph(task, exact)
        else:
            bert_graph(task, exact)
    quantize_dynamic(
        exact,
        file,
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
        use_external_data_format=True,  # one file holds at most 2 GB
    )
    for left_over in file.parent.glob(f"{exact.name}*"):
        left_over.unlink()


def causal_graph(task: Task, file: Path) -> None:
    texts, tokens = torch.export.Dim("texts"), torch.export.Dim("tokens")
    program = torch.onnx.export(
        pooled_model(task),
        example_inputs(task.pooling),
        dynamo=True,
        opset_version=23,
        input_names=["ids", "last"],
        output_names=["rows"],
        dynamic_shapes={"ids": {0: texts, 1: tokens}, "last": {0: texts}},
        verbose=False,
    )
    assert program is not None
    program.save(file, external_data=True)


def bert_graph(task: Task, file: Path) -> None:
    axes = {0: "texts", 1: "tokens"}
    torch.onnx.export(
        pooled_model(task, attention="eager"),
        example_inputs(task.pooling),
        file,
        dynamo=False,
        opset_version=17,
        input_names=["ids", "mask"],
        output_names=["rows"],
        dynamic_axes={"ids": axes, "mask": axes, "rows": {0: "texts"}},
    )
