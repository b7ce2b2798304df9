"""The steps that every dialect takes between reading a request's body and writing its answer.

In: the service, the HTTP request whose body has been read, and what it asks for in the terms of `farthing.serving`.
Out: the service's answer, and the headers that go with it. The dialects themselves know the bodies and their shapes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from farthing.core.errors import DeadlineError, EngineError, InputError
from farthing.server.callers.guard import charge_tokens, keep_reservation, reserve_tokens
from farthing.server.dialects.token_ids import TokenIds
from farthing.server.http.disconnect import unless_hung_up
from farthing.server.http.request_record import exchange_of
from farthing.server.http.urgency import urgency_of
from farthing.server.limits.in_flight import claim_answer
from farthing.serving.queue.estimates import SLICE_TEXTS, Size
from farthing.serving.request import NOT_TIMED, USUAL, Urgency

if TYPE_CHECKING:
    from starlette.requests import Request

    from farthing.server.models.answers import Answer, Scores
    from farthing.server.models.service import Service
    from farthing.serving.request import EmbedRequest, RerankRequest

MAX_LISTED_INDICES = 100
LISTED_TOKEN_NUMBERS = 6  # space that a token takes in an answer, in numbers of a vector

T = TypeVar("T")


async def embed(service: Service, request: Request, wanted: EmbedRequest, model: str | None) -> Answer:
    """Return vectors for a client that asked for the model `model`.

    Raises what `Service.embed` raises, `ClientDisconnect` when the client hangs up, and `DeadlineError` when its time
    is over; in the last two cases the work is cancelled.
    """
    exchange = exchange_of(request)
    exchange.texts = wanted.inputs
    urgency = urgency_of(request, service.request_timeout_s)
    if urgency is not USUAL:
        wanted = replace(wanted, urgency=urgency)
    token_ids: TokenIds = request.app.state.token_ids
    wanted = await token_ids.admit(request, wanted)
    chosen = service.choose(model, "embed", wanted)
    await claim_answer(request, chosen.num_numbers(wanted, service.max_token_vectors))
    begun = service.begin(wanted, chosen)
    answer = begun.answer
    if answer is None:
        await reserve_tokens(request, lambda: estimate_request(wanted, wanted.prompt, chosen.context_length))
        with paying_for_failures(request, wanted):
            answer = await unless_hung_up(request, service.finish(begun), urgency)
    result = answer.result
    exchange.note_work(len(result.vectors), result.num_tokens, result.timings)
    if result.num_cached:
        exchange.note(cached=result.num_cached)
    await charge_tokens(request, result.num_tokens)
    return token_ids.warned(wanted, answer)


async def rerank(service: Service, request: Request, wanted: RerankRequest, model: str | None) -> Scores:
    """Return scores for a client that asked for the model `model`. Raises as `embed`."""
    exchange = exchange_of(request)
    exchange.texts = wanted.inputs
    urgency = urgency_of(request, service.request_timeout_s)
    if urgency is not USUAL:
        wanted = replace(wanted, urgency=urgency)
    chosen = service.choose(model, "rerank")
    await reserve_tokens(request, lambda: estimate_request(wanted, None, chosen.context_length))
    with paying_for_failures(request, wanted):
        answer = await unless_hung_up(request, service.score(wanted, chosen), urgency)
    exchange.note_work(len(answer.result.logits), answer.result.num_tokens, answer.result.timings)
    await charge_tokens(request, answer.result.num_tokens)
    return answer


async def list_tokens(
    service: Service, request: Request, work: Callable[[Urgency], Awaitable[tuple[list[T], int]]]
) -> list[T]:
    """Return what `work` finds for each text; it also returns the number of their tokens. Raises as `embed`."""
    urgency = urgency_of(request, service.request_timeout_s)
    await claim_answer(request, LISTED_TOKEN_NUMBERS * service.max_listed_tokens)
    found, num_tokens = await unless_hung_up(request, service.in_turn(lambda: work(urgency)), urgency)
    exchange_of(request).note_work(len(found), num_tokens, NOT_TIMED)
    await charge_tokens(request, num_tokens)
    return found


@contextmanager
def paying_for_failures(request: Request, wanted: EmbedRequest | RerankRequest) -> Iterator[None]:
    """Make a failed request pay its estimate where a part of it may have been computed: texts that cannot be served
    are found slice by slice, while earlier slices are computed."""
    try:
        yield
    except (EngineError, DeadlineError):
        keep_reservation(request)
        raise
    except InputError:
        if len(wanted.inputs) > SLICE_TEXTS:
            keep_reservation(request)
        raise


def estimate_request(wanted: EmbedRequest | RerankRequest, prompt: str | None, context_length: int) -> int:
    """Return the estimated tokens of all texts, each with the words put before it and cut to the context."""
    return Size.of(wanted.inputs, (prompt or "") + (wanted.instruction or ""), context_length).num_tokens


def embed_headers(answer: Answer) -> dict[str, str]:
    """Return headers, of bounded length, with facts about vectors that have no place in the bodies."""
    result = answer.result
    headers = {"x-farthing-space": result.space.id}
    if answer.memory_step:
        headers["x-farthing-memory"] = answer.memory_step
    if result.num_cached or result.num_uncached:
        headers["x-farthing-cache"] = f"hits={result.num_cached}, misses={result.num_uncached}"
    if result.warnings:
        headers["x-farthing-warning"] = "; ".join(result.warnings)
    return headers | truncated_header(result.truncated) | unknown_header(result.unknown.texts)


def truncated_header(indices: Sequence[int]) -> dict[str, str]:
    """Return the header that says which texts of the request were cut."""
    return {"x-farthing-truncated": listed(indices)} if indices else {}


def unknown_header(indices: Sequence[int]) -> dict[str, str]:
    """Return the header that says of which texts of the request the model knows no word."""
    return {"x-farthing-unknown": listed(indices)} if indices else {}


def listed(indices: Sequence[int]) -> str:
    more = ["..."] if len(indices) > MAX_LISTED_INDICES else []
    return ",".join([*map(str, indices[:MAX_LISTED_INDICES]), *more])
