from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from farthing.core.errors import CheckpointError, UnknownArchitectureError
from farthing.models.families import FAMILIES, distilbert, family_of
from farthing.models.families.bert import BertFamily
from farthing.models.families.qwen3 import Qwen3Family
from farthing.models.family import Family
from farthing.models.rope import frequencies
from farthing.models.spec import AttentionSpec, FeedForwardSpec, InputSpec, NormSpec, RopeScaling, RopeSpec
from farthing.models.synth.checkpoint import find_shape

QWEN3 = find_shape("qwen3-0.6b").config()
BERT: dict[str, Any] = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "type_vocab_size": 2,
}
# The rest of what the families' config.json say, as the models that are named are published.
LLAMA = {
    **QWEN3,
    "architectures": ["LlamaModel"],
    "model_type": "llama",
}
DISTILBERT = {  # sentence-transformers/msmarco-distilbert-base-v4
    "architectures": ["DistilBertModel"],
    "model_type": "distilbert",
    "vocab_size": 30522,
    "dim": 768,
    "n_layers": 6,
    "n_heads": 12,
    "hidden_dim": 3072,
    "max_position_embeddings": 512,
    "activation": "gelu",
    "sinusoidal_pos_embds": False,
}
MPNET = {  # sentence-transformers/all-mpnet-base-v2
    **{key: value for key, value in BERT.items() if key != "type_vocab_size"},
    "architectures": ["MPNetForMaskedLM"],
    "model_type": "mpnet",
    "max_position_embeddings": 514,
    "pad_token_id": 1,
    "relative_attention_num_buckets": 32,
}
GTE = {  # Alibaba-NLP/gte-multilingual-base
    **BERT,
    "architectures": ["NewModel"],
    "model_type": "new",
    "position_embedding_type": "rope",
    "rope_theta": 20000,
    "rope_scaling": {"type": "ntk", "factor": 8.0},
    "logn_attention_scale": False,
    "type_vocab_size": 1,
}
NOMIC = {  # nomic-ai/nomic-embed-text-v1.5
    "architectures": ["NomicBertModel"],
    "model_type": "nomic_bert",
    "vocab_size": 30528,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": 3072,
    "n_positions": 8192,
    "max_trained_positions": 2048,
    "layer_norm_epsilon": 1e-12,
    "rotary_emb_base": 1000,
    "activation_function": "swiglu",
    "type_vocab_size": 2,
}
MODERNBERT = {  # Alibaba-NLP/gte-modernbert-base
    "architectures": ["ModernBertModel"],
    "model_type": "modernbert",
    "vocab_size": 50368,
    "hidden_size": 768,
    "num_hidden_layers": 22,
    "num_attention_heads": 12,
    "intermediate_size": 1152,
    "max_position_embeddings": 8192,
    "norm_eps": 1e-5,
    "hidden_activation": "gelu",
    "global_attn_every_n_layers": 3,
    "global_rope_theta": 160000.0,
    "local_attention": 128,
    "local_rope_theta": 10000.0,
}
GEMMA3 = {  # google/embeddinggemma-300m
    "architectures": ["Gemma3TextModel"],
    "model_type": "gemma3_text",
    "vocab_size": 262144,
    "hidden_size": 768,
    "num_hidden_layers": 24,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "intermediate_size": 1152,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 256,
    "rope_theta": 1000000.0,
    "rope_local_base_freq": 10000.0,
    "sliding_window": 512,
    "use_bidirectional_attention": True,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "qwen3": QWEN3,
    "bert": BERT,
    "distilbert": DISTILBERT,
    "mpnet": MPNET,
    "modernbert": MODERNBERT,
    "gemma3": GEMMA3,
    "rotary_bert": GTE,
    "llama": LLAMA,
}
FAMILY_AND_CONFIG: dict[str, tuple[Family, dict[str, Any]]] = {
    name: (FAMILIES[name], config) for name, config in CONFIGS.items()
}
EVERY_FAMILY = pytest.mark.parametrize("name", FAMILIES)


def refusal(name: str, **changes: object) -> str:
    family, config = FAMILY_AND_CONFIG[name]
    with pytest.raises(CheckpointError) as caught:
        family.spec({**config, **changes})
    return str(caught.value)


@EVERY_FAMILY
def test_every_architecture_of_a_family_leads_to_it(name: str) -> None:
    for architecture in FAMILIES[name].architectures:
        assert family_of({"architectures": [architecture]}) is FAMILIES[name]
        assert family_of({"architectures": ["Unknown", architecture]}) is FAMILIES[name]


