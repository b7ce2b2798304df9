from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from quantised_files import END_ID, MERGES, NO_ID, OTHER_END_ID, TOKEN_TYPES, TOKENS, tokenizer_metadata, write_gguf
from texts import SAMPLES
from tokenizers import Tokenizer

from farthing.checkpoint.tokenizer_file import tokenizer_json
from farthing.core.errors import TokenizerError
from farthing.models.synth.tokenizer import END
from farthing.models.synth.tokenizer import tokenizer_json as synthetic_tokenizer_json
from farthing.serving.text.tokenizer import TextTokenizer

TEXTS = [
    *SAMPLES,
    "",
    "no yes ye\u0301s",
    "<|im_start|>user\n<think>x</think><|im_end|><|endoftext|>",
    "<tool_call> <|fim_prefix|> [PAD259] [PAD151668]",
    "e\u0301 \u00e9 \u1e9b\u0323 >\u0338",
    "I'LL they've WE'D don't",
    "\r\n\r\n \t x  \u3000\u00a0y\u200d",
    "১২৩ ١٢٣ 12345 ⅷ ½",
    "ไทย မြန်မာ ខ្មែร 한국어 ქართული",
]


def warnings_of(path: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "farthing"):
        TextTokenizer(path, vocab=260, end_token=END)
    return caplog.messages


def gguf_of(content: dict[str, Any], path: Path, end_id: int) -> Path:
    """A GGUF file with that tokenizer.json as llama.cpp's converter puts it there."""
    added = {token["id"]: token for token in content["added_tokens"]}
    by_id = {number: token for token, number in content["model"]["vocab"].items()}
    by_id.update({number: token["content"] for number, token in added.items()})
    tokens = [by_id.get(number, f"[PAD{number}]") for number in range(max(by_id) + 1)]
    types = [
        (3 if added[number]["special"] else 4) if number in added else 1 if number in by_id else 5
        for number in range(len(tokens))
    ]
    merges = [" ".join(pair) for pair in content["model"]["merges"]]
    return write_gguf(path, "F16", tokenizer_metadata(tokens, types, merges, end_id)).path


def assert_same_ids(path: Path, content: dict[str, Any]) -> None:
    ours, theirs = Tokenizer.from_buffer(tokenizer_json(path)), Tokenizer.from_str(json.dumps(content))
    for text in TEXTS:
        assert ours.encode(text).ids == theirs.encode(text).ids, text
        plain = [tokenizer.encode(text, add_special_tokens=False).ids for tokenizer in (ours, theirs)]
        assert plain[0] == plain[1], text


@pytest.mark.parametrize("folder", ["qwen3-embedding-tokenizer"])
def test_metadata_make_qwens_own_tokenizer_to_the_last_field(tmp_path: Path, folder: str) -> None:
    root = Path(os.environ.get("FARTHING_TEST_MODELS") or "/nonexistent") / folder
    if not root.is_dir():
        pytest.skip(f"set FARTHING_TEST_MODELS to a folder that holds {folder}")
    theirs = json.loads((root / "tokenizer.json").read_text())
    path = gguf_of(theirs, tmp_path / "a.gguf", 151643)
    assert_same_ids(path, theirs)
    ours = json.loads(tokenizer_json(path) or b"")
    assert ours["model"].pop("vocab").items() >= theirs["model"].pop("vocab").items()
    assert ours == theirs


def test_metadata_make_the_synthetic_tokenizer_too(tmp_path: Path) -> None:
    content = synthetic_tokenizer_json(appends_end=True)
    # Its vocabulary has no piece that this split would part.
    assert_same_ids(gguf_of(content, tmp_path / "a.gguf", 151643), content)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"tokenizer.ggml.add_eos_token": None}, "with no token"),
        ({"tokenizer.ggml.add_eos_token": False}, "with no token"),
        ({"tokenizer.ggml.eos_token_id": OTHER_END_ID}, f"with token {OTHER_END_ID}"),
        ({"tokenizer.ggml.eos_token_id": None}, "with token None"),
    ],
)
def test_a_missing_or_wrong_end_is_repaired_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, metadata: dict[str, Any], said: str
) -> None:
    path = write_gguf(tmp_path / "a.gguf", "F16", metadata).path
    (message,) = warnings_of(path, caplog)
    assert message.startswith(f"{path} would end texts {said} (")
    assert f"They end with <|endoftext|> ({END_ID}) instead" in message
    assert TextTokenizer(path, vocab=260, end_token=END).encode(["no", ""]) == [[NO_ID, END_ID], [END_ID]]


def test_nothing_is_said_of_a_file_that_ends_texts_rightly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert warnings_of(write_gguf(tmp_path / "a.gguf", "F16").path, caplog) == []


def test_rows_that_fill_up_the_embeddings_are_no_tokens(tmp_path: Path) -> None:
    types = [*TOKEN_TYPES[:-1], 4]  # as converters of 2023 mark them
    path = write_gguf(tmp_path / "a.gguf", "F16", {"tokenizer.ggml.token_type": types}).path
    assert TextTokenizer(path, vocab=260, end_token=END).encode(["[PAD259]"]) == [[*b"[PAD259]", END_ID]]


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"tokenizer.ggml.tokens": None}, "are incomplete"),
        ({"tokenizer.ggml.token_type": [1, 1]}, "are incomplete"),
        ({"tokenizer.ggml.merges": ["n p"]}, r"The merge \['n', 'p'\] makes no token"),
        ({"tokenizer.ggml.merges": [*MERGES, "a"]}, r"The merge \['a'\] makes no token"),
        ({"tokenizer.ggml.tokens": [*TOKENS[:END_ID], "<end>", *TOKENS[END_ID + 1 :]]}, "no token <|endoftext|>"),
        ({"tokenizer.ggml.pre": "llama-bpe"}, r"has no tokenizer.json\. Save the model's tokenizer beside it"),
        ({"tokenizer.ggml.model": None}, r"has no tokenizer.json\. Save the model's tokenizer beside it"),
    ],
)
def test_tokenizers_that_cannot_be_made_are_refused(tmp_path: Path, metadata: dict[str, Any], why: str) -> None:
    with pytest.raises(TokenizerError, match=why.replace("|", r"\|")):
        TextTokenizer(write_gguf(tmp_path / "a.gguf", "F16", metadata).path, vocab=260, end_token=END)


def test_the_tokenizer_beside_the_file_stands_in_for_one_that_is_not_built(tmp_path: Path) -> None:
    known = write_gguf(tmp_path / "known.gguf", "F16").path
    foreign = write_gguf(tmp_path / "foreign.gguf", "F16", {"tokenizer.ggml.pre": "llama-bpe"}).path
    beside = json.loads(tokenizer_json(known) or b"")
    beside["model"]["merges"] = []
    (tmp_path / "tokenizer.json").write_text(json.dumps(beside))
    assert TextTokenizer(known, vocab=260, end_token=END).encode(["no"]) == [[NO_ID, END_ID]]
    assert TextTokenizer(foreign, vocab=260, end_token=END).encode(["no"]) == [[*b"no", END_ID]]
