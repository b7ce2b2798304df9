"""Routes for operators and people: /health, /metrics, /docs, /."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from farthing import __version__
from farthing.server.docs import render_page
from farthing.server.metrics import Metrics
from farthing.server.service import Service

if TYPE_CHECKING:
    from farthing.serving.governor import MemoryState


def router(service: Service, metrics: Metrics) -> APIRouter:
    routes = APIRouter(tags=["Operation"])

    async def health() -> Response:
        """200 when requests can be answered; 503 with the reason while loading, unhealthy or stopping."""
        state = service.health()
        content: dict[str, object] = {"status": state.status, "model": service.name}
        if state.reason:
            content["reason"] = state.reason
        if service.embedder is not None:
            content |= {
                "dimensions": service.embedder.dimensions,
                "context_length": service.embedder.context_length,
                "space": service.embedder.space.id,
            }
        if service.reranker is not None:
            content["reranker"] = {
                "model": service.reranker_name,
                "context_length": service.reranker.context_length,
            }
        memory = service.memory()
        if memory is not None:
            content["memory"] = memory_object(memory)
        return JSONResponse(content, 200 if state.status == "ready" else 503)

    not_ready: dict[int | str, dict[str, Any]] = {503: {"description": "Not now; `reason` says why."}}
    routes.add_api_route(
        "/health", health, methods=["GET"], response_model=None, responses=not_ready, summary="Readiness"
    )
    routes.add_api_route("/health", health, methods=["HEAD"], response_model=None, include_in_schema=False)

    @routes.get("/metrics", response_model=None, summary="Prometheus metrics")
    async def render_metrics(request: Request) -> Response:
        content, content_type = metrics.render(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": content_type})

    @routes.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(render_page(request.app.openapi(), str(request.base_url)))

    @routes.get("/", include_in_schema=False)
    async def index() -> dict[str, str]:
        return {"name": "farthing", "version": __version__, "model": service.name, "docs": "/docs", "health": "/health"}

    return routes


def memory_object(memory: MemoryState) -> dict[str, object]:
    """Which step to save memory is taken, and what was read last; sizes in bytes."""
    return {
        "step": memory.step,
        "name": memory.name,
        "readings": [
            {"place": reading.place, "used": reading.used_bytes, "limit": reading.limit_bytes}
            for reading in memory.readings
        ],
    }
