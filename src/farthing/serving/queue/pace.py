"""How many tokens a second the model computes at present.

In: batches with their seconds. Out: tokens a second over about the last ten seconds of computing.

How much came of late that goes before a request, and will go on coming, as far as one can tell.

In: the size of each request when it comes. Out: tokens a second of those that are smaller than a given one.

How large a request is, estimated before it is tokenised.

A text counts with its prompt, and at most as the context has tokens: longer ones are cut or refused.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SPEED_MEMORY_S = 10.0
# Of tokens that texts share, each text counts its own, as in the queue: so many times as many as are computed, at most.
# Prompts save about as much. What saves more, such as thousands of equal texts, tells nothing of the texts behind them.
MOST_SHARED = 4
ARRIVALS_MEMORY_S = 30.0
MAX_REQUESTS = 1024  # remembered: bounds the time that it takes to look through them
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


def counted_tokens(num_tokens: int, num_computed: int) -> int:
    """What texts of so many tokens count for the speed."""
    return min(num_tokens, MOST_SHARED * num_computed)


class Speed:
    """An average over time, not over batches: many short ones count as much as a long one that takes as long.

    One thread notes, any may read.
    """

    def __init__(self) -> None:
        self._decayed = (0.0, 0.0)  # tokens, seconds; replaced as one

    @property
    def tokens_per_s(self) -> float | None:
        """None before the first batch."""
        tokens, seconds = self._decayed
        return tokens / seconds if seconds > 0 else None

    def note(self, num_tokens: int, seconds: float) -> None:
        """A batch of so many tokens took so long. It must have been full, since a small one tells less."""
        tokens, before = self._decayed
        kept = math.exp(-seconds / SPEED_MEMORY_S)
        self._decayed = (tokens * kept + num_tokens, before * kept + seconds)


class Arrivals:
    """Of the last `ARRIVALS_MEMORY_S` seconds, or of the newest `MAX_REQUESTS` where more came in less."""

    def __init__(self) -> None:
        self._newest: deque[tuple[float, int]] = deque(maxlen=MAX_REQUESTS)

    def note(self, num_tokens: int, now_s: float) -> None:
        self._newest.append((now_s, num_tokens))

    def tokens_per_s(self, fewer_than: int, now_s: float) -> float:
        """Of requests with fewer tokens than that."""
        since_s = now_s - ARRIVALS_MEMORY_S
        if len(self._newest) == MAX_REQUESTS:
            since_s = max(since_s, min(self._newest[0][0], now_s - 1))
        found = (num_tokens for at_s, num_tokens in self._newest if at_s >= since_s and num_tokens < fewer_than)
        return sum(found) / (now_s - since_s)