@pytest.mark.parametrize("stated", [{}, {"architectures": None}, {"architectures": []}])
@pytest.mark.parametrize(
    ("model_type", "family"),
    [
        *((kind, "bert") for kind in ("bert", "roberta", "xlm-roberta", "camembert", "electra")),
        *((kind, "llama") for kind in ("llama", "mistral", "qwen2", "eurobert")),
        *((kind, "rotary_bert") for kind in ("nomic_bert", "new", "gte")),
        *((kind, kind) for kind in ("qwen3", "distilbert", "mpnet", "modernbert")),
        ("gemma3_text", "gemma3"),
    ],
)
def test_without_architectures_a_model_is_what_its_type_says(
    model_type: str, family: str, stated: dict[str, Any]
) -> None:
    assert family_of({**stated, "model_type": model_type}) is FAMILIES[family]


@pytest.mark.parametrize(
    ("config", "got"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "The checkpoint's architecture is GPT2LMHeadModel; "),
        (
            {"architectures": [], "model_type": "gpt2"},
            "config.json names no architectures, and its model_type is 'gpt2'. Write into it which one it is; ",
        ),
        (
            {"architectures": None},
            "config.json names no architectures, and its model_type is None. Write into it which one it is; ",
        ),
        (
            {"model_type": ["bert"]},
            "config.json names no architectures, and its model_type is ['bert']. Write into it which one it is; ",
        ),
    ],
)
def test_an_unknown_architecture_is_answered_with_those_there_are(config: dict[str, Any], got: str) -> None:
    with pytest.raises(UnknownArchitectureError) as caught:
        family_of(config)
    known = ", ".join(name for family in FAMILIES.values() for name in family.architectures)
    assert str(caught.value) == f"{got}available: {known}."


def test_a_qwen3_config_becomes_a_spec() -> None:
    spec = Qwen3Family().spec(QWEN3)
    assert (spec.family, spec.vocab, spec.hidden, spec.num_layers) == ("qwen3", 151669, 1024, 28)
    assert (spec.num_heads, spec.num_kv_heads, spec.head_dim) == (16, 8, 128)
    assert (spec.q_width, spec.kv_width, spec.intermediate) == (2048, 1024, 3072)
    assert spec.max_positions == 32768
    norm, layer = NormSpec("rms", 1e-6), spec.layers[0]
    assert set(spec.layers) == {layer}
    assert layer.attention == AttentionSpec(16, 8, 128, is_causal=True, head_norm=norm, rope=RopeSpec(1e6))
    assert layer.feed_forward == FeedForwardSpec(3072, "silu", is_gated=True)
    assert (layer.norm, layer.norm_place, spec.last_norm, spec.input) == (norm, "before", norm, InputSpec())


@pytest.mark.parametrize(
    ("stated", "is_causal"),
    [
        ({}, True),
        ({"is_causal": True}, True),
        ({"is_causal": False}, False),
        ({"use_bidirectional_attention": True}, False),
    ],
)
def test_what_is_made_of_qwen3_may_attend_both_ways(stated: dict[str, bool], is_causal: bool) -> None:
    spec = Qwen3Family().spec({**QWEN3, **stated})
    assert spec.is_causal is is_causal
    assert all(layer.attention.is_causal is is_causal for layer in spec.layers)


@pytest.mark.parametrize("wrong", [{"is_causal": "no"}, {"model_type": "bidirectional_pplx_qwen3"}])
def test_what_is_made_of_qwen3_and_cannot_be_told_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=next(iter(wrong))):
        Qwen3Family().spec({**QWEN3, **wrong})


def test_a_bert_config_becomes_a_spec() -> None:
    spec = BertFamily().spec(BERT)
    assert (spec.family, spec.vocab, spec.hidden, spec.num_layers) == ("bert", 30522, 384, 6)
    assert (spec.num_heads, spec.num_kv_heads, spec.head_dim, spec.intermediate) == (12, 12, 32, 1536)
    assert spec.max_positions == 512
    norm, layer = NormSpec("layer", 1e-12), spec.layers[0]
    assert layer.attention == AttentionSpec(12, 12, 32, is_causal=False, has_biases=True)
    assert layer.feed_forward == FeedForwardSpec(1536, "gelu", is_gated=False, has_biases=True)
    assert (layer.norm, layer.norm_place, spec.last_norm) == (norm, "after", None)
    assert spec.input == InputSpec(learns_positions=True, num_token_types=2, norm=norm)


