"""How long a request's texts took, by stage, for whoever asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timings:
    """Seconds that a text spent in each stage; of several texts, their mean.

    Attributes:
        tokenize_s: cleaning and tokenising the slice that held it.
        queue_s: from then until the first batch with a text of the slice began.
        compute_s: from then until the last of the slice's batches ended.
    """

    tokenize_s: float = 0.0
    queue_s: float = 0.0
    compute_s: float = 0.0


def mean(parts: Iterable[tuple[int, Timings]]) -> Timings:
    """Of slices, each with its number of texts."""
    parts = list(parts)
    num_texts = sum(count for count, _ in parts) or 1
    return Timings(
        sum(count * part.tokenize_s for count, part in parts) / num_texts,
        sum(count * part.queue_s for count, part in parts) / num_texts,
        sum(count * part.compute_s for count, part in parts) / num_texts,
    )


NOT_TIMED = Timings()
