"""What is measured: texts of given lengths, as seeded token ids.

In: a workload's name, and what of the model bounds its texts. Out: token ids. Loads neither torch nor a model, so that
the command's help can name the workloads.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

SHORTEST, LONGEST, NUM_MIXED = 16, 512, 64
MIXED = tuple(SHORTEST + place * (LONGEST - SHORTEST) // (NUM_MIXED - 1) for place in range(NUM_MIXED))


@dataclass(frozen=True)
class Workload:
    """
    Attributes:
        lengths: tokens of each text, special tokens included.
        rounds: timed runs, unless the user says how many.
    """

    help: str
    lengths: tuple[int, ...]
    rounds: int = 5
    by_default: bool = True


WORKLOADS = {
    "latency": Workload("one text of 128 tokens", (128,)),
    "throughput": Workload("8 texts of 128", (128,) * 8),
    "mixed": Workload(f"{NUM_MIXED} texts of {SHORTEST} to {LONGEST} in random order", MIXED),
    "long": Workload("one text of 8192", (8192,), rounds=1, by_default=False),
}


def make_texts(
    lengths: Sequence[int], *, vocab: int, max_tokens: int, before: Sequence[int] = (), after: Sequence[int] = ()
) -> list[list[int]]:
    """A text of each length, none longer than `max_tokens`, in an order and with ids that are always the same.

    `before` and `after` are the special tokens that every text of the model begins and ends with.
    """
    source = random.Random(0)
    texts = []
    for length in source.sample(lengths, len(lengths)):
        num_free = max(0, min(length, max_tokens) - len(before) - len(after))
        texts.append([*before, *(source.randrange(vocab) for _ in range(num_free)), *after])
    return texts
