"""Turns a pooled row into a logit, which makes a cross-encoder of an encoder.

In: config.json of a model that scores pairs of texts. Out: a `Head`, which says how rows are pooled and which tensors
it needs beside the encoder's, and turns rows [n, hidden] into logits [n, 1]. A higher logit is a better match, and its
sigmoid is the score. Models with more than one label are refused.

References: the model cards of Qwen3-Reranker (https://arxiv.org/abs/2506.05176), and transformers' modeling_qwen3.py,
modeling_bert.py and modeling_xlm_roberta.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, Protocol

import numpy as np

from farthing.core.arrays import Array
from farthing.core.deferred import dataclass
from farthing.core.errors import CheckpointError, TokenizerError
from farthing.models.config import architectures, shown, table
from farthing.models.layout import Layout, RowsPart, VectorPart
from farthing.models.pair_prompt import QWEN3_PROMPT, PairPrompt
from farthing.models.spec import ModelSpec, Pooling

Task = Literal["embed", "rerank"]
TokenId = Callable[[str], int | None]


class Head(Protocol):
    """
    Attributes:
        pooling: which row of a pair is read.
        prompt: the words around query and document; None where the tokenizer's own template for pairs is used.
    """

    @property
    def pooling(self) -> Pooling: ...

    @property
    def prompt(self) -> PairPrompt | None: ...

    def extended(self, layout: Layout, spec: ModelSpec, config: Mapping[str, Any], token_id: TokenId) -> Layout:
        """The encoder's layout with the head's tensors."""
        ...

    def logits(self, rows: Array, shared: Mapping[str, Array]) -> Array:
        """The logits [n, 1] fp32 of rows [n, hidden] fp32; `shared` holds the layout's shared tensors by part name."""
        ...


@dataclass(frozen=True)
class AnswerHead:
    """The head of a language model that answers "yes" or "no": P(yes) of the two is sigmoid(h . (w_yes - w_no)).

    Only these two rows of the vocabulary's matrix are read.
    """

    pooling: Pooling = "last"
    prompt: PairPrompt | None = QWEN3_PROMPT

    def extended(self, layout: Layout, spec: ModelSpec, config: Mapping[str, Any], token_id: TokenId) -> Layout:
        found = {word: token_id(word) for word in ("yes", "no")}
        rows = tuple(number for number in found.values() if number is not None and number < spec.vocab)
        if len(rows) != len(found):
            raise TokenizerError(
                f"The tokenizer has no tokens 'yes' and 'no' (ids {found['yes']} and {found['no']}), between which "
                "this model answers. Take tokenizer.json from the original reranker."
            )
        source = layout.table.source if config.get("tie_word_embeddings") else "lm_head.weight"
        return replace(layout, rows=RowsPart("answers", source, rows, layout.table.shape))

    def logits(self, rows: Array, shared: Mapping[str, Array]) -> Array:
        yes, no = shared["answers"]
        return product(rows, (yes - no)[None])


@dataclass(frozen=True)
class LinearHead:
    """A head of one row of weights, without bias."""

    source: str
    pooling: Pooling = "last"
    prompt: PairPrompt | None = QWEN3_PROMPT

    def extended(self, layout: Layout, spec: ModelSpec, config: Mapping[str, Any], token_id: TokenId) -> Layout:  # noqa: ARG002
        part = VectorPart("head_out", f"{self.source}.weight", (1, spec.hidden))
        return replace(layout, shared=(*layout.shared, part))

    def logits(self, rows: Array, shared: Mapping[str, Array]) -> Array:
        return product(rows, shared["head_out"])


@dataclass(frozen=True)
class DenseHead:
    """A head on the first token: a dense layer, tanh, and one row of weights with its bias."""

    dense: str
    out: str
    pooling: Pooling = "cls"
    prompt: PairPrompt | None = None

    def extended(self, layout: Layout, spec: ModelSpec, config: Mapping[str, Any], token_id: TokenId) -> Layout:  # noqa: ARG002
        width = spec.hidden
        parts = (
            VectorPart("head_dense", f"{self.dense}.weight", (width, width)),
            VectorPart("head_dense_bias", f"{self.dense}.bias", (width,)),
            VectorPart("head_out", f"{self.out}.weight", (1, width)),
            VectorPart("head_out_bias", f"{self.out}.bias", (1,)),
        )
        return replace(layout, shared=(*layout.shared, *parts))

    def logits(self, rows: Array, shared: Mapping[str, Array]) -> Array:
        inner = np.tanh(product(rows, shared["head_dense"]) + shared["head_dense_bias"])
        return product(inner, shared["head_out"]) + shared["head_out_bias"]


ROBERTA_HEAD = DenseHead("classifier.dense", "classifier.out_proj")
# By architecture. The first also makes vectors: its config.json does not say which of the two the model is meant for.
HEADS: Mapping[str, Head] = {
    "Qwen3ForCausalLM": AnswerHead(),
    "Qwen3ForSequenceClassification": LinearHead("score"),
    "BertForSequenceClassification": DenseHead("pooler.dense", "classifier"),
    "RobertaForSequenceClassification": ROBERTA_HEAD,
    "XLMRobertaForSequenceClassification": ROBERTA_HEAD,
}


def head_of(config: Mapping[str, Any]) -> Head | None:
    """The head that config.json's architecture has; None for an encoder alone.

    Raises:
        CheckpointError: the model is a classifier with more than one label.
    """
    name = next((name for name in architectures(config) if name in HEADS), None)
    if name is None:
        return None
    if is_classifier(config):
        labels = table(config.get("id2label"), "config.json: id2label") or (0, 1)  # two by default, as in transformers
        num_labels = config.get("num_labels") or len(labels)
        if num_labels != 1:
            raise CheckpointError(
                f"config.json: num_labels is {shown(num_labels)}; {name} is computed with one label, whose logit "
                "scores a pair. Take a reranker; a classifier with several labels is not one."
            )
    return HEADS[name]


def is_classifier(config: Mapping[str, Any]) -> bool:
    """Whether config.json's architecture can do nothing but score."""
    return any(name in HEADS and name.endswith("ForSequenceClassification") for name in architectures(config))


def product(rows: Array, weight: Array) -> Array:
    """rows [n, in] times weight [out, in], both fp32. A row's numbers do not depend on the other rows."""
    return np.stack([weight @ row for row in rows])


def checked_logits(head: Head, rows: Array, shared: Mapping[str, Array]) -> Array:
    """The logits of `Head.logits`, but NaN for rows that are not finite: tanh would turn them into plausible ones."""
    with np.errstate(invalid="ignore", over="ignore"):
        logits = head.logits(rows, shared)
    logits[~np.isfinite(rows).all(1)] = np.nan
    return logits
