"""What a model is, as data: its layers, its input, its pooling and its prompts.

A family (`farthing.models.families`) reads config.json into a `ModelSpec`, and two interpreters compute what it says:
`farthing.models.torch_pass` and `farthing.models.forward.native_pass`. A spec can say more than they compute;
they refuse the rest by the field's name. An `EmbeddingSpec` says how vectors are made of the last layer's rows; it is
read from the files beside config.json (`farthing.models.embedding_config`). No weights are read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from farthing.core.deferred import dataclass

Pooling = Literal["last", "cls", "mean"]


@dataclass(frozen=True)
class NormSpec:
    """
    Attributes:
        kind: "rms" (https://arxiv.org/abs/1910.07467) or "layer" (https://arxiv.org/abs/1607.06450).
        eps: what is added to the variance.
    """

    kind: Literal["rms", "layer"]
    eps: float


@dataclass(frozen=True)
class RopeScaling:
    """How the frequencies of RoPE are made slower for longer texts (`farthing.models.rope`).

    Attributes:
        kind: "linear", "ntk" (with a larger base, as in gte) or "llama3" (the slow frequencies more than the fast).
        low_factor, high_factor, original_positions: of "llama3".
    """

    kind: str
    factor: float
    low_factor: float = 1.0
    high_factor: float = 1.0
    original_positions: float = 1.0


@dataclass(frozen=True)
class RopeSpec:
    """Rotary position embedding (https://arxiv.org/abs/2104.09864).

    Attributes:
        theta: the base of the frequencies.
        fraction: the share of a head's width that is turned.
        is_interleaved: neighbouring numbers are turned together, instead of the two halves of a head.
        scaling: None where the frequencies are as they were in training.
    """

    theta: float
    fraction: float = 1.0
    is_interleaved: bool = False
    scaling: RopeScaling | None = None

    @property
    def base(self) -> float:
        """The base of the frequencies before they are scaled."""
        return self.theta * self.scaling.factor if self.scaling and self.scaling.kind == "ntk" else self.theta


@dataclass(frozen=True)
class DistanceBiasSpec:
    """What is added to the products of queries and keys by how far apart they are (`farthing.models.distance_bias`).

    Attributes:
        num_buckets, max_distance: of "buckets".
    """

    kind: Literal["alibi", "buckets"]
    num_buckets: int = 32
    max_distance: int = 128


@dataclass(frozen=True)
class AttentionSpec:
    """
    Attributes:
        is_causal: a token attends to itself and the tokens before it, and to no others.
        scale: what the products of queries and keys are multiplied by; None for 1 / sqrt(head_dim).
        window: a token attends to the tokens that are at most so many places away; None for all.
        head_norm: the norm of queries and keys; None where there is none.
        norms_whole_rows: `head_norm` goes over all heads of a token together, instead of over each head.
        rope: the rotary position embedding; None where heads are not turned.
        bias_by_distance: what is added to the products by how far apart two tokens are; None for nothing.
        has_biases: the projections have biases.
    """

    num_heads: int
    num_kv_heads: int
    head_dim: int
    is_causal: bool
    scale: float | None = None
    window: int | None = None
    head_norm: NormSpec | None = None
    norms_whole_rows: bool = False
    rope: RopeSpec | None = None
    bias_by_distance: DistanceBiasSpec | None = None
    has_biases: bool = False

    @property
    def q_width(self) -> int:
        return self.num_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.num_kv_heads * self.head_dim

    @property
    def product_scale(self) -> float:
        """What the products of queries and keys are multiplied by."""
        return self.head_dim**-0.5 if self.scale is None else self.scale


@dataclass(frozen=True)
class FeedForwardSpec:
    """
    Attributes:
        width: the width of the inner rows.
        activation: "silu", "gelu" (exact, by erf) or "gelu_tanh".
        is_gated: the part computes down(activation(gate) * up) instead of down(activation(up)).
        has_biases: both products have biases.
    """

    width: int
    activation: str
    is_gated: bool
    has_biases: bool = False


@dataclass(frozen=True)
class LayerSpec:
    """One layer.

    Attributes:
        norm_place: "before" attention and before the feed-forward part; "after" them, over the sum of the residual
            stream and what they add; or on "both" sides of what they add, as Gemma has it.
        norms_input: there is a norm before attention, where norms stand before (ModernBERT's first layer has none).
    """

    attention: AttentionSpec
    feed_forward: FeedForwardSpec
    norm: NormSpec
    norm_place: Literal["before", "after", "both"]
    norms_input: bool = True


@dataclass(frozen=True)
class InputSpec:
    """The first layer's input, beside the token embeddings.

    Attributes:
        scale: what the token embeddings are multiplied by.
        learns_positions: an embedding of each token's position is added.
        position_offset: the first row of the position table that is used (XLM-R counts from padding_idx + 1).
        num_token_types: the number of rows in the table of token types; 0 where there is none.
        norm: the norm of the sum; None where there is none.
    """

    scale: float = 1.0
    learns_positions: bool = False
    position_offset: int = 0
    num_token_types: int = 0
    norm: NormSpec | None = None


@dataclass(frozen=True)
class ModelSpec:
    """A transformer encoder.

    Attributes:
        family: the row of `farthing.models.families.FAMILIES` that read the model.
        hidden: the width of the residual stream.
        max_positions: the most tokens of one text that the position encoding can tell apart.
        layers: in order; they may differ.
        last_norm: the norm of the last layer's output; None where there is none.
        stored_bytes: the bytes of a number in the checkpoint, as its config says.
        ties_table: the output matrix of a language model is its token embeddings.
        pair_separator: the id of the token after which a text's tokens are of type 1, for models that are given pairs;
            None where all are of type 0.
        token_memory_bytes: the bytes that a token of the vocabulary takes in a loaded tokenizer.
    """

    family: str
    vocab: int
    hidden: int
    max_positions: int
    layers: tuple[LayerSpec, ...]
    input: InputSpec = InputSpec()
    last_norm: NormSpec | None = None
    stored_bytes: int = 4
    ties_table: bool = False
    pair_separator: int | None = None
    token_memory_bytes: int = 1200

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def is_causal(self) -> bool:
        """Whether all layers are causal, so that rows do not depend on what follows them."""
        return all(layer.attention.is_causal for layer in self.layers)

    @property
    def sees_all_before(self) -> bool:
        """Whether a text can go on from the keys and values of its beginning: layers are causal, and see all before."""
        return all(
            layer.attention.is_causal and layer.attention.window is None and layer.attention.bias_by_distance is None
            for layer in self.layers
        )

    @property
    def turns_heads(self) -> bool:
        return any(layer.attention.rope is not None for layer in self.layers)

    # The following properties are those of the widest layer, which bounds memory.

    @property
    def num_heads(self) -> int:
        return max(layer.attention.num_heads for layer in self.layers)

    @property
    def num_kv_heads(self) -> int:
        return max(layer.attention.num_kv_heads for layer in self.layers)

    @property
    def head_dim(self) -> int:
        return max(layer.attention.head_dim for layer in self.layers)

    @property
    def q_width(self) -> int:
        return max(layer.attention.q_width for layer in self.layers)

    @property
    def kv_width(self) -> int:
        return max(layer.attention.kv_width for layer in self.layers)

    @property
    def intermediate(self) -> int:
        return max(layer.feed_forward.width for layer in self.layers)


@dataclass(frozen=True)
class EmbeddingSpec:
    """How the encoder's hidden states become vectors, and what is put before the texts.

    Attributes:
        max_tokens: the most tokens of one text that the model was trained for, special tokens included.
        prompts: literal prefixes by name ("query", "document", ...).
        instruction_template: for models that take a free instruction, the template with a `{task}` field; else None.
        matryoshka_min: the fewest dimensions that the model was trained to be cut to; None when it was not.
        end_token: the content of the token that every encoded text must end with; None when it does not matter.
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
