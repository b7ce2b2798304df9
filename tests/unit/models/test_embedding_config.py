from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from farthing.checkpoint.reader import Checkpoint
from farthing.core.errors import CheckpointError
from farthing.models.embedding_config import embedding_spec
from farthing.models.families import family_of
from farthing.models.families.qwen3 import DEFAULT_TASK, INSTRUCTION
from farthing.models.spec import EmbeddingSpec
from farthing.models.synth.checkpoint import find_shape

CONFIG = find_shape("qwen3-tiny").config()
BERT = {**CONFIG, "architectures": ["BertModel"], "max_position_embeddings": 512, "layer_norm_eps": 1e-12,
        "type_vocab_size": 2}  # fmt: skip
QUERY = f"Instruct: {DEFAULT_TASK}\nQuery:"
TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
POOLING = {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
NORMALIZE = {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}


def spec_of(path: Path, config: dict[str, Any] = CONFIG, **files: object) -> EmbeddingSpec:
    """`files` by name, a dot written as two underscores and a slash as three."""
    for key, content in {"config__json": config, **files}.items():
        file = path / key.replace("___", "/").replace("__", ".")
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content))
    checkpoint = Checkpoint(path)
    family = family_of(config)
    return embedding_spec(checkpoint, family.spec(config), family.fallback(checkpoint.config))


def pooling_of(path: Path, pooling: dict[str, object]) -> str:
    modules = [TRANSFORMER, POOLING, NORMALIZE]
    return spec_of(path, modules__json=modules, **{"1_Pooling___config__json": pooling}).pooling


def test_what_no_file_states_comes_from_the_family(tmp_path: Path) -> None:
    assert spec_of(tmp_path) == EmbeddingSpec(
        pooling="last",
        max_tokens=32768,
        prompts={"query": QUERY, "document": ""},
        default_prompt=None,
        instruction_template=INSTRUCTION,
        matryoshka_min=32,
        end_token="<|endoftext|>",
    )


def test_what_is_made_of_qwen3_gets_no_words_of_qwen3_embedding(tmp_path: Path) -> None:
    assert spec_of(tmp_path, {**CONFIG, "vocab_size": 151936}) == EmbeddingSpec("last", max_tokens=32768)


def test_a_model_with_prompts_of_its_own_gets_none_of_qwen3_embedding(tmp_path: Path) -> None:
    own = {"query": "Query: ", "document": "Document: "}
    spec = spec_of(tmp_path, config_sentence_transformers__json={"prompts": own})
    assert (spec.prompts, spec.instruction_template, spec.end_token) == (own, None, None)


def test_a_bert_without_files_is_pooled_by_its_mean(tmp_path: Path) -> None:
    assert spec_of(tmp_path, BERT) == EmbeddingSpec(pooling="mean", max_tokens=512)


def test_the_starter_is_read_as_published(starter_dir: Path) -> None:
    checkpoint = Checkpoint(starter_dir)
    family = family_of(checkpoint.config)
    spec = embedding_spec(checkpoint, family.spec(checkpoint.config), family.fallback(checkpoint.config))
    assert spec == EmbeddingSpec(pooling="mean", max_tokens=256)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("lasttoken", "last"), ("cls_token", "cls"), ("mean_tokens", "mean")],
)
def test_pooling_in_the_old_spelling(tmp_path: Path, mode: str, expected: str) -> None:
    modes = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
    config = {"word_embedding_dimension": 64, **{f"pooling_mode_{name}": name == mode for name in modes}}
    assert pooling_of(tmp_path, config) == expected


@pytest.mark.parametrize(("mode", "expected"), [("lasttoken", "last"), ("cls", "cls"), (["mean"], "mean")])
def test_pooling_in_the_new_spelling(tmp_path: Path, mode: object, expected: str) -> None:
    assert pooling_of(tmp_path, {"embedding_dimension": 64, "pooling_mode": mode}) == expected


