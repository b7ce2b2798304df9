"""What a model is, read from its own files: shape, arithmetic, pooling, prompts.

In: a `Checkpoint`'s JSON files (config.json by the family's reader; modules.json, 1_Pooling, sentence_bert_config and
config_sentence_transformers in `farthing.models.embedding_config`). Out: frozen specs. No weights are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Pooling = Literal["last", "cls", "mean"]


@dataclass(frozen=True)
class ModelSpec:
    """Shape and arithmetic of a transformer encoder.

    Attributes:
        family: row of `farthing.models.families.FAMILIES`.
        hidden: width of the residual stream.
        max_positions: most tokens of one text that the position encoding can tell apart.
        activation: "silu", "gelu" (exact, by erf) or "gelu_tanh".
        rope_theta: base of the rotary frequencies; 0.0 where positions are learned.
        stored_bytes: bytes of a number in the checkpoint, as its config says.
        ties_table: the matrix of a language model's answers is its token embeddings.
        causal: a token sees those before it and itself only.
        position_offset: first row of a learned position table that is used (XLM-R counts from padding_idx + 1).
        pair_separator: id of the token behind which a text's tokens are of type 1, for models that are given pairs;
            None where all are of type 0.
    """

    family: str
    vocab: int
    hidden: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate: int
    max_positions: int
    norm_eps: float
    activation: str
    rope_theta: float = 0.0
    position_offset: int = 0
    num_token_types: int = 0
    pair_separator: int | None = None
    stored_bytes: int = 4
    causal: bool = False
    ties_table: bool = False

    @property
    def q_width(self) -> int:
        return self.num_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.num_kv_heads * self.head_dim


@dataclass(frozen=True)
class EmbeddingSpec:
    """How the encoder's hidden states become vectors, and what is put before the texts.

    Attributes:
        max_tokens: most tokens of one text that the model was trained for, special tokens included.
        prompts: literal prefixes by name ("query", "document", ...).
        instruction_template: with a `{task}` field, for models that take a free instruction; else None.
        matryoshka_min: fewest dimensions the model was trained to be cut to; None when it was not.
        end_token: content of the token that every encoded text must end with; None when it does not matter.
        lowercases: texts are put into lower case before they are tokenised, whatever the tokenizer does.
    """

    pooling: Pooling
    max_tokens: int
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    instruction_template: str | None = None
    matryoshka_min: int | None = None
    end_token: str | None = None
    lowercases: bool = False
