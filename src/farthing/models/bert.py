"""BERT and its relatives (RoBERTa, XLM-R; hence MiniLM, bge, gte, e5): bidirectional, learned positions, post-norm.

Reference: https://arxiv.org/abs/1810.04805 and transformers' modeling_bert.py, modeling_xlm_roberta.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from farthing.models import config as cfg
from farthing.models.batch import PackedBatch
from farthing.models.bert_native import NativeBertPass, native_shape
from farthing.models.family import ForwardPass, LayerWeights, PassStart
from farthing.models.layout import Layout, MatrixPart, VectorPart
from farthing.models.ops import ACTIVATIONS, chunks, layer_norm
from farthing.models.spec import EmbeddingSpec, ModelSpec
from farthing.quant.int8_packed import GROUP_INPUTS


class BertFamily:
    architectures = (
        "BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForSequenceClassification",
        "RobertaModel", "RobertaForMaskedLM", "RobertaForSequenceClassification",
        "XLMRobertaModel", "XLMRobertaForMaskedLM", "XLMRobertaForSequenceClassification",
    )  # fmt: skip
    fallback = EmbeddingSpec(pooling="mean", max_tokens=512)

    def spec(self, config: Mapping[str, Any]) -> ModelSpec:
        cfg.only(config, "position_embedding_type", ("absolute",), "absolute")
        cfg.only(config, "is_decoder", (False,), False)
        # RoBERTa's positions start behind the padding index: https://github.com/facebookresearch/fairseq
        counts_from_padding = config.get("model_type") in ("roberta", "xlm-roberta")
        offset = cfg.integer(config, "pad_token_id", 1, minimum=0) + 1 if counts_from_padding else 0
        num_heads, hidden = cfg.integer(config, "num_attention_heads"), cfg.integer(config, "hidden_size")
        cfg.check_multiple("hidden_size", hidden, "num_attention_heads", num_heads)
        return ModelSpec(
            family="bert",
            vocab=cfg.integer(config, "vocab_size"),
            hidden=hidden,
            num_layers=cfg.integer(config, "num_hidden_layers", maximum=cfg.MAX_LAYERS),
            num_heads=num_heads,
            num_kv_heads=num_heads,
            head_dim=hidden // num_heads,
            intermediate=cfg.integer(config, "intermediate_size"),
            max_positions=cfg.integer(config, "max_position_embeddings") - offset,
            norm_eps=cfg.eps(config, "layer_norm_eps"),
            activation=cfg.activation(config),
            stored_bytes=cfg.stored_bytes(config),
            position_offset=offset,
            num_token_types=cfg.integer(config, "type_vocab_size"),
            ties_table=bool(config.get("tie_word_embeddings", True)),
        )

    def layout(self, spec: ModelSpec) -> Layout:
        hidden = spec.hidden
        num_positions = spec.max_positions + spec.position_offset
        return Layout(
            table=VectorPart("table", "embeddings.word_embeddings.weight", (spec.vocab, hidden)),
            shared=(
                VectorPart("positions", "embeddings.position_embeddings.weight", (num_positions, hidden)),
                VectorPart("token_types", "embeddings.token_type_embeddings.weight", (spec.num_token_types, hidden)),
                *norm_parts("norm", "embeddings.LayerNorm", hidden),
            ),
            vectors=(
                *norm_parts("attention_norm", "attention.output.LayerNorm", hidden),
                *norm_parts("mlp_norm", "output.LayerNorm", hidden),
            ),
            matrices=(
                MatrixPart(
                    "qkv",
                    ("attention.self.query", "attention.self.key", "attention.self.value"),
                    (hidden, hidden, hidden),
                    hidden,
                    bias=True,
                    rotates_inputs=True,
                    is_sensitive=is_small(spec),
                ),
                MatrixPart("o", ("attention.output.dense",), (hidden,), hidden, bias=True, rotates_inputs=True),
                MatrixPart(
                    "up",
                    ("intermediate.dense",),
                    (spec.intermediate,),
                    hidden,
                    bias=True,
                    rotates_inputs=True,
                    is_sensitive=is_small(spec),
                ),
                MatrixPart(
                    "down",
                    ("output.dense",),
                    (hidden,),
                    spec.intermediate,
                    bias=True,
                    input_group=GROUP_INPUTS,
                    rotates_inputs=True,
                ),
            ),
            layer_prefix="encoder.layer.{layer}.",
            num_layers=spec.num_layers,
            wrappers=("bert.", "roberta."),
            twins=("cls.predictions.decoder.weight", "lm_head.decoder.weight") if spec.ties_table else (),
            renamed=(("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")),
            # A pooler serves next-sentence prediction, cls. and lm_head. masked words: no part in vectors.
            optional=("pooler.", "cls.", "lm_head.", "embeddings.position_ids", "embeddings.token_type_ids"),
        )

    def begin(self, start: PassStart) -> ForwardPass:
        kernels = start.compute.native
        hidden = embed(start)
        if kernels is not None and native_shape(start.spec).fits():
            return NativeBertPass(start, hidden, kernels)
        return BertPass(start, hidden)


def is_small(spec: ModelSpec) -> bool:
    """Whether the layers are small beside the token table, so that a finer format for a few matrices costs little."""
    return spec.hidden <= 1024 and spec.num_layers <= 12


def norm_parts(name: str, source: str, hidden: int) -> tuple[VectorPart, VectorPart]:
    return (
        VectorPart(f"{name}_gain", f"{source}.weight", (hidden,)),
        VectorPart(f"{name}_bias", f"{source}.bias", (hidden,)),
    )


def embed(start: PassStart) -> torch.Tensor:
    """The first layer's input [tokens, hidden] in fp32."""
    shared, separator = start.shared, start.spec.pair_separator
    hidden = start.gather(start.batch.ids).float()
    if separator is None:
        hidden += shared["token_types"][0]  # single texts are of type 0 throughout
    else:
        hidden += shared["token_types"].index_select(0, token_types(start.batch, separator).to(hidden.device))
    hidden += shared["positions"].index_select(0, start.batch.positions + start.spec.position_offset)
    return layer_norm(hidden, shared["norm_gain"], shared["norm_bias"], start.spec.norm_eps)


