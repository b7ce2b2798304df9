"""The content of a model's tokenizer.json, wherever it comes from, and the tokenizer that is made of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from farthing.checkpoint.json_file import read_bounded, read_json
from farthing.checkpoint.model_folder import own_folder
from farthing.core.errors import CheckpointError, TokenizerError

CONFIG = "tokenizer_config.json"
TOKENIZER_FILES = ("tokenizer.json", CONFIG)
BERT_CLASSES = ("BertTokenizer", "BertTokenizerFast")
NORMALIZER = re.compile(r'"normalizer"\s{0,80}:\s{0,80}')
# Fields of tokenizer_config.json, and what they are called in tokenizer.json.
NORMALIZER_FIELDS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
# How Qwen's tokenizers cut a text before merging, by the name that GGUF files give it.
SPLITS = {
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
MAX_TOKENIZER_BYTES = 64 * 2**20  # XLM-R's has 17 MB, Gemma's 33
# Texts that a tokenizer has to turn into ids: words, a script that few vocabularies have, and characters that none has.
TRIAL = ("a", "Hello, World! 12", "\U000132b9 \U0010fffd")
# Repetition, on which careless regular expressions take for ever; the library gives up and panics.
LONG_TRIAL = "a" * 64 + "!"


def tokenizer_json(path: Path) -> bytes | None:
    """The tokenizer.json of a folder; of a GGUF file, what its metadata say, else the tokenizer.json beside it.

    None where there is none.

    Raises:
        CheckpointError: a GGUF file is damaged.
        TokenizerError: the file cannot be read or is too large, or the metadata are incomplete.
    """
    if path.is_file():
        from farthing.checkpoint.gguf.tokenizer import gguf_tokenizer_json  # no folder waits for it

        return gguf_tokenizer_json(path) or read_if_there(path.with_name("tokenizer.json"))
    folder = own_folder(path)
    content = read_if_there(folder / "tokenizer.json")
    if content is None:
        return None
    return as_configured(content, read_json(folder / CONFIG, "Take it from the original model."))


def as_configured(content: bytes, config: Any) -> bytes:
    """A tokenizer.json whose BERT normaliser is as tokenizer_config.json says, where the two files differ.

    transformers goes by tokenizer_config.json. For other tokenizers, that file has nothing that changes a text's ids.
    """
    if not isinstance(config, dict) or config.get("tokenizer_class") not in BERT_CLASSES:
        return content
    stated = {ours: config[key] for key, ours in NORMALIZER_FIELDS.items() if isinstance(config.get(key), bool)}
    try:
        normalizer = normalizer_of(content)
        if normalizer is None or all(normalizer.get(key) == value for key, value in stated.items()):
            return content
        stored = json.loads(content)
        stored["normalizer"].update(stated)
    except (ValueError, KeyError, TypeError, RecursionError):  # the library will say what is wrong with the file
        return content
    return json.dumps(stored, ensure_ascii=False).encode()


def normalizer_of(content: bytes) -> dict[str, Any] | None:
    """The BERT normaliser of a tokenizer.json, and None where there is none. Raises `ValueError` for no JSON.

    It is decoded alone, since the vocabulary beside it takes long. A token of that name has no object as its value.
    """
    text, start = content.decode(), 0
    decoder = json.JSONDecoder()
    while match := NORMALIZER.search(text, start):
        found, start = decoder.raw_decode(text, match.end())
        if isinstance(found, dict):
            return found if found.get("type") == "BertNormalizer" else None
    return None


def tokenizer_path(path: Path) -> Path:
    """The file that a model's tokenizer is read from."""
    return path if path.is_file() else own_folder(path) / "tokenizer.json"


def read_if_there(file: Path) -> bytes | None:
    try:
        return read_bounded(file, MAX_TOKENIZER_BYTES, "Take tokenizer.json from the original model.")
    except CheckpointError as error:
        raise TokenizerError(str(error)) from error


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a model's folder or GGUF file, which has been tried on some texts.

    Raises:
        CheckpointError: a GGUF file is damaged.
        TokenizerError: there is no tokenizer, it cannot be read, or it fails at texts that it has no tokens for.
    """
    content = tokenizer_json(path)
    file = tokenizer_path(path)
    if content is None:
        where = "beside it" if path.is_file() else "there"
        raise TokenizerError(f"{path} has no tokenizer.json. Save the model's tokenizer {where} in the fast format.")
    with translated(f"{file} cannot be read"):
        tokenizer = Tokenizer.from_buffer(content)
    with translated(f"{file} cannot tokenise every text"):
        tokenizer.encode_batch_fast([*TRIAL, LONG_TRIAL])
    return tokenizer


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn whatever the tokenizers library raises into a `TokenizerError` that begins with `what`."""
    try:
        yield
    except Exception as error:  # the library raises bare Exception for whatever is wrong with the file
        raise TokenizerError(f"{what}: {str(error)[:300]}. Take tokenizer.json from the original model.") from error
    except BaseException as error:
        # A panic of the library's Rust code, which pyo3 makes no Exception of and gives no name to import.
        if type(error).__name__ != "PanicException":
            raise
        raise TokenizerError(f"{what}: {str(error)[:300]}. Take tokenizer.json from the original model.") from error
