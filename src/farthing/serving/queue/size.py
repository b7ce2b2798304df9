"""How large a request is, estimated before it is tokenised.

A text counts with its prompt, and at most as the context has tokens: longer ones are cut or refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Of UTF-8: about right for English, for Chinese, whose characters take three, and most of what lies between.
BYTES_PER_TOKEN = 4
# Characters of a request whose size is estimated on the event loop; of more it takes milliseconds.
SMALL_CHARS = 2**16
# Texts of a request that are tokenised and queued together: enough to fill a batch of short ones.
SLICE_TEXTS = 256
# Their characters, with what goes before each of them; a longer text is a slice of its own.
SLICE_CHARS = 2**18


@dataclass(frozen=True)
class Size:
    """`num_tokens` are those of all texts, each with all of its own that are computed."""

    num_texts: int
    num_tokens: int

    @classmethod
    def of(cls, inputs: Sequence[Any], prefix: str, context_length: int) -> Size:
        """Of texts, texts as token ids, or pairs of texts, each with `prefix` before it."""
        most = context_length - min(context_length, estimate_tokens(prefix, context_length) if prefix else 0)
        num_tokens = sum(estimate_tokens(item, most) for item in inputs)
        return cls(len(inputs), num_tokens + (context_length - most) * len(inputs))

    def __add__(self, other: Size) -> Size:
        return Size(self.num_texts + other.num_texts, self.num_tokens + other.num_tokens)

    def at_most(self, num_texts: int) -> Size:
        """Of that many of the texts, as long as they are on average."""
        if self.num_texts <= num_texts:
            return self
        return Size(num_texts, self.num_tokens * num_texts // self.num_texts)

    def held(self, num_texts: int, num_tokens: int) -> Size:
        """What of it is in the queue at once, where that are at most so many texts and tokens."""
        size = self.at_most(num_texts)
        if size.num_tokens <= num_tokens:
            return size
        return Size(max(1, size.num_texts * num_tokens // size.num_tokens), num_tokens)

    def less(self, num_texts: int) -> Size:
        """Without so many of the texts."""
        return self.at_most(max(0, self.num_texts - num_texts))


def estimate_tokens(item: Any, most: int) -> int:
    """At most `most`, whatever there is of it."""
    if isinstance(item, str):
        if len(item) >= most * BYTES_PER_TOKEN:
            return most
        # What is no valid Unicode is refused later, with its index.
        num_bytes = len(item) if item.isascii() else len(item.encode("utf-8", "surrogatepass"))
        return min(num_bytes // BYTES_PER_TOKEN + 1, most)
    if isinstance(item, tuple):
        return min(sum(estimate_tokens(part, most) for part in item), most)
    return min(len(item), most)


def count_chars(item: Any) -> int:
    """Of a text, or of a pair of texts; of token ids their number."""
    return sum(map(len, item)) if isinstance(item, tuple) else len(item)
