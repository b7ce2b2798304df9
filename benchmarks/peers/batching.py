"""How a workload is cut into the batches that an engine computes: lists of indices, in the order of computing.

Every function takes the texts' lengths in order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Batches = list[list[int]]
Cut = Callable[[Sequence[int]], Batches]


def in_order(texts_per_batch: int) -> Cut:
    """As texts come, a fixed number at a time."""

    def cut(lengths: Sequence[int]) -> Batches:
        indices = list(range(len(lengths)))
        return [indices[start : start + texts_per_batch] for start in range(0, len(indices), texts_per_batch)]

    return cut


def packed(budget_tokens: int) -> Cut:
    """As texts come, while their tokens fit the budget; a longer text alone. For engines that do not pad."""

    def cut(lengths: Sequence[int]) -> Batches:
        return fill(range(len(lengths)), lambda batch: sum(lengths[index] for index in batch) <= budget_tokens)

    return cut


def by_length(budget_tokens: int) -> Cut:
    """Sorted, while texts and their padding fit the budget; a longer text alone."""

    def cut(lengths: Sequence[int]) -> Batches:
        order = sorted(range(len(lengths)), key=lambda index: lengths[index])
        return fill(order, lambda batch: len(batch) * lengths[batch[-1]] <= budget_tokens)

    return cut


def fill(order: Sequence[int], fits: Callable[[list[int]], bool]) -> Batches:
    batches: Batches = []
    for index in order:
        if batches and fits([*batches[-1], index]):
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
