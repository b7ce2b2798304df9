"""A file's bytes as text, in whatever encoding they are."""

from __future__ import annotations

import re
from collections.abc import Callable

from farthing.core.errors import InputError
from farthing.toolkit.records.encoding import encoding_of, guessed_encoding, not_encoded

CHARSET, DECLARED_BYTES = re.compile(rb"""(?:charset|encoding) ?= ?["']?([A-Za-z0-9_-]{1,40})"""), 1024


def decoded(content: bytes, name: str, on_guess: Callable[[str], object] = lambda _: None) -> str:
    """What a byte-order mark says, UTF-8, what the page says of itself, or what its beginning looks like."""
    encoding = encoding_of(content, name)
    if encoding is not None:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError as error:
            raise not_encoded(name, encoding, error) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        declared, guessed = declared_encoding(content), guessed_encoding(content)
        for encoding in filter(None, (declared, guessed)):
            try:
                text = content.decode(encoding)
            except (UnicodeDecodeError, LookupError):  # what a page says of itself may be wrong
                continue
            if encoding != declared:
                on_guess(encoding)
            return text
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"Line {line} of {name} is not UTF-8: byte 0x{content[error.start]:02x}; nor can another encoding be told. "
            "Convert the file, for example: iconv -f LATIN1 -t UTF-8 OLD > NEW",
            param="input",
        ) from error


def declared_encoding(content: bytes) -> str | None:
    """What a web page or XML says in its first bytes."""
    found = CHARSET.search(content[:DECLARED_BYTES])
    return None if found is None else found[1].decode("ascii")
