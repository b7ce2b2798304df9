"""The declared tensors against those of transformers' own modules, made without memory on the meta device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedModel,
    Qwen3Config,
    Qwen3Model,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from farthing.models.families import family_of
from farthing.models.layout import Layout
from farthing.models.synth.checkpoint import find_shape

QWEN3 = replace(find_shape("qwen3-tiny"), vocab=500).config()
BERT = {
    "vocab_size": 500,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 130,
}
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "qwen3": lambda: Qwen3Model(Qwen3Config(**QWEN3)),
    "bert": lambda: BertModel(BertConfig(**BERT), add_pooling_layer=False),
    "roberta": lambda: RobertaModel(RobertaConfig(**BERT), add_pooling_layer=False),
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**BERT), add_pooling_layer=False),
}
EVERY_MODEL = pytest.mark.parametrize("kind", MODELS)


def layout_and_reference(kind: str) -> tuple[Layout, dict[str, tuple[int, ...]]]:
    with torch.device("meta"):
        model = MODELS[kind]()
    config: dict[str, Any] = {**model.config.to_dict(), "architectures": [type(model).__name__]}
    family = family_of(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return family.layout(family.spec(config)), shapes


@EVERY_MODEL
def test_the_layout_is_exactly_the_models_own_tensors(kind: str) -> None:
    layout, reference = layout_and_reference(kind)
    assert dict(layout.tensors()) == reference


@EVERY_MODEL
def test_no_tensor_is_named_twice(kind: str) -> None:
    layout, _ = layout_and_reference(kind)
    names = [name for name, _ in layout.tensors()]
    assert len(names) == len(set(names))
    for parts in (layout.shared, layout.vectors, layout.matrices):
        part_names = [part.name for part in parts]  # type: ignore[attr-defined]
        assert len(part_names) == len(set(part_names))


@EVERY_MODEL
def test_tensors_come_in_the_order_of_computation(kind: str) -> None:
    layout, _ = layout_and_reference(kind)
    names = [name for name, _ in layout.tensors()]
    assert names[0] == layout.table.source
    places = [
        [place for place, name in enumerate(names) if name.startswith(layout.prefix(layer))]
        for layer in range(layout.num_layers)
    ]
    assert all(places)
    assert all(earlier[-1] < later[0] for earlier, later in pairwise(places))


@EVERY_MODEL
def test_what_must_be_there_is_not_optional(kind: str) -> None:
    layout, _ = layout_and_reference(kind)
    assert not any(layout.is_optional(name) for name, _ in layout.tensors())


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("qwen3", "lm_head.weight", True),
        ("qwen3", "lm_head.weight_scale", False),
        ("qwen3", "score.weight", False),
        ("bert", "pooler.dense.weight", True),
        ("bert", "cls.predictions.bias", True),
        ("bert", "embeddings.position_ids", True),
        ("bert", "pooler_2.dense.weight", False),
        ("bert", "embeddings.position_ids_2", False),
    ],
)
def test_optional_tensors_are_exact_names_or_whole_prefixes(kind: str, name: str, expected: bool) -> None:
    layout, _ = layout_and_reference(kind)
    assert layout.is_optional(name) is expected
