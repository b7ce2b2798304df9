from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from farthing.models.synth.tokenizer import byte_characters, tokenizer_json

END = 151643
EMBEDDER, RERANKER = (Tokenizer.from_str(json.dumps(tokenizer_json(appends_end=end))) for end in (True, False))
EVERY_TOKENIZER = pytest.mark.parametrize("tokenizer", [EMBEDDER, RERANKER], ids=["embedder", "reranker"])


@EVERY_TOKENIZER
@given(text=st.text())
@example("family 👨\u200d👩\u200d👧, no yes, <think>\n\n</think>")
@example("<|endoftext|><|im_start|>")
def test_any_text_comes_back_as_it_was(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == unicodedata.normalize("NFC", text)


@given(text=st.text())
def test_an_embedders_text_ends_with_the_end_token_and_a_rerankers_does_not(text: str) -> None:
    bare = EMBEDDER.encode(text, add_special_tokens=False).ids
    assert EMBEDDER.encode(text).ids == [*bare, END]
    assert RERANKER.encode(text).ids == bare


def test_special_tokens_have_the_published_ids() -> None:
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    assert RERANKER.encode("".join(names)).ids == [151643, 151644, 151645, 151667, 151668]


@EVERY_TOKENIZER
@pytest.mark.parametrize(("word", "number"), [("no", 2152), ("yes", 9693)])
def test_the_rerankers_answers_are_one_token_each_with_the_published_id(
    tokenizer: Tokenizer, word: str, number: int
) -> None:
    assert tokenizer.encode(word, add_special_tokens=False).ids == [number]
    assert tokenizer.token_to_id(word) == number


def test_every_byte_has_a_character_of_its_own() -> None:
    characters = byte_characters()
    assert len(set(characters)) == 256
    assert all(chr(byte) == characters[byte] for byte in range(33, 127))


def test_tokens_without_an_embedding_are_left_out() -> None:
    content = tokenizer_json(appends_end=True, vocab=151665)
    assert max(content["model"]["vocab"].values()) == 151645
    assert [entry["id"] for entry in content["added_tokens"]] == [151643, 151644, 151645]
