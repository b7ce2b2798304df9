"""Qwen3 as an encoder: causal, grouped-query attention with per-head q/k norm, RoPE, SwiGLU, pre-norm.

Reference: https://arxiv.org/abs/2505.09388 and transformers' modeling_qwen3.py; embedding use:
https://arxiv.org/abs/2506.05176.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from farthing.core.errors import CheckpointError
from farthing.models import config as cfg
from farthing.models.family import ForwardPass, LayerWeights, PassStart
from farthing.models.layout import Layout, MatrixPart, ValueHeads, VectorPart
from farthing.models.ops import ACTIVATIONS, chunks, rms_norm, rotary_tables, rotate
from farthing.models.prefix_attention import attend_prefixes
from farthing.models.qwen3_native import NativeQwen3Pass, last_norm, native_shape
from farthing.models.spec import EmbeddingSpec, ModelSpec
from farthing.quant.int8_packed import GROUP_INPUTS

INSTRUCTION = "Instruct: {task}\nQuery:"  # no space after "Query:"
DEFAULT_TASK = "Given a web search query, retrieve relevant passages that answer the query"


class Qwen3Family:
    architectures = ("Qwen3Model", "Qwen3ForCausalLM", "Qwen3ForSequenceClassification")
    fallback = EmbeddingSpec(
        pooling="last",
        max_tokens=32768,
        prompts={"query": INSTRUCTION.format(task=DEFAULT_TASK), "document": ""},
        instruction_template=INSTRUCTION,
        matryoshka_min=32,
        end_token="<|endoftext|>",
    )

    def spec(self, config: Mapping[str, Any]) -> ModelSpec:
        cfg.only(config, "attention_bias", (False,), False)
        cfg.only(config, "use_sliding_window", (False,), False)
        num_heads = cfg.integer(config, "num_attention_heads")
        num_kv_heads = cfg.integer(config, "num_key_value_heads", num_heads)
        cfg.check_multiple("num_attention_heads", num_heads, "num_key_value_heads", num_kv_heads)
        hidden = cfg.integer(config, "hidden_size")
        return ModelSpec(
            family="qwen3",
            vocab=cfg.integer(config, "vocab_size"),
            hidden=hidden,
            num_layers=cfg.integer(config, "num_hidden_layers", maximum=cfg.MAX_LAYERS),
            num_heads=num_heads,
            num_kv_heads=num_kv_heads,
            head_dim=cfg.integer(config, "head_dim", hidden // num_heads),
            intermediate=cfg.integer(config, "intermediate_size"),
            max_positions=cfg.integer(config, "max_position_embeddings"),
            norm_eps=cfg.eps(config, "rms_norm_eps"),
            activation=cfg.activation(config),
            stored_bytes=cfg.stored_bytes(config),
            rope_theta=rope_theta(config),
            causal=True,
            ties_table=bool(config.get("tie_word_embeddings", False)),
        )

    def layout(self, spec: ModelSpec) -> Layout:
        hidden = spec.hidden
        return Layout(
            table=VectorPart("table", "embed_tokens.weight", (spec.vocab, hidden)),
            shared=(VectorPart("norm", "norm.weight", (hidden,)),),
            vectors=(
                VectorPart("input_norm", "input_layernorm.weight", (hidden,)),
                VectorPart("q_norm", "self_attn.q_norm.weight", (spec.head_dim,)),
                VectorPart("k_norm", "self_attn.k_norm.weight", (spec.head_dim,)),
                VectorPart("mlp_norm", "post_attention_layernorm.weight", (hidden,)),
            ),
            matrices=(
                MatrixPart(
                    "qkv",
                    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
                    (spec.q_width, spec.kv_width, spec.kv_width),
                    hidden,
                    gain="input_norm",
                    residual="reads",
                ),
                MatrixPart("o", ("self_attn.o_proj",), (hidden,), spec.q_width, residual="writes"),
                MatrixPart(
                    "gate_up",
                    ("mlp.gate_proj", "mlp.up_proj"),
                    (spec.intermediate, spec.intermediate),
                    hidden,
                    gain="mlp_norm",
                    residual="reads",
                ),
                MatrixPart(
                    "down",
                    ("mlp.down_proj",),
                    (hidden,),
                    spec.intermediate,
                    residual="writes",
                    input_group=GROUP_INPUTS,
                    rotates_inputs=True,
                ),
            ),
            layer_prefix="layers.{layer}.",
            num_layers=spec.num_layers,
            wrappers=("model.",),
            values=ValueHeads("self_attn.v_proj", "o", spec.head_dim),
            optional=("lm_head.weight",),  # of a causal LM; tied to the table or unused by an encoder
            twins=("lm_head.weight",) if spec.ties_table else (),
        )

    def begin(self, start: PassStart) -> ForwardPass:
        kernels = start.compute.native
        if kernels is not None and native_shape(start.spec).fits():
            return NativeQwen3Pass(start, kernels)
        return Qwen3Pass(start)


def rope_theta(config: Mapping[str, Any]) -> float:
    """From `rope_theta`, or from transformers 5's `rope_parameters`. Raises `CheckpointError` for scaled RoPE."""
    stated = config.get("rope_parameters") or config.get("rope_scaling")
    scaling = cfg.table(stated, "config.json: rope_parameters")
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind != "default":
        raise CheckpointError(
            f"config.json: RoPE of type {cfg.shown(kind)} is not built; remove rope_scaling or take another model."
        )
    return cfg.number(scaling if "rope_theta" in scaling else config, "rope_theta")


