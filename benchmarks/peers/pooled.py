"""transformers' models with the pooling in the graph, for export to other engines.

Causal: ids [texts, tokens], padded right, and last [texts], the place of each text's last token; what stands behind it
is not seen, so there is no mask. Bidirectional: ids and mask [texts, tokens], 1 where a token stands. Both give rows
[texts, hidden].
"""

from __future__ import annotations

import torch
from transformers import AutoModel

from peers.task import Task

EXAMPLE_TEXTS, EXAMPLE_TOKENS = 2, 16


class LastToken(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        # Positions of every text: ONNX's rotary embedding does not broadcast them.
        positions = torch.arange(ids.shape[1]).expand(ids.shape[0], ids.shape[1])
        plain = {"full_attention": None}
        hidden = self.model(ids, attention_mask=plain, position_ids=positions, use_cache=False).last_hidden_state
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


def pooled_model(task: Task, attention: str = "sdpa") -> torch.nn.Module:
    """In fp32; `attention` is a name of transformers' attn_implementation."""
    model = AutoModel.from_pretrained(task.checkpoint, dtype=torch.float32, attn_implementation=attention)
    pooled = LastToken(model) if task.pooling == "last" else MeanToken(model)
    return pooled.eval()


def example_inputs(pooling: str) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.ones(EXAMPLE_TEXTS, EXAMPLE_TOKENS, dtype=torch.int64)
    return ids, torch.full((EXAMPLE_TEXTS,), EXAMPLE_TOKENS - 1) if pooling == "last" else torch.ones_like(ids)
