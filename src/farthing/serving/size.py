"""How large a request is, estimated before it is tokenised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Of UTF-8: about right for English, for Chinese, whose characters take three, and most of what lies between.
BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Size:
    """`num_tokens` are those of all texts, each with all of its own."""

    num_texts: int
    num_tokens: int

    @classmethod
    def of(cls, inputs: Sequence[Any]) -> Size:
        """Of texts, texts as token ids, or pairs of texts; prompts are not counted."""
        return cls(len(inputs), sum(map(estimate_tokens, inputs)))

    def __add__(self, other: Size) -> Size:
        return Size(self.num_texts + other.num_texts, self.num_tokens + other.num_tokens)

    def at_most(self, num_texts: int) -> Size:
        """Of that many of the texts, as long as they are on average."""
        if self.num_texts <= num_texts:
            return self
        return Size(num_texts, self.num_tokens * num_texts // self.num_texts)

    def less(self, num_texts: int) -> Size:
        """Without so many of the texts."""
        return self.at_most(max(0, self.num_texts - num_texts))


def estimate_tokens(item: Any) -> int:
    if isinstance(item, str):
        # What is no valid Unicode is refused later, with its index.
        num_bytes = len(item) if item.isascii() else len(item.encode("utf-8", "surrogatepass"))
        return num_bytes // BYTES_PER_TOKEN + 1
    if isinstance(item, tuple):
        return sum(map(estimate_tokens, item))
    return len(item)
