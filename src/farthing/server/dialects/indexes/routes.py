"""The routes of indexes: make an index, fill it, search it, remove it.

In: JSON bodies of our own shape. Out: JSON; errors have OpenAI's shape. `farthing.server.indexes` does the work.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from farthing.core.errors import FarthingError
from farthing.server.callers.guard import charge_tokens
from farthing.server.dialects.indexes.schemas import (
    AddDocumentsBody,
    AddedCard,
    CreateIndexBody,
    DeletedCard,
    DeleteDocumentsBody,
    IndexCard,
    IndexList,
    RemovedCard,
    ResultList,
    SearchBody,
)
from farthing.server.dialects.openai.routes import ERRORS as OPENAI_ERRORS
from farthing.server.dialects.openai.schemas import ErrorResponse
from farthing.server.dialects.route import request_body
from farthing.server.http.body import Body, read_body
from farthing.server.http.disconnect import unless_hung_up
from farthing.server.http.request_record import exchange_of
from farthing.server.http.urgency import urgency_of
from farthing.server.indexes.library import Library
from farthing.server.indexes.models import Work
from farthing.server.models.service import Service
from farthing.serving.request import NOT_TIMED
from farthing.toolkit.index.index import IndexInfo
from farthing.toolkit.index.result import SearchResult

T = TypeVar("T")
Handler = Callable[..., Awaitable[Response]]

ERRORS: dict[int | str, dict[str, Any]] = {
    **OPENAI_ERRORS,
    404: {"model": ErrorResponse, "description": "There is no such index, or no such model."},
    409: {
        "model": ErrorResponse,
        "description": "The index is there already, is being changed by another process, cannot be read, or holds "
        "vectors that no served model makes; or something else has its name.",
    },
    403: {"model": ErrorResponse, "description": "The server may not read or change the files of the index."},
    507: {"model": ErrorResponse, "description": "The disk is full."},
}


def router(service: Service, place: str) -> APIRouter:
    """Return the routes over the indexes in a folder, or at an address of Milvus. Raises as `open_shelf`."""
    library = Library(place, service)

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        yield
        library.close()

    routes = APIRouter(prefix="/v1/indexes", tags=["Indexes"], lifespan=lifespan)

    def work_of(request: Request) -> Work:
        return Work(service, urgency_of(request, service.request_timeout_s))

    async def done(request: Request, work: Work, call: Coroutine[Any, Any, T]) -> T:
        """Return the result, unless the client hangs up or its time is over; the cost is noted and charged anyway."""
        try:
            return await unless_hung_up(request, call, work.urgency)
        finally:
            exchange_of(request).note_work(work.num_texts, work.num_tokens, NOT_TIMED)
            await charge_tokens(request, work.num_tokens)

    def route(
        method: str, path: str, summary: str, answer: type, body: type[Body] | None = None
    ) -> Callable[[Handler], Handler]:
        return routes.api_route(
            path,
            methods=[method],
            summary=summary,
            response_model=None,
            responses={200: {"model": answer}, **ERRORS},
            openapi_extra=request_body(body) if body else None,
        )

    @route("GET", "", "List the indexes", IndexList)
    async def list_indexes(request: Request) -> Response:
        work = work_of(request)
        found = await done(request, work, library.list(work))
        cards = [card(name, info) for name, info in found.items() if isinstance(info, IndexInfo)]
        broken = [broken_card(name, error) for name, error in found.items() if isinstance(error, FarthingError)]
        return json({"object": "list", "data": cards, "broken": broken})

    @route("POST", "", "Make an index", IndexCard, CreateIndexBody)
    async def create(request: Request) -> Response:
        body, work = await read_body(request, CreateIndexBody), work_of(request)
        sizes = body.dimensions, body.max_tokens, body.overlap_tokens
        made = await done(request, work, library.create(work, body.name, body.model, *sizes))
        return json(card(body.name, made))

    @route("GET", "/{name}", "Describe an index", IndexCard)
    async def info(name: str, request: Request) -> Response:
        work = work_of(request)
        return json(card(name, await done(request, work, library.info(work, name))))

    @route("DELETE", "/{name}", "Remove an index", RemovedCard)
    async def remove(name: str, request: Request) -> Response:
        """Removes only what Farthing made: files that somebody else put there stay, and are named in `kept`."""
        work = work_of(request)
        kept = await done(request, work, library.remove(work, name))
        return json({"deleted": 1, **({"kept": kept} if kept else {})})

    @route("POST", "/{name}/documents", "Add documents", AddedCard, AddDocumentsBody)
    async def add(name: str, request: Request) -> Response:
        """Documents that the index already holds unchanged cost nothing; documents of the same id are replaced."""
        body, work = await read_body(request, AddDocumentsBody), work_of(request)
        added = await done(request, work, library.add(work, name, body.to_documents()))
        counts = {
            "new": added.num_new,
            "replaced": added.num_changed,
            "unchanged": added.num_unchanged,
            "passages": added.num_passages,
        }
        return json(counts, {"x-farthing-warning": plainly_split(added.num_plain)} if added.num_plain else {})

    @route("POST", "/{name}/documents/delete", "Take documents out", DeletedCard, DeleteDocumentsBody)
    async def delete(name: str, request: Request) -> Response:
        body, work = await read_body(request, DeleteDocumentsBody), work_of(request)
        return json({"deleted": await done(request, work, library.delete(work, name, body.ids))})

    @route("POST", "/{name}/compact", "Make searches fast", IndexCard)
    async def compact(name: str, request: Request) -> Response:
        work = work_of(request)
        return json(card(name, await done(request, work, library.compact(work, name))))

    @route("POST", "/{name}/search", "Search an index", ResultList, SearchBody)
    async def search(name: str, request: Request) -> Response:
        """Returns the passages that answer a query, best first."""
        body, work = await read_body(request, SearchBody), work_of(request)
        steps = library.search(work, name, body.to_query(), body.rerank, json_results)
        return Response(await done(request, work, steps), media_type="application/json")

    return routes


def json(content: object, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), headers=headers, media_type="application/json")


def json_results(found: Sequence[SearchResult]) -> bytes:
    """Return the body of an answer. It is written one result at a time, so that other threads run in between."""
    return b'{"object":"list","data":[' + b",".join(orjson.dumps(result.to_dict()) for result in found) + b"]}"


def plainly_split(num_documents: int) -> str:
    return f"{num_documents} documents were split without regard to their structure: finding it would take too long"


def broken_card(name: str, error: FarthingError) -> dict[str, object]:
    return {"name": name, "object": "broken_index", "code": error.code, "message": str(error)}


def card(name: str, info: IndexInfo) -> dict[str, object]:
    manifest, facts = info
    return {
        "name": name,
        "object": "index",
        "model": manifest.model,
        "space": manifest.space.id,
        "dimensions": manifest.space.dimensions,
        "max_tokens": manifest.splitting.max_tokens,
        "overlap_tokens": manifest.splitting.overlap_tokens,
        **facts._asdict(),
    }
