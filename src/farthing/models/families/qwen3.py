"""Qwen3 as an encoder: causal, grouped-query attention with per-head q/k norm, RoPE, SwiGLU, pre-norm.

Reference: https://arxiv.org/abs/2505.09388 and transformers' modeling_qwen3.py; embedding use:
https://arxiv.org/abs/2506.05176.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farthing.models import config as cfg
from farthing.models.families.llama import decoder_layout, decoder_spec, looks_back_alone
from farthing.models.layout import Layout
from farthing.models.spec import EmbeddingSpec, ModelSpec

INSTRUCTION = "Instruct: {task}\nQuery:"  # no space after "Query:"
DEFAULT_TASK = "Given a web search query, retrieve relevant passages that answer the query"

# The vocabularies of Qwen3-Embedding 0.6B, and of 4B and 8B. The language models, and models made from them, have
# 151,936 tokens.
EMBEDDING_VOCABS = (151669, 151665)
EMBEDDING = EmbeddingSpec(
    pooling="last",
    max_tokens=32768,
    prompts={"query": INSTRUCTION.format(task=DEFAULT_TASK), "document": ""},
    instruction_template=INSTRUCTION,
    matryoshka_min=32,
    end_token="<|endoftext|>",
)


class Qwen3Family:
    architectures = ("Qwen3Model", "Qwen3ForCausalLM", "Qwen3ForSequenceClassification")

    def fallback(self, config: Mapping[str, Any]) -> EmbeddingSpec:
        """Qwen3-Embedding's own pooling and prompts; other models made of Qwen3 get only its pooling."""
        return EMBEDDING if config.get("vocab_size") in EMBEDDING_VOCABS else EmbeddingSpec("last", max_tokens=32768)

    def spec(self, config: Mapping[str, Any]) -> ModelSpec:
        cfg.only(config, "model_type", ("qwen3",), "qwen3")  # other types build on it, and compute something else
        cfg.only(config, "attention_bias", (False,), False)
        return decoder_spec(config, "qwen3", is_causal=looks_back_alone(config), norms_heads=True)

    def layout(self, spec: ModelSpec) -> Layout:
        return decoder_layout(spec)
