"""A checkpoint for ONNX Runtime: the graph that was fastest for each family, then `quantize_dynamic`.

Qwen3: opset 23, which has attention, rotary embedding and RMS norm as operators. BERT: the older exporter's graph with
plain attention, because ONNX Runtime's own optimizer knows that one and fuses attention, embeddings and norms; int8
attention with them.
"""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model

from peers.pooled import example_inputs, pooled_model
from peers.task import Task


def export_int8(task: Task, file: Path) -> None:
    exact = file.with_name("fp32.onnx")
    operators = ["MatMul"]
    if task.pooling == "last":
        causal_graph(task, exact)
    else:
        fused_bert_graph(task, exact)
        operators.append("Attention")
    quantize_dynamic(
        exact,
        file,
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=operators,
        use_external_data_format=True,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},  # of what the fused operators put out
    )
    for left_over in file.parent.glob(f"{exact.name}*"):
        left_over.unlink()


def causal_graph(task: Task, file: Path) -> None:
    texts, tokens = torch.export.Dim("texts"), torch.export.Dim("tokens")
    with torch.inference_mode():
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


def fused_bert_graph(task: Task, file: Path) -> None:
    config = json.loads((task.checkpoint / "config.json").read_text())
    axes = {0: "texts", 1: "tokens"}
    with torch.inference_mode():
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
    fused = optimize_model(
        str(file),
        model_type="bert",
        num_heads=config["num_attention_heads"],
        hidden_size=config["hidden_size"],
        opt_level=0,
    )
    counts = fused.get_fused_operator_statistics()
    if counts["Attention"] != config["num_hidden_layers"]:
        raise RuntimeError(f"ONNX Runtime's optimizer fused {counts['Attention']} attentions only; see {counts}")
    fused.save_model_to_file(str(file))
