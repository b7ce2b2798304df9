"""Routes for operators and people: /health, /metrics, /docs, /."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from farthing.core.version import __version__
from farthing.server.models.service import Service
from farthing.server.models.slot import ModelEntry
from farthing.server.observe.metrics import Metrics
from farthing.server.pages.docs import render_docs
from farthing.server.pages.front import prefers_html, render_front
from farthing.server.pages.page import html_answer

if TYPE_CHECKING:
    from farthing.serving.governor import MemoryState


def router(service: Service, metrics: Metrics) -> APIRouter:
    routes = APIRouter(tags=["Operation"])

    async def health() -> Response:
        """200 when requests can be answered; 503 with the reason while loading, unhealthy or stopping."""
        state = service.health()
        content: dict[str, object] = {"status": state.status, "model": service.default.name}
        if state.reason:
            content["reason"] = state.reason
        if service.embedder is not None:
            content |= {
                "dimensions": service.embedder.dimensions,
                "context_length": service.embedder.context_length,
                "space": service.embedder.space.id,
            }
        if len(service.models.entries) > 1:
            content["models"] = [model_object(entry) for entry in service.models.entries]
        memory = service.memory()
        if memory is not None:
            content["memory"] = memory_object(memory)
        return JSONResponse(content, 200 if state.status == "ready" else 503)

    not_ready: dict[int | str, dict[str, Any]] = {503: {"description": "Not now; `reason` says why."}}
    routes.add_api_route(
        "/health", health, methods=["GET"], response_model=None, responses=not_ready, summary="Readiness"
    )

    @routes.get("/metrics", response_model=None, response_class=PlainTextResponse, summary="Prometheus metrics")
    async def render_metrics(request: Request) -> Response:
        content, content_type = metrics.render(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": content_type})

    @routes.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        return html_answer(render_docs(request.app.openapi(), str(request.base_url)))

    @routes.get("/", include_in_schema=False)
    async def index(request: Request) -> Response:
        if prefers_html(request.headers.get("accept", "")):
            needs_key = request.app.state.guard.has_keys
            answer: Response = html_answer(render_front(service, str(request.base_url), needs_key=needs_key))
        else:
            model = service.default.name
            facts = {"name": "farthing", "version": __version__, "model": model, "docs": "/docs", "health": "/health"}
            answer = JSONResponse(facts)
        answer.headers["vary"] = "accept"
        return answer

    return routes


def model_object(entry: ModelEntry) -> dict[str, object]:
    """Return a model's name and what is known of it now."""
    facts: dict[str, object] = {"model": entry.name, "task": entry.task, "state": entry.state}
    if entry.failure is not None:
        facts["reason"] = entry.reason
    backend = entry.backend
    if backend is not None:
        facts |= {"context_length": backend.context_length, "healthy": backend.health().ready}
    return facts


def memory_object(memory: MemoryState) -> dict[str, object]:
    """Return the step that is taken to save memory, and the latest readings, in bytes."""
    return {
        "step": memory.step,
        "name": memory.name,
        "readings": [
            {"place": reading.place, "used": reading.used_bytes, "limit": reading.limit_bytes}
            for reading in memory.readings
        ],
    }
