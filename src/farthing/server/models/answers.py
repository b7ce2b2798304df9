"""The answers of a `Service`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, cast

from farthing.core.deferred import dataclass
from farthing.core.errors import WrongTaskError

if TYPE_CHECKING:
    from farthing.models.forward.heads import Task
    from farthing.server.models.slot import ModelEntry
    from farthing.serving.backend import EmbedBackend
    from farthing.serving.request import EmbedRequest, EmbedResult, RerankResult


@dataclass(frozen=True)
class ServiceHealth:
    """Whether a service can answer; `reason` is empty when it is ready."""

    status: Literal["loading", "ready", "overloaded", "unhealthy", "closed"]
    reason: str = ""


@dataclass(frozen=True)
class Answer:
    """The answer to a request for vectors.

    Attributes:
        model: the name of the model that made the vectors.
        memory_step: the step that is taken to save memory at the moment; empty when there is none.
    """

    result: EmbedResult
    model: str
    memory_step: str = ""


@dataclass(frozen=True)
class Scores:
    """The answer to a request for scores; `model` is the name of the model that made them."""

    result: RerankResult
    model: str


def takes(slot: ModelEntry, request: EmbedRequest) -> bool:
    """Return whether a model of a route can take a request that was meant for another; True while it is not loaded.

    It cannot take token ids, which belong to one tokenizer, or more dimensions than it has, or, if it runs in another
    server, a request for a vector of every token.
    """
    embedder = cast("EmbedBackend | None", slot.backend)
    if embedder is None:
        return True
    if request.per_token and embedder.local is None:
        return False
    are_texts = all(isinstance(item, str) for item in request.inputs)
    return are_texts and (request.dimensions is None or request.dimensions <= embedder.dimensions)


def wrong_task(name: str, task: Task, able: Sequence[str] = ()) -> WrongTaskError:
    """Return the error for a model that does the other task. `able` names the models of this server that do `task`."""
    named = " or ".join(map(repr, able))
    if task == "embed":
        message = f"The model {name!r} scores pairs and makes no vectors: POST /v1/rerank. "
        remedy = f"For vectors ask {named}." if able else "For vectors start the server with an embedding model."
    else:
        message = f"The model {name!r} makes vectors and scores no pairs. "
        remedy = f"Ask {named}." if able else "Start the server with --reranker and a model that does."
    return WrongTaskError(message + remedy, param="model")
