from __future__ import annotations

from typing import Any

import pytest

from farthing.core.errors import InputError, InvalidTextError, TextTooLargeError, UnknownPromptError
from farthing.models.families.bert import BertFamily
from farthing.models.families.qwen3 import Qwen3Family
from farthing.models.spec import EmbeddingSpec
from farthing.serving.request import EmbedRequest
from farthing.serving.text.prompts import prompt_prefix

QWEN3, BERT = Qwen3Family().fallback({"vocab_size": 151669}), BertFamily().fallback({})
E5 = EmbeddingSpec("mean", 512, prompts={"query": "query: ", "document": "passage: "}, default_prompt="document")


def prefix(spec: EmbeddingSpec, **asked: Any) -> str:
    return prompt_prefix(EmbedRequest(["x"], **asked), spec, max_chars=1000)


def test_qwen3_query_is_built_as_published() -> None:
    default = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
    assert prefix(QWEN3, input_type="query") == default
    assert prefix(QWEN3, prompt_name="query") == default
    assert prefix(QWEN3, instruction="Find {code} snippets") == "Instruct: Find {code} snippets\nQuery:"
    assert prefix(QWEN3, instruction="Find x", input_type="query") == "Instruct: Find x\nQuery:"
    assert prefix(QWEN3, input_type="document") == ""
    assert prefix(QWEN3) == ""


def test_stored_prompts_and_the_default_one() -> None:
    assert prefix(E5, input_type="query") == "query: "
    assert prefix(E5) == "passage: "
    assert prefix(E5, prompt="") == ""
    assert prefix(E5, prompt="literal: ") == "literal: "


def test_model_without_prompts_treats_queries_and_documents_alike() -> None:
    assert prefix(BERT, input_type="query") == ""


@pytest.mark.parametrize(
    "asked",
    [
        {"prompt": "a", "instruction": "b"},
        {"prompt": "a", "prompt_name": "query"},
        {"prompt": "a", "input_type": "query"},
        {"prompt_name": "query", "input_type": "query"},
        {"instruction": "b", "input_type": "document"},
    ],
)
def test_contradictions_are_refused(asked: dict[str, str]) -> None:
    with pytest.raises(InputError):
        prefix(QWEN3, **asked)


def test_unknown_prompt_lists_the_known_ones() -> None:
    with pytest.raises(UnknownPromptError, match="no prompt 'title'; it has: query, document"):
        prefix(E5, prompt_name="title")
    with pytest.raises(UnknownPromptError, match="not trained with instructions"):
        prefix(E5, instruction="x")


@pytest.mark.parametrize("way", ["prompt", "instruction"])
def test_a_prompt_has_the_limit_of_a_text(way: str) -> None:
    assert "x" * 1000 in prefix(QWEN3, **{way: "x" * 1000})
    with pytest.raises(TextTooLargeError, match=f"The {way} has 1001 characters; at most 1000") as caught:
        prefix(QWEN3, **{way: "x" * 1001})
    assert caught.value.param == way
    with pytest.raises(InvalidTextError, match=f"The {way} is not valid Unicode"):
        prefix(QWEN3, **{way: "\ud800"})


def test_a_long_name_does_not_come_back_whole() -> None:
    with pytest.raises(UnknownPromptError) as caught:
        prefix(QWEN3, prompt_name="x" * 1_000_000)
    assert len(str(caught.value)) < 300
    assert "(1000000 characters)" in str(caught.value)
