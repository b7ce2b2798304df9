"""The content of a model's tokenizer.json, from wherever it comes."""

from __future__ import annotations

from pathlib import Path

from farthing.checkpoint.gguf_tokenizer import gguf_tokenizer_json
from farthing.core.errors import TokenizerError


def tokenizer_json(path: Path) -> bytes | None:
    """Of a folder, its tokenizer.json; of a GGUF file, what its metadata say, else the tokenizer.json beside it.

    None where there is none.

    Raises:
        CheckpointError: a GGUF file is damaged.
        TokenizerError: the file cannot be read, or the metadata are incomplete.
    """
    if path.is_file():
        return gguf_tokenizer_json(path) or read_if_there(path.with_name("tokenizer.json"))
    return read_if_there(path / "tokenizer.json")


def read_if_there(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TokenizerError(f"{file} cannot be read: {error}") from error
