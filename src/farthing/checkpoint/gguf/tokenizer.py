"""A tokenizer.json made from the metadata of a GGUF file.

In: `tokenizer.ggml.*`: tokens, their types, merges. Out: what the model's own tokenizer.json says, to the token.
Reference: transformers' `Qwen2Converter` (convert_slow_tokenizer.py), and llama.cpp's converter, which wrote the
metadata.

Every text ends with the architecture's end token, whatever the metadata say: files made before June 2025 lack
`add_eos_token` or name the chat's end instead, and give bad vectors without any error
(https://github.com/ggml-org/llama.cpp/issues/14234).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from farthing.checkpoint.gguf.config import architecture_of
from farthing.checkpoint.gguf.header import read_header
from farthing.checkpoint.tokenizer_file import SPLITS
from farthing.core.errors import TokenizerError

T = TypeVar("T")

log = logging.getLogger(__name__)

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4  # of tokenizer.ggml.token_type; the others are no tokens of a text
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}


def gguf_tokenizer_json(path: Path) -> bytes | None:
    """The content of tokenizer.json; None where the file's tokenizer is of a kind that is not made from metadata.

    Raises:
        CheckpointError: the file cannot be read.
        TokenizerError: its tokens are incomplete or contradict each other.
    """
    metadata = read_header(path, with_arrays=True).metadata
    if not is_built(metadata):
        log.warning("%s has a tokenizer of the kind %s, which is not built.", path, kind_of(metadata))
        return None
    tokens, merges = array(metadata, "tokens", str), array(metadata, "merges", str)
    types = array(metadata, "token_type", int)
    if not (tokens and types and merges) or len(types) != len(tokens):
        raise TokenizerError(f"{path}: tokens, token types and merges are incomplete. Download the file again.")
    end_token = architecture_of(metadata).end_token
    content = tokenizer_content(tokens, types, merges, SPLITS[metadata["tokenizer.ggml.pre"]], end_token)
    say_repair(path, metadata, end_token, tokens.index(end_token))
    return json.dumps(content, ensure_ascii=False).encode()


def kind_of(metadata: Mapping[str, Any]) -> tuple[Any, Any]:
    return metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")


def is_built(metadata: Mapping[str, Any]) -> bool:
    """Whether the tokenizer can be made from the metadata."""
    return kind_of(metadata) in {("gpt2", pre) for pre in SPLITS}


def array(metadata: Mapping[str, Any], name: str, kind: type[T]) -> tuple[T, ...]:
    """The array of that name in the tokenizer's metadata; empty where there is no array of such values."""
    value = metadata.get(f"tokenizer.ggml.{name}")
    return value if isinstance(value, tuple) and all(type(item) is kind for item in value) else ()


def tokenizer_content(
    tokens: tuple[str, ...], types: tuple[int, ...], merges: tuple[str, ...], split: str, end_token: str
) -> dict[str, Any]:
    """The content of tokenizer.json. Raises `TokenizerError` when the end token or a merge's pieces are missing."""
    if end_token not in tokens:
        raise TokenizerError(f"The file has no token {end_token}, which texts must end with. It is of another model.")
    end_id = tokens.index(end_token)
    # Added tokens are in it too: the tokenizers library gives tokens that are not in the vocabulary numbers of its own.
    vocab = {
        token: number
        for number, token in enumerate(tokens)
        if types[number] in (NORMAL, CONTROL, USER_DEFINED) and token != f"[PAD{number}]"  # fills up the embeddings
    }
    pairs = [merge.split(" ") for merge in merges]
    wrong = next((pair for pair in pairs if len(pair) != 2 or "".join(pair) not in vocab), None)
    if wrong is not None:
        raise TokenizerError(f"The merge {wrong} makes no token of the file. Download it again.")
    text, end = {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": end_token, "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [text, end],
        "pair": [text, {"Sequence": {"id": "B", "type_id": 0}}, end],
        "special_tokens": {end_token: {"id": end_token, "ids": [end_id], "tokens": [end_token]}},
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            added_token(token, number, types[number]) for token, number in vocab.items() if types[number] != NORMAL
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": False},
                BYTE_LEVEL,
            ],
        },
        "post_processor": {"type": "Sequence", "processors": [BYTE_LEVEL, template]},
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab,
            "merges": pairs,
        },
    }


def added_token(token: str, number: int, type: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": token, **flags, "special": type == CONTROL}


def say_repair(path: Path, metadata: Mapping[str, Any], end_token: str, end_id: int) -> None:
    """Warn when a reader that follows the metadata would end texts differently."""
    appends, named = metadata.get("tokenizer.ggml.add_eos_token", False), metadata.get("tokenizer.ggml.eos_token_id")
    if appends and named == end_id:
        return
    stated = f"with token {named}" if appends else "with no token"
    log.warning(
        "%s would end texts %s (tokenizer.ggml.add_eos_token, eos_token_id). They end with %s (%d) instead, as the "
        "model was trained.",
        path,
        stated,
        end_token,
        end_id,
    )
