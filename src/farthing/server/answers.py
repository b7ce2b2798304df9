"""What a `Service` is made of and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from farthing.serving.embedder import Embedder
    from farthing.serving.request import EmbedRequest, EmbedResult
    from farthing.serving.rerank_request import RerankResult
    from farthing.serving.reranker import Reranker


@dataclass(frozen=True)
class ServiceHealth:
    """`reason` is empty when ready."""

    status: Literal["loading", "ready", "overloaded", "unhealthy", "closed"]
    reason: str = ""


@dataclass(frozen=True)
class Answer:
    """
    Attributes:
        model: name of the model that made the vectors.
        memory_step: what is done to save memory at the moment; empty when nothing is.
    """

    result: EmbedResult
    model: str
    memory_step: str = ""


@dataclass(frozen=True)
class Scores:
    """`model` is the name of the model that made them."""

    result: RerankResult
    model: str


@dataclass(frozen=True)
class Companion:
    """A reranker beside the embedding model: its names, of which the first is listed, and how it is loaded."""

    names: Sequence[str]
    load: Callable[[], Reranker]


def can_answer(embedder: Embedder, request: EmbedRequest) -> bool:
    """Token ids are another model's, and vectors have the length that they have."""
    are_texts = all(isinstance(item, str) for item in request.inputs)
    return are_texts and (request.dimensions is None or request.dimensions <= embedder.dimensions)