def test_a_pooling_file_that_names_no_mode_means_the_mean_as_in_sentence_transformers(tmp_path: Path) -> None:
    assert pooling_of(tmp_path, {"word_embedding_dimension": 64}) == "mean"


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode": "max"}, "The checkpoint pools by max; available: lasttoken, cls, mean."),
        ({"pooling_mode": ["cls", "mean"]}, "The checkpoint pools by cls + mean; available: lasttoken, cls, mean."),
        (
            {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
            "The checkpoint pools by mean + max; available: lasttoken, cls, mean.",
        ),
        (
            {"pooling_mode_weightedmean_tokens": True},
            "The checkpoint pools by weightedmean; available: lasttoken, cls, mean.",
        ),
        (
            {"pooling_mode": "mean", "include_prompt": False},
            "The checkpoint leaves prompt tokens out of pooling (include_prompt: false); not built.",
        ),
    ],
)
def test_a_pooling_that_is_not_built_is_refused_by_name(
    tmp_path: Path, pooling: dict[str, object], expected: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        pooling_of(tmp_path, pooling)
    assert str(caught.value) == expected


@pytest.mark.parametrize("path", ["", "2_Dense"])
def test_a_module_that_is_not_built_is_refused_by_name(tmp_path: Path, path: str) -> None:
    dense = {"idx": 2, "name": "2", "path": path, "type": "sentence_transformers.models.Dense"}
    with pytest.raises(CheckpointError) as caught:
        spec_of(tmp_path, modules__json=[TRANSFORMER, dense])
    assert str(caught.value) == "modules.json names the module Dense; built are Transformer, Pooling and Normalize."


def test_a_dense_layer_behind_the_pooling_is_refused_too(tmp_path: Path) -> None:
    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    files = {"1_Pooling___config__json": {"pooling_mode": "mean"}, "modules__json": [TRANSFORMER, POOLING, dense]}
    with pytest.raises(CheckpointError, match="names the module Dense"):
        spec_of(tmp_path, **files)


def test_a_pooling_file_that_is_named_but_missing_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        spec_of(tmp_path, modules__json=[TRANSFORMER, POOLING])
    expected = f"{tmp_path} lacks 1_Pooling/config.json, which modules.json names. Download it again."
    assert str(caught.value) == expected


@pytest.mark.parametrize("kind", ["sentence_transformers.sentence_transformer.modules.pooling.Pooling", "x.Pooling"])
def test_a_module_counts_by_its_class_wherever_it_lives(tmp_path: Path, kind: str) -> None:
    files = {"1_Pooling___config__json": {"pooling_mode": "cls"}}
    assert spec_of(tmp_path, modules__json=[TRANSFORMER, {**POOLING, "type": kind}], **files).pooling == "cls"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"sentence_bert_config__json": {"max_seq_length": 256}}, 256),
        ({"sentence_bert_config__json": {"max_seq_length": None, "do_lower_case": False}}, 512),
        ({"sentence_bert_config__json": {"max_seq_length": 8192}}, 512),
        ({"tokenizer_config__json": {"model_max_length": 384}}, 384),
        ({"tokenizer_config__json": {"model_max_length": 1000000000000000019884624838656}}, 512),
        ({"tokenizer_config__json": {"model_max_length": 1e30}}, 512),
        ({"sentence_roberta_config__json": {"max_seq_length": 128}}, 128),
        ({"sentence_xlm-roberta_config__json": {"max_seq_length": 128}}, 128),
        (
            {
                "sentence_bert_config__json": {"max_seq_length": 256},
                "sentence_roberta_config__json": {"max_seq_length": 128},
            },
            256,
        ),
        (
            {
                "tokenizer_config__json": {"model_max_length": 128},
                "sentence_bert_config__json": {"max_seq_length": 256},
            },
            128,
        ),
    ],
)
def test_the_least_stated_length_counts(tmp_path: Path, files: dict[str, object], expected: int) -> None:
    assert spec_of(tmp_path, BERT, **files).max_tokens == expected


def test_stored_prompts_of_another_text_take_the_place_of_the_familys(tmp_path: Path) -> None:
    stored = {"prompts": {"query": "search: ", "sts": "same: ", "broken": None}, "default_prompt_name": "sts"}
    spec = spec_of(tmp_path, config_sentence_transformers__json=stored)
    assert dict(spec.prompts) == {"query": "search: ", "sts": "same: "}
    assert spec.default_prompt == "sts"


@pytest.mark.parametrize("stored", [{}, {"prompts": {}}, {"prompts": None, "default_prompt_name": None}])
def test_empty_prompts_leave_the_familys(tmp_path: Path, stored: dict[str, object]) -> None:
    spec = spec_of(tmp_path, config_sentence_transformers__json=stored)
    assert dict(spec.prompts) == {"query": QUERY, "document": ""}
    assert spec.default_prompt is None


def test_the_least_dimension_that_the_config_lists_is_the_matryoshka_minimum(tmp_path: Path) -> None:
    assert spec_of(tmp_path, {**CONFIG, "matryoshka_dimensions": [768, 128, 256]}).matryoshka_min == 128
    assert spec_of(tmp_path, {**BERT, "matryoshka_dimensions": [64]}).matryoshka_min == 64
    assert spec_of(tmp_path, BERT).matryoshka_min is None


def test_a_default_prompt_that_is_not_there_is_refused(tmp_path: Path) -> None:
    stored = {"prompts": {"query": "query: "}, "default_prompt_name": "passage"}
    with pytest.raises(CheckpointError, match="'passage' the default prompt, but has only: query"):
        spec_of(tmp_path, BERT, config_sentence_transformers__json=stored)


@pytest.mark.parametrize(("value", "expected"), [(True, True), (False, False), (None, False)])
@pytest.mark.parametrize("name", ["sentence_bert_config__json", "sentence_roberta_config__json"])
def test_lower_case_is_read_where_sentence_transformers_says_it(
    tmp_path: Path, name: str, value: object, expected: bool
) -> None:
    assert spec_of(tmp_path, BERT, **{name: {"max_seq_length": 9, "do_lower_case": value}}).lowercases is expected


def test_lower_case_that_is_no_truth_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"sentence_bert_config\.json: do_lower_case is 'yes'; true or false"):
        spec_of(tmp_path, BERT, sentence_bert_config__json={"do_lower_case": "yes"})
