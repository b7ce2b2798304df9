"""What a caller of a reranker asks for and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from farthing.core.errors import InputError
from farthing.serving.request import TextEnd
from farthing.serving.timings import NOT_TIMED, Timings
from farthing.serving.urgency import USUAL, Urgency

Pair = tuple[str, str]  # a query and a document


@dataclass(frozen=True)
class RerankRequest:
    """
    Attributes:
        inputs: pairs of a query and a document.
        instruction: the task in words, for models that take one; None for the model's default.
        truncate: cut documents to the context (None does too), or refuse those that are too long.
        truncate_from: where documents that are too long lose tokens.
        urgency: its lane in the queue and its time limit.
        max_tokens: of a pair, special tokens and prompts included, where that is less than the context; None for that.
        max_document_tokens: of each document, which is cut to them whatever `truncate` says; None for no such limit.
    """

    inputs: Sequence[Pair]
    instruction: str | None = None
    truncate: bool | None = None
    truncate_from: TextEnd = "end"
    urgency: Urgency = USUAL
    max_tokens: int | None = None
    max_document_tokens: int | None = None


@dataclass(frozen=True)
class RerankResult:
    """
    Attributes:
        logits: float32 [pairs], in the order of the inputs.
        num_tokens: tokens of all pairs, prompts and special tokens included.
        num_computed_tokens: those of them that were computed for this request, and not shared with other texts.
        truncated: indices of pairs whose document was cut.
        timings: of its pairs.
    """

    logits: np.ndarray
    num_tokens: int
    num_computed_tokens: int
    truncated: tuple[int, ...] = ()
    timings: Timings = NOT_TIMED

    @property
    def scores(self) -> np.ndarray:
        """float32 [pairs], from 0 to 1: the sigmoid of the logits."""
        return np.asarray(0.5 * (1 + np.tanh(0.5 * self.logits.astype(np.float64))), dtype=np.float32)

    def ranking(self, top_n: int | None = None) -> list[Ranked]:
        """The best first, the first of equal ones before the others; the `top_n` best, all without."""
        scores, best = self.scores, np.argsort(-self.logits, kind="stable")[:top_n]
        return [Ranked(int(index), float(scores[index]), float(self.logits[index])) for index in best]


@dataclass(frozen=True)
class Ranked:
    """A document by its index in the request; the score is the sigmoid of the logit."""

    index: int
    score: float
    logit: float


def check_top_n(top_n: int | None) -> None:
    """Raise `InputError` when it is less than 1."""
    if top_n is not None and top_n < 1:
        raise InputError(f"top_n is {top_n}; it must be at least 1.", param="top_n")
