"""What a `Service` answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from farthing.core.errors import WrongTaskError

if TYPE_CHECKING:
    from farthing.models.heads import Task
    from farthing.server.models.slot import ModelEntry
    from farthing.serving.backend import EmbedBackend
    from farthing.serving.request import EmbedRequest, EmbedResult, RerankResult


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


def takes(slot: ModelEntry, request: EmbedRequest) -> bool:
    """Whether a model of a route can take a request that was meant for another; True while it is not loaded.

    It cannot for token ids, which belong to one tokenizer, for more dimensions than it has, and for a vector of every
    token from another server.
    """
    embedder = cast("EmbedBackend | None", slot.backend)
    if embedder is None:
        return True
    if request.per_token and embedder.local is None:
        return False
    are_texts = all(isinstance(item, str) for item in request.inputs)
    return are_texts and (request.dimensions is None or request.dimensions <= embedder.dimensions)


def wrong_task(name: str, task: Task, able: Sequence[str] = ()) -> WrongTaskError:
    """Of a model that does the other one. `able` names the models of this server that do `task`."""
    named = " or ".join(map(repr, able))
    if task == "embed":
        message = f"The model {name!r} scores pairs and makes no vectors: POST /v1/rerank. "
        remedy = f"For vectors ask {named}." if able else "For vectors start the server with an embedding model."
    else:
        message = f"The model {name!r} makes vectors and scores no pairs. "
        remedy = f"Ask {named}." if able else "Start the server with --reranker and a model that does."
    return WrongTaskError(message + remedy, param="model")
