"""A text's tokens one by one, for callers who want to look at them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tokenizers import Encoding


class Token(NamedTuple):
    """
    Attributes:
        text: the part of the text that it stands for; of special tokens their name.
        special: the tokenizer added it.
        start, stop: where that part lies in the text's UTF-8, in bytes; None of special tokens.
    """

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


def tokens_of(text: str, encoding: Encoding) -> list[Token]:
    """`encoding` is that of `text`."""
    starts: Sequence[int] = range(len(text) + 1)
    if not text.isascii():
        starts = [0, *accumulate(len(char.encode()) for char in text)]
    # Each of these is made in one call that holds the interpreter's lock; others have their turn between them.
    columns = [getattr(encoding, name) for name in ("ids", "tokens", "special_tokens_mask", "offsets")]
    return [
        Token(token, name, True, None, None)
        if special
        else Token(token, text[start:stop], False, starts[start], starts[stop])
        for token, name, special, (start, stop) in zip(*columns, strict=True)
    ]
