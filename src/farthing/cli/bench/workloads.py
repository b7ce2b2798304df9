"""What is measured: texts of given lengths and of given beginnings and ends alike, as token ids seeded by their round.

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
        prefix_tokens: that all texts begin with alike, special tokens included.
        query_tokens: the last ones of these, which are others in every round; those before them stay the same.
        suffix_tokens: that all texts end with alike, special tokens included.
    """

    help: str
    lengths: tuple[int, ...]
    rounds: int = 5
    by_default: bool = True
    prefix_tokens: int = 0
    query_tokens: int = 0
    suffix_tokens: int = 0


def queries() -> Workload:
    """Short texts behind one instruction, with the token that ends every text of Qwen3-Embedding."""
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
    """Documents in Qwen3-Reranker's template: system prompt and instruction, query; document; end of the template."""
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
    """A text of each length, none longer than `max_tokens`, in an order and with ids that are the same for a number.

    For another `number`, of a round, all ids are others but those of the prefix before the query, and of the suffix.
    `before` and `after` are the special tokens that every text of the model begins and ends with. What all texts begin
    and end with alike is cut only where a text has nothing else.
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