class Qwen3Pass:
    def __init__(self, start: PassStart) -> None:
        spec, batch = start.spec, start.batch
        self._start, self._spec, self._batch, self._compute = start, spec, batch, start.compute
        self._hidden = start.residual()  # [tokens, hidden]
        self._cos, self._sin = rotary_tables(batch.positions, spec.head_dim, spec.rope_theta)
        self._activation = ACTIVATIONS[spec.activation]
        self._num_layers_done = 0

    def move_to(self, device: torch.device) -> None:
        self._hidden, self._cos, self._sin = (t.to(device) for t in (self._hidden, self._cos, self._sin))
        self._batch = self._batch.to(device)

    def layer(self, weights: LayerWeights, keep: torch.Tensor | None) -> None:
        attended = self._attention(weights)  # [tokens, q_width]
        if keep is not None:
            keep = keep.to(attended.device)
            self._hidden, attended = self._hidden[keep], attended[keep]
        for rows in chunks(self._hidden.shape[0], self._compute.chunk_tokens):
            self._hidden[rows] += weights.matrix["o"](attended[rows])
            self._hidden[rows] += self._mlp(self._hidden[rows], weights)
        self._num_layers_done += 1

    def finish(self) -> torch.Tensor:
        return last_norm(self._start, self._hidden)

    def _attention(self, weights: LayerWeights) -> torch.Tensor:
        spec, compute, num_tokens = self._spec, self._compute, self._hidden.shape[0]
        heads = [spec.num_heads, spec.num_kv_heads, spec.num_kv_heads]
        q, k, v = (
            torch.empty((num_tokens, count, spec.head_dim), dtype=compute.dtype, device=self._hidden.device)
            for count in heads
        )
        for rows in chunks(num_tokens, compute.chunk_tokens):
            x = rms_norm(self._hidden[rows], weights.vector["input_norm"], spec.norm_eps).to(compute.dtype)
            qkv = weights.matrix["qkv"](x).view(x.shape[0], -1, spec.head_dim)
            raw_q, raw_k, v[rows] = torch.split(qkv, heads, dim=1)
            q[rows] = self._rotate(rms_norm(raw_q, weights.vector["q_norm"], spec.norm_eps), rows)
            k[rows] = self._rotate(rms_norm(raw_k, weights.vector["k_norm"], spec.norm_eps), rows)
        return self._attend(q, k, v).flatten(1)

    def _attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        batch, prefixes = self._batch, self._batch.prefixes
        if prefixes is None:
            return self._compute.attend(q, k, v, batch, True)
        for segment, held in prefixes.stored.items():
            held.layers.append((k[batch.tokens(segment)].clone(), v[batch.tokens(segment)].clone()))
        known = [prefix.held.layers[self._num_layers_done] for prefix in prefixes.known]
        return attend_prefixes(q, k, v, batch, [(keys, values) for keys, values in known])

    def _rotate(self, x: torch.Tensor, rows: slice) -> torch.Tensor:
        return rotate(x, self._cos[rows], self._sin[rows])

    def _mlp(self, hidden: torch.Tensor, weights: LayerWeights) -> torch.Tensor:
        x = rms_norm(hidden, weights.vector["mlp_norm"], self._spec.norm_eps).to(self._compute.dtype)
        gate, up = weights.matrix["gate_up"](x).chunk(2, dim=-1)  # [rows, intermediate] each
        return weights.matrix["down"](self._activation(gate).mul_(up))
