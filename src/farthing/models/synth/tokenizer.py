"""A tokenizer for synthetic checkpoints: one token for each byte, and Qwen3's special tokens at their true ids.

The published tokenizer has 150,000 merges that cannot be made up; this one needs no download, takes any text, and
ends texts as Qwen3-Embedding's does. It makes three to four times as many tokens of a text.
"""

from __future__ import annotations

from typing import Any

END = "<|endoftext|>"
SPECIAL_IDS = {END: 151643, "<|im_start|>": 151644, "<|im_end|>": 151645}
MARKUP_IDS = {"<think>": 151667, "</think>": 151668}
# The reranker's two answers, at their true ids, and the piece that leads to the longer one.
WORD_IDS = {"no": 2152, "yes": 9693, "ye": 40000}
MERGES = [["n", "o"], ["y", "e"], ["ye", "s"]]


def byte_characters() -> list[str]:
    """The printable stand-in of each byte in byte-level BPE (GPT-2, https://github.com/openai/gpt-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def tokenizer_json(*, appends_end: bool, vocab: int = 151669) -> dict[str, Any]:
    """The content of tokenizer.json; with `appends_end` every text ends with <|endoftext|>.

    Tokens for which a model of `vocab` embeddings has no row are left out, as in the published files.
    """
    markup = {name: number for name, number in MARKUP_IDS.items() if number < vocab}
    words, merges = (WORD_IDS, MERGES) if max(WORD_IDS.values()) < vocab else ({}, [])
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    end = {"SpecialToken": {"id": END, "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [text, end],
        "pair": [text, {"Sequence": {"id": "B", "type_id": 0}}, end],
        "special_tokens": {END: {"id": END, "ids": [SPECIAL_IDS[END]], "tokens": [END]}},
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added(name, number) for name, number in {**SPECIAL_IDS, **markup}.items()],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": byte_level,
        "post_processor": template if appends_end else byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {
                **{character: byte for byte, character in enumerate(byte_characters())},
                **words,
                **SPECIAL_IDS,
                **markup,
            },
            "merges": merges,
        },
    }


def added(name: str, number: int) -> dict[str, object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": name, **flags, "special": name in SPECIAL_IDS}
