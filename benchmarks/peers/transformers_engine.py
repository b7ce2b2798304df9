"""transformers in fp32 or bf16 with torch's fused attention, its fastest on a CPU.

Causal models get no mask: padding stands on the right, so that the kernel for plain causal attention can be taken.
"""

from __future__ import annotations

import numpy as np
import torch
from transformers import AutoModel

from peers.task import Embed, Task, Texts, padded, token_mask


def load(task: Task) -> Embed:
    torch.set_num_threads(task.num_threads)
    dtype = torch.bfloat16 if task.engine.endswith("bf16") else torch.float32
    model = AutoModel.from_pretrained(task.checkpoint, dtype=dtype).eval()

    @torch.inference_mode()
    def last(texts: Texts) -> np.ndarray:
        ids, lengths = padded(texts)
        hidden = model(torch.from_numpy(ids), use_cache=False).last_hidden_state
        rows: np.ndarray = hidden[torch.arange(len(texts)), torch.from_numpy(lengths - 1)].float().numpy()
        return rows

    @torch.inference_mode()
    def mean(texts: Texts) -> np.ndarray:
        ids, lengths = padded(texts)
        mask = torch.from_numpy(token_mask(lengths, ids.shape[1]))
        hidden = model(torch.from_numpy(ids), attention_mask=mask).last_hidden_state.float()
        weight = mask[:, :, None].to(hidden.dtype)
        rows: np.ndarray = ((hidden * weight).sum(1) / weight.sum(1)).numpy()
        return rows

    return last if task.pooling == "last" else mean