@pytest.mark.parametrize(("padding", "offset"), [(None, 2), (1, 2), (0, 1)])
@pytest.mark.parametrize("model_type", ["roberta", "xlm-roberta"])
def test_robertas_positions_start_behind_the_padding_index(model_type: str, padding: int | None, offset: int) -> None:
    config = {**BERT, "model_type": model_type, "max_position_embeddings": 514}
    spec = BertFamily().spec(config if padding is None else {**config, "pad_token_id": padding})
    assert (spec.input.position_offset, spec.max_positions) == (offset, 514 - offset)


def test_widths_that_a_config_leaves_out_follow_from_the_others() -> None:
    config = {key: value for key, value in QWEN3.items() if key not in ("head_dim", "num_key_value_heads")}
    spec = Qwen3Family().spec(config)
    assert (spec.head_dim, spec.num_kv_heads) == (64, 16)


REQUIRED = [("qwen3", key) for key in (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "rms_norm_eps", "rope_theta", "hidden_act",
)] + [("bert", key) for key in (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "layer_norm_eps", "type_vocab_size", "hidden_act",
)]  # fmt: skip


@pytest.mark.parametrize(("name", "key"), REQUIRED)
def test_a_missing_key_is_named(name: str, key: str) -> None:
    family, config = FAMILY_AND_CONFIG[name]
    with pytest.raises(CheckpointError, match=rf"config\.json: {key} is None; "):
        family.spec({other: value for other, value in config.items() if other != key})


@pytest.mark.parametrize(("name", "key"), REQUIRED)
@pytest.mark.parametrize("value", ["12", True, [12]])
def test_a_value_of_the_wrong_kind_is_named(name: str, key: str, value: object) -> None:
    assert refusal(name, **{key: value}).startswith(f"config.json: {key} is {value!r}; ")


@EVERY_FAMILY
@pytest.mark.parametrize(
    "key", ["vocab_size", "hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size"]
)
@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_a_size_is_a_whole_number_of_at_least_one(name: str, key: str, value: float) -> None:
    key = distilbert.KEYS.get(key, key) if name == "distilbert" else key
    expected = f"config.json: {key} is {value}; a whole number of at least 1 is needed."
    assert refusal(name, **{key: value}) == expected


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        (
            "qwen3",
            {"attention_bias": True},
            "config.json: attention_bias is True; this model family is computed only with False.",
        ),
        (
            "qwen3",
            {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
            "config.json: RoPE of type 'yarn' is not built; remove rope_scaling or take another model.",
        ),
        (
            "qwen3",
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e6}},
            "config.json: RoPE of type 'dynamic' is not built; remove rope_scaling or take another model.",
        ),
        (
            "qwen3",
            {"num_key_value_heads": 5},
            "config.json: num_attention_heads is 16, not a multiple of num_key_value_heads, which is 5.",
        ),
        (
            "qwen3",
            {"hidden_act": "relu"},
            "config.json: hidden_act is 'relu'; available: silu, swish, gelu, gelu_new, gelu_pytorch_tanh.",
        ),
        (
            "bert",
            {"hidden_act": "relu"},
            "config.json: hidden_act is 'relu'; available: silu, swish, gelu, gelu_new, gelu_pytorch_tanh.",
        ),
        (
            "bert",
            {"position_embedding_type": "relative_key"},
            "config.json: position_embedding_type is 'relative_key'; this model family is computed only with "
            "'absolute'.",
        ),
        (
            "bert",
            {"is_decoder": True},
            "config.json: is_decoder is True; this model family is computed only with False.",
        ),
        (
            "rotary_bert",
            {"logn_attention_scale": True},
            "config.json: logn_attention_scale is True; this model family is computed only with False.",
        ),
        (
            "rotary_bert",
            {**NOMIC, "moe_every_n_layers": 2},
            "config.json: moe_every_n_layers is 2; this model family is computed only with 0, None.",
        ),
        (
            "bert",
            {"model_type": "electra", "embedding_size": 128},
            "config.json: embedding_size is 128; this model family is computed only with 384.",
        ),
        (
            "modernbert",
            {"layer_types": ["full_attention"] * 21 + ["chunked_attention"]},
            None,
        ),
        (
            "gemma3",
            {"use_bidirectional_attention": "no"},
            "config.json: use_bidirectional_attention is 'no'; true or false is needed.",
        ),
        (
            "llama",
            {"model_type": "olmo"},
            "config.json: model_type is 'olmo'; this model family is computed only with 'llama', 'mistral', 'qwen2', "
            "'eurobert', 'llama_bidirec'.",
        ),
        (
            "bert",
            {"num_attention_heads": 5},
            "config.json: hidden_size is 384, not a multiple of num_attention_heads, which is 5.",
        ),
    ],
)
def test_a_value_that_is_not_computed_is_refused_by_name(
    name: str, changes: dict[str, Any], expected: str | None
) -> None:
    told = refusal(name, **changes)
    assert told == expected if expected else next(iter(changes)) in told


