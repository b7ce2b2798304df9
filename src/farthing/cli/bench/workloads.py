"""What is measured: texts of given lengths, with prefixes and suffixes in common, as token ids seeded by their round.

In: a workload, and the model's limits on its texts. Out: token ids. This module loads neither torch nor a model, so
that the command's help can name the workloads.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from farthing.core.deferred import dataclass

SHORTEST, LONGEST, NUM_MIXED = 16, 512, 64
MIXED = tuple(SHORTEST + place * (LONGEST - SHORTEST) // (NUM_MIXED - 1) for place in range(NUM_MIXED))


@dataclass(frozen=True)
class Workload:
    """
    Attributes:
        lengths: tokens of each text, special tokens included.
        rounds: timed runs, unless the user says how many.
        prefix_tokens: tokens that all texts begin with, special tokens included.
        query_tokens: how many of the last prefix tokens are new in every round; those before them stay the same.
        suffix_tokens: tokens that all texts end with, special tokens included.
    """

    help: str
    lengths: tuple[int, ...]
    rounds: int = 5
    by_default: bool = True
    prefix_tokens: int = 0
    query_tokens: int = 0
    suffix_tokens: int = 0


def queries() -> Workload:
    """Return a workload of short texts behind one instruction, with the token that ends every Qwen3-Embedding text."""
    count, instruction, shortest, longest, end = 256, 24, 8, 16, 1
    own = (shortest + place % (longest - shortest + 1) for place in range(count))
    return Workload(
        f"{count} of {shortest} to {longest} behind an instruction of {instruction}",
        tuple(instruction + length + end for length in own),
        by_default=False,
        prefix_tokens=instruction,
        suffix_tokens=end,
    )


def rerank(count: int, shortest: int, longest: int) -> Workload:
    """Return a workload of documents in Qwen3-Reranker's template.

    Its parts are: system prompt and instruction, query; document; end of the template.
    """
    prompt, query, end = 60, 12, 9
    own = (shortest + place * (longest - shortest) // (count - 1) for place in range(count))
    lengths = f"{shortest} to {longest}" if shortest < longest else f"{shortest}"
    return Workload(
        f"{count} documents of {lengths} behind a prompt and query of {prompt + query}, with {end} after them",
        tuple(prompt + query + length + end for length in own),
        by_default=False,
        prefix_tokens=prompt + query,
        query_tokens=query,
        suffix_tokens=end,
    )


WORKLOADS = {
    "latency": Workload("one text of 128 tokens", (128,)),
    "throughput": Workload("8 texts of 128", (128,) * 8),
    "mixed": Workload(f"{NUM_MIXED} texts of {SHORTEST} to {LONGEST} in random order", MIXED),
    "long": Workload("one text of 8192", (8192,), rounds=1, by_default=False),
    "queries": queries(),
    "rerank": rerank(50, 80, 120),
    "rerank-short": rerank(100, 30, 30),
}


def make_texts(
    lengths: Sequence[int],
    *,
    vocab: int,
    max_tokens: int,
    number: int = 0,
    prefix_tokens: int = 0,
    query_tokens: int = 0,
    suffix_tokens: int = 0,
    before: Sequence[int] = (),
    after: Sequence[int] = (),
) -> list[list[int]]:
    """Return a text of each length, none longer than `max_tokens`. The same `number` gives the same order and ids.

    `number` is that of the round. In another round all ids are different, except those of the suffix and of the prefix
    before the query. `before` and `after` are the special tokens that every text of the model begins and ends with. The
    common prefix and suffix are cut only where a text has nothing else.
    """
    kept, fresh = random.Random(0), random.Random(f"round {number}")

    def tokens(source: random.Random, count: int) -> list[int]:
        return [source.randrange(vocab) for _ in range(count)]

    prefix = [*tokens(kept, prefix_tokens - query_tokens - len(before)), *tokens(fresh, query_tokens)]
    suffix = tokens(kept, suffix_tokens - len(after))
    texts = []
    for length in fresh.sample(lengths, len(lengths)):
        num_free = max(0, min(length, max_tokens) - len(before) - len(after))
        own = tokens(fresh, num_free - len(prefix) - len(suffix))
        texts.append([*before, *[*prefix, *own, *suffix][:num_free], *after])
    return texts
