from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from farthing.core.errors import CheckpointError, TokenizerError
from farthing.models.families.qwen3 import Qwen3Family
from farthing.models.forward.heads import HEADS, AnswerHead, DenseHead, checked_logits, head_of, is_classifier
from farthing.models.pair_prompt import QWEN3_PROMPT
from farthing.models.synth.checkpoint import find_shape

CONFIG = find_shape("qwen3-reranker-tiny").config()


@pytest.mark.parametrize(
    ("labels", "num_labels"), [({"0": "a", "1": "b"}, 2), (None, 2), ({"0": "", "1": "", "2": ""}, 3)]
)
@pytest.mark.parametrize("name", [name for name in HEADS if name.endswith("Classification")])
def test_more_labels_than_one_are_refused_with_their_number(name: str, labels: Any, num_labels: int) -> None:
    with pytest.raises(CheckpointError, match=rf"num_labels is {num_labels}; {name} is computed with one label"):
        head_of({"architectures": [name], "id2label": labels})


def test_a_head_belongs_to_its_architecture() -> None:
    assert head_of({"architectures": ["BertModel"]}) is None
    assert head_of({"architectures": None}) is None
    assert head_of({"architectures": ["BertForSequenceClassification"], "id2label": {"0": ""}}) is not None
    assert head_of({"architectures": ["BertForSequenceClassification"], "num_labels": 1}) is not None
    assert is_classifier({"architectures": ["XLMRobertaForSequenceClassification"]})
    assert not is_classifier(CONFIG)


@pytest.mark.parametrize(("tied", "source"), [(True, "embed_tokens.weight"), (False, "lm_head.weight")])
def test_two_rows_of_the_vocabulary_are_all_that_is_read(tied: bool, source: str) -> None:
    family = Qwen3Family()
    spec = family.spec(CONFIG)
    config = {**CONFIG, "tie_word_embeddings": tied}
    layout = AnswerHead().extended(family.layout(spec), spec, config, {"yes": 9693, "no": 2152}.get)
    assert layout.rows is not None
    assert (layout.rows.source, layout.rows.rows) == (source, (9693, 2152))
    assert (source, (spec.vocab, spec.hidden)) in list(layout.tensors())


@pytest.mark.parametrize("words", [{}, {"yes": 5}, {"yes": 5, "no": 10**6}])
def test_a_tokenizer_without_the_answers_is_refused(words: dict[str, int]) -> None:
    family = Qwen3Family()
    spec = family.spec(CONFIG)
    with pytest.raises(TokenizerError, match="no tokens 'yes' and 'no'"):
        AnswerHead().extended(family.layout(spec), spec, CONFIG, words.get)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_row_that_is_not_finite_has_no_logit(value: float) -> None:
    rows = np.ones((3, 4), dtype=np.float32)
    rows[1, 2] = value
    shared = {
        "head_dense": np.eye(4, dtype=np.float32), "head_dense_bias": np.zeros(4, dtype=np.float32),
        "head_out": np.ones((1, 4), dtype=np.float32), "head_out_bias": np.zeros(1, dtype=np.float32),
    }  # fmt: skip
    logits = checked_logits(DenseHead("dense", "out"), rows, shared)
    assert logits.shape == (3, 1)
    assert np.isnan(logits[:, 0]).tolist() == [False, True, False]


def test_no_field_of_a_prompt_is_looked_for_in_the_callers_words() -> None:
    made = QWEN3_PROMPT.query_part("{instruction}", "{query}")
    assert made == "<Instruct>: {query}\n<Query>: {instruction}\n<Document>:"
    assert QWEN3_PROMPT.query_part("a", "") == "<Instruct>: \n<Query>: a\n<Document>:"
