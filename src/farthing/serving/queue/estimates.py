"""What waits are estimated from: the speed of the model, the rate of arrivals, and the size of a request.

The speed. In: batches with their seconds. Out: tokens a second over about the last ten seconds of computing.

The arrivals. In: the size of each request when it arrives. Out: tokens a second of the requests that are smaller than a
given one. These go before it and, as far as one can tell, will go on coming.

The size of a request is estimated before it is tokenised. A text counts with its prompt, and with at most as many
tokens as the context has: longer texts are cut or refused.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from farthing.core.deferred import dataclass

SPEED_MEMORY_S = 10.0
# Tokens that texts share count for each of the texts, as in the queue, but all tokens together count for at most this
# many times as many as are computed. Prompts save about as much. What saves more, such as thousands of equal texts,
# tells nothing about the texts behind them.
MOST_SHARED = 4
ARRIVALS_MEMORY_S = 30.0
MAX_REQUESTS = 1024  # that are remembered: bounds the time that it takes to look through them
# Bytes of UTF-8. It is about right for English, for Chinese, whose characters take three, and for most of what lies
# between.
BYTES_PER_TOKEN = 4
# Requests of at most this many characters have their size estimated on the event loop; for more it takes milliseconds.
SMALL_CHARS = 2**16
# Texts of a request that are tokenised and queued together: enough to fill a batch with short texts.
SLICE_TEXTS = 256
# Characters of these texts, with the prompt before each of them; a longer text is a slice of its own.
SLICE_CHARS = 2**18


@dataclass(frozen=True)
class Size:
    """A number of texts and of tokens: the sum over all texts, each with all of its tokens that are computed."""

    num_texts: int
    num_tokens: int

    @classmethod
    def of(cls, inputs: Sequence[Any], prefix: str, context_length: int) -> Size:
        """The estimated size of texts, lists of token ids, or pairs of texts, each with `prefix` before it."""
        most = context_length - min(context_length, estimate_tokens(prefix, context_length) if prefix else 0)
        num_tokens = sum(estimate_tokens(item, most) for item in inputs)
        return cls(len(inputs), num_tokens + (context_length - most) * len(inputs))

    def __add__(self, other: Size) -> Size:
        return Size(self.num_texts + other.num_texts, self.num_tokens + other.num_tokens)

    def at_most(self, num_texts: int) -> Size:
        """The size of at most that many of the texts, each as long as they are on average."""
        if self.num_texts <= num_texts:
            return self
        return Size(num_texts, self.num_tokens * num_texts // self.num_texts)

    def held(self, num_texts: int, num_tokens: int) -> Size:
        """The size of the part that is in the queue at once, where at most so many texts and tokens are."""
        size = self.at_most(num_texts)
        if size.num_tokens <= num_tokens:
            return size
        return Size(max(1, size.num_texts * num_tokens // size.num_tokens), num_tokens)

    def less(self, num_texts: int) -> Size:
        """The size without that many of the texts."""
        return self.at_most(max(0, self.num_texts - num_texts))


def estimate_tokens(item: Any, most: int) -> int:
    """The estimated number of tokens of an input, but no more than `most`."""
    if isinstance(item, str):
        if len(item) >= most * BYTES_PER_TOKEN:
            return most
        # Text that is not valid Unicode is refused later, with its index.
        num_bytes = len(item) if item.isascii() else len(item.encode("utf-8", "surrogatepass"))
        return min(num_bytes // BYTES_PER_TOKEN + 1, most)
    if isinstance(item, tuple):
        return min(sum(estimate_tokens(part, most) for part in item), most)
    return min(len(item), most)


def count_chars(item: Any) -> int:
    """The number of characters of a text or a pair of texts; for token ids, how many there are."""
    return sum(map(len, item)) if isinstance(item, tuple) else len(item)


def counted_tokens(num_tokens: int, num_computed: int) -> int:
    """The number of tokens that count for the speed, of texts with `num_tokens` tokens of which `num_computed` are
    computed.
    """
    return min(num_tokens, MOST_SHARED * num_computed)


class Speed:
    """An average over time, not over batches: many short batches count as much as one long one that takes as long.

    Only one thread may note batches; any thread may read.
    """

    def __init__(self) -> None:
        self._decayed = (0.0, 0.0)  # tokens, seconds; replaced together

    @property
    def tokens_per_s(self) -> float | None:
        """The speed in tokens a second; None before the first batch."""
        tokens, seconds = self._decayed
        return tokens / seconds if seconds > 0 else None

    def note(self, num_tokens: int, seconds: float) -> None:
        """Note a batch of that many tokens and seconds. It must have been full, since a small batch tells less."""
        tokens, before = self._decayed
        kept = math.exp(-seconds / SPEED_MEMORY_S)
        self._decayed = (tokens * kept + num_tokens, before * kept + seconds)


class Arrivals:
    """Requests of the last `ARRIVALS_MEMORY_S` seconds, or the newest `MAX_REQUESTS` where more than that arrived."""

    def __init__(self) -> None:
        self._newest: deque[tuple[float, int]] = deque(maxlen=MAX_REQUESTS)

    def note(self, num_tokens: int, now_s: float) -> None:
        self._newest.append((now_s, num_tokens))

    def tokens_per_s(self, fewer_than: int, now_s: float) -> float:
        """The rate at which requests with fewer tokens than `fewer_than` have been arriving."""
        since_s = now_s - ARRIVALS_MEMORY_S
        if len(self._newest) == MAX_REQUESTS:
            since_s = max(since_s, min(self._newest[0][0], now_s - 1))
        found = (num_tokens for at_s, num_tokens in self._newest if at_s >= since_s and num_tokens < fewer_than)
        return sum(found) / (now_s - since_s)
