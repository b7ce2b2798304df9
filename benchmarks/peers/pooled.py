"""transformers' models with the pooling in the graph, for export to other engines.

Causal: ids [texts, tokens], padded right, and last [texts], the place of each text's last token. Bidirectional: ids and
mask [texts, tokens], 1 where a token stands. Both give rows [texts, hidden].
"""

from __future__ import annotations

import torch
from torch.export import Dim
from transformers import AutoModel

from peers.task import Task

OPSET = 18
EXAMPLE_TEXTS, EXAMPLE_TOKENS = 2, 16


class LastToken(torch.nn.Module):
    """Without a mask, attention is plainly causal; exporters that do not know that get one, [1, 1, tokens, tokens]."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, last: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        hidden = self.model(ids, attention_mask={"full_attention": mask}, use_cache=False).last_hidden_state
        rows: torch.Tensor = hidden[torch.arange(ids.shape[0]), last]
        return rows


class MeanToken(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.model(ids, attention_mask=mask).last_hidden_state
        weight = mask[:, :, None].to(hidden.dtype)
        rows: torch.Tensor = (hidden * weight).sum(1) / weight.sum(1)
        return rows


def pooled_model(task: Task) -> torch.nn.Module:
    model = AutoModel.from_pretrained(task.checkpoint, dtype=torch.float32).eval()
    return LastToken(model) if task.pooling == "last" else MeanToken(model)


def example_inputs(pooling: str) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.ones(EXAMPLE_TEXTS, EXAMPLE_TOKENS, dtype=torch.int64)
    return ids, torch.full((EXAMPLE_TEXTS,), EXAMPLE_TOKENS - 1) if pooling == "last" else torch.ones_like(ids)


def onnx_program(task: Task) -> torch.onnx.ONNXProgram:
    """In fp32, for any number of texts and tokens."""
    texts, tokens = Dim("texts"), Dim("tokens")
    inputs: tuple[torch.Tensor, ...] = example_inputs(task.pooling)
    names, shapes = ["ids", "mask"], [{0: texts, 1: tokens}] * 2
    if task.pooling == "last":
        mask = torch.full((1, 1, EXAMPLE_TOKENS, EXAMPLE_TOKENS), -1e9).triu(1)
        inputs, names = (*inputs, mask), ["ids", "last", "mask"]
        shapes = [{0: texts, 1: tokens}, {0: texts}, {2: tokens, 3: tokens}]
    with torch.inference_mode():
        program = torch.onnx.export(
            pooled_model(task),
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            output_names=["rows"],
            dynamic_shapes=dict(zip(names, shapes, strict=True)),
        )
    assert program is not None
    return program
