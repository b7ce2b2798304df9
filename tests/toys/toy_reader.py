"""A kind of file that there is not, to show that one is a file and a row: a title, a zero byte, and a text."""

from __future__ import annotations

from farthing.core.errors import InputError
from farthing.toolkit.documents.document import MARKDOWN
from farthing.toolkit.documents.reading.content import Content, OnGuess


def read_toy(content: bytes, name: str, on_guess: OnGuess) -> Content:
    title, zero, text = content.partition(b"\0")
    if not zero:
        raise InputError(f"{name} is no toy: it holds no zero byte.", param="input")
    return Content(text.decode(), title.decode(), MARKDOWN, keeps_lines=False)