def token_types(batch: PackedBatch, separator: int) -> torch.Tensor:
    """[tokens] int64 on the host: 0 up to each text's first separator, 1 behind it, as pairs are encoded."""
    separators = (batch.ids == separator).long()
    before = separators.cumsum(0) - separators  # each token's number of separators that come before it in the batch
    lengths = torch.tensor(batch.lengths)
    firsts = lengths.cumsum(0) - lengths
    return (before - before[firsts].repeat_interleave(lengths) > 0).long()


class BertPass:
    def __init__(self, start: PassStart, hidden: torch.Tensor) -> None:
        self._spec, self._batch, self._compute = start.spec, start.batch, start.compute
        self._activation = ACTIVATIONS[start.spec.activation]
        self._hidden = hidden.to(start.compute.residual_dtype)

    def move_to(self, device: torch.device) -> None:
        self._hidden, self._batch = self._hidden.to(device), self._batch.to(device)

    def layer(self, weights: LayerWeights, keep: torch.Tensor | None) -> None:
        compute, matrix = self._compute, weights.matrix
        qkv = matrix["qkv"](self._hidden.to(compute.dtype))
        q, k, v = qkv.view(-1, 3, self._spec.num_heads, self._spec.head_dim).unbind(1)
        attended = compute.attend(q, k, v, self._batch, False).flatten(1)  # [tokens, hidden]
        if keep is not None:
            keep = keep.to(attended.device)
            self._hidden, attended = self._hidden[keep], attended[keep]
        hidden = self._norm(self._hidden + matrix["o"](attended), weights.vector, "attention_norm")
        for rows in chunks(hidden.shape[0], compute.chunk_tokens):
            inner = self._activation(matrix["up"](hidden[rows].to(compute.dtype)))  # [rows, intermediate]
            hidden[rows] = self._norm(hidden[rows] + matrix["down"](inner), weights.vector, "mlp_norm")
        self._hidden = hidden

    def finish(self) -> torch.Tensor:
        return self._hidden.float()

    def _norm(self, x: torch.Tensor, vectors: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
        normed = layer_norm(x, vectors[f"{name}_gain"], vectors[f"{name}_bias"], self._spec.norm_eps)
        return normed.to(self._compute.residual_dtype)
