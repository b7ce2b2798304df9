"""What a `Service` answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from farthing.serving.request import EmbedResult
    from farthing.serving.rerank_request import RerankResult


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
