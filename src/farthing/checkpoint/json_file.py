"""Reads the small JSON files of a model's folder, which may come from a stranger.

In: a path. Out: what the file holds. Whatever is wrong with the file becomes one typed error: a pipe is not waited for,
a huge file is not read, and deep nesting does not exhaust the stack.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from farthing.core.errors import CheckpointError
from farthing.core.files import UnfitFileError, read_small_bytes

MAX_JSON_BYTES = 4 * 2**20  # the longest config.json and tokenizer_config.json of published models have some 100 kB
MAX_DEPTH = 64  # lists and objects inside one another


def read_json(file: Path, remedy: str = "Download the model again.") -> Any:
    """The parsed file; None when there is no file of that name, or it says null.

    Raises:
        CheckpointError: the file cannot be read, is larger than `MAX_JSON_BYTES`, or is no JSON.
    """
    content = read_bounded(file, MAX_JSON_BYTES, remedy)
    if content is None:
        return None
    try:
        value = json.loads(content.decode("utf-8"))
    except ValueError as error:  # no JSON, no UTF-8, a number of thousands of digits
        raise CheckpointError(f"{file} cannot be read: {str(error)[:300]}. {remedy}") from error
    except RecursionError:
        value, is_deep = None, True
    else:
        is_deep = is_deeper(value, MAX_DEPTH)
    if is_deep:
        raise CheckpointError(f"{file} cannot be read: it nests deeper than {MAX_DEPTH} levels. {remedy}")
    return value


def read_bounded(file: Path, max_bytes: int, remedy: str = "Download the model again.") -> bytes | None:
    """The content of a regular file; None when there is no file of that name.

    Raises:
        CheckpointError: the file cannot be read, is no plain file, or is larger than `max_bytes`.
    """
    try:
        return read_small_bytes(file, max_bytes)
    except (UnfitFileError, OSError, ValueError) as error:  # ValueError: a null character in the name
        raise CheckpointError(f"{file} cannot be read: {error}. {remedy}") from error


def require_regular(file: Path, remedy: str = "Download the model again.") -> None:
    """Raise `CheckpointError` unless this is a regular file: a library would wait for a pipe."""
    try:
        is_regular = stat.S_ISREG(file.stat().st_mode)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error}. {remedy}") from error
    if not is_regular:
        raise CheckpointError(f"{file} cannot be read: it is no plain file. {remedy}")


def is_deeper(value: Any, depth: int) -> bool:
    """Whether lists and objects are nested more than `depth` levels deep."""
    level = [value]
    for _ in range(depth):
        level = [
            item
            for outer in level
            if isinstance(outer, (dict, list))
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return any(isinstance(item, (dict, list)) for item in level)
