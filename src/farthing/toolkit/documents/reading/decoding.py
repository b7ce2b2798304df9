"""Decodes a file's bytes, in whatever encoding they are."""

from __future__ import annotations

import re
from collections.abc import Callable

from farthing.core.errors import InputError
from farthing.toolkit.records.encoding import encoding_of, guessed_encoding, not_encoded

CHARSET, DECLARED_BYTES = re.compile(rb"""(?:charset|encoding) ?= ?["']?([A-Za-z0-9_-]{1,40})"""), 1024


def decoded(content: bytes, name: str, on_guess: Callable[[str], object] = lambda _: None) -> str:
    """Decode a file by its byte-order mark, else as UTF-8, else in the encoding that it declares, else by a guess from
    its beginning."""
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
            except (UnicodeDecodeError, LookupError):  # the declared encoding may be wrong
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
    """The encoding that a web page or XML declares in its first bytes; None where it declares none."""
    found = CHARSET.search(content[:DECLARED_BYTES])
    return None if found is None else found[1].decode("ascii")