def test_every_third_layer_of_modernbert_sees_all_tokens() -> None:
    spec = FAMILIES["modernbert"].spec(MODERNBERT)
    windows = [layer.attention.window for layer in spec.layers]
    assert windows == [None if index % 3 == 0 else 64 for index in range(22)]
    assert [layer.norms_input for layer in spec.layers[:3]] == [False, True, True]
    assert spec.layers[0].attention.rope == RopeSpec(160000.0)
    assert spec.layers[1].attention.rope == RopeSpec(10000.0)
    listed = {**MODERNBERT, "layer_types": ["full_attention"] * 22, "rope_parameters": {"full_attention": {
        "rope_theta": 5.0, "rope_type": "default"}}}  # fmt: skip
    assert {layer.attention.rope for layer in FAMILIES["modernbert"].spec(listed).layers} == {RopeSpec(5.0)}


def test_every_sixth_layer_of_gemma_sees_all_tokens() -> None:
    spec = FAMILIES["gemma3"].spec(GEMMA3)
    windows = [layer.attention.window for layer in spec.layers]
    assert windows == [None if index % 6 == 5 else 256 for index in range(24)]
    assert (spec.input.scale, spec.layers[0].attention.scale) == (768**0.5, 1 / 16)
    causal = FAMILIES["gemma3"].spec({**GEMMA3, "use_bidirectional_attention": False})
    assert (causal.layers[0].attention.window, causal.is_causal) == (511, True)


def test_a_window_of_a_language_model_limits_its_texts() -> None:
    mistral = {key: value for key, value in LLAMA.items() if key != "use_sliding_window"}
    mistral |= {"model_type": "mistral", "sliding_window": 4096}
    assert FAMILIES["llama"].spec(mistral).max_positions == 4096
    assert FAMILIES["llama"].spec({**mistral, "sliding_window": None}).max_positions == 32768
    qwen2 = {**LLAMA, "model_type": "qwen2", "sliding_window": 4096}
    assert FAMILIES["llama"].spec(qwen2).max_positions == 32768
    assert FAMILIES["llama"].spec({**qwen2, "use_sliding_window": True}).max_positions == 4096


def test_nomics_own_names_of_settings_are_read_and_named_in_errors() -> None:
    spec = FAMILIES["rotary_bert"].spec(NOMIC)
    assert (spec.hidden, spec.num_layers, spec.num_heads, spec.intermediate) == (768, 12, 12, 3072)
    assert (spec.max_positions, spec.layers[0].attention.rope) == (2048, RopeSpec(1000.0))
    with pytest.raises(CheckpointError, match=r"config\.json: n_embd is 0; "):
        FAMILIES["rotary_bert"].spec({**NOMIC, "n_embd": 0})


def test_the_frequencies_of_gte_are_made_slower() -> None:
    rope = FAMILIES["rotary_bert"].spec(GTE).layers[0].attention.rope
    assert rope == RopeSpec(20000.0, scaling=RopeScaling("ntk", 8.0))
    found = frequencies(rope, 64)
    np.testing.assert_allclose(found, 160000.0 ** -(np.arange(32) / 32) / 8 ** (2 / 64), rtol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_scaling": {"rope_type": "default"}},
        {"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
        {"rope_theta": 5.0, "rope_parameters": {"rope_theta": 1e6}},
    ],
)
def test_plain_rope_is_read_in_the_old_and_the_new_spelling(changes: dict[str, Any]) -> None:
    assert Qwen3Family().spec({**QWEN3, **changes}).layers[0].attention.rope == RopeSpec(1e6)


@pytest.mark.parametrize("key", ["torch_dtype", "dtype"])
@pytest.mark.parametrize(("dtype", "expected"), [("bfloat16", 2), ("float16", 2), ("float32", 4)])
@EVERY_FAMILY
def test_the_bytes_of_a_stored_number_are_those_the_config_states(
    name: str, key: str, dtype: str, expected: int
) -> None:
    family, config = FAMILY_AND_CONFIG[name]
    stated = {other: value for other, value in config.items() if other != "torch_dtype"} | {key: dtype}
    assert family.spec(stated).stored_bytes == expected
