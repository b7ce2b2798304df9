"""The web application: a service behind its dialects, with limits, errors and metrics around them.

In: a `Service`, started by whoever runs it, and settings. Out: an ASGI application.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from farthing import __version__
from farthing.core.resolve import Resolved
from farthing.core.settings import ServerSettings, TelemetrySettings
from farthing.server import admin, errors
from farthing.server.access import Access
from farthing.server.body_limit import BodyLimit
from farthing.server.dialects import cohere, ollama, openai, rerank, tei
from farthing.server.metrics import Metrics, ServerState, model_state
from farthing.server.service import Service
from farthing.server.tracing import NoTracing, Tracing

logger = logging.getLogger(__name__)


def create_app(service: Service, settings: Resolved, tracing: Tracing | None = None) -> FastAPI:
    """The application over `service`; several can live in one process. `settings` has every group."""
    telemetry = settings.group(TelemetrySettings)
    if telemetry.log_texts:
        logger.warning("The texts of all requests go into the log (log_texts).")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.disconnect()

    metrics = Metrics(lambda: server_state(service))
    for entry in service.models.entries:
        entry.tell(metrics.observer(entry.name))
    # FastAPI's own pages load their scripts from a CDN; ours works without a network.
    app = FastAPI(
        title="Farthing",
        version=__version__,
        description=f"Served: {', '.join(service.models.listed_names)}. OpenAI's clients work as they are.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    errors.install(app)
    for dialect in (openai, rerank, tei, cohere, ollama):
        app.include_router(dialect.router(service))
    app.include_router(admin.router(service, metrics))
    app.add_middleware(BodyLimit, max_bytes=settings.group(ServerSettings).max_body_bytes)
    # Added last: the outermost.
    app.add_middleware(Access, metrics=metrics, tracing=tracing or NoTracing(), telemetry=telemetry)
    return app


def server_state(service: Service) -> ServerState:
    """What the metrics tell of `service` now."""
    models = [model_state(entry.name, entry.backend, entry.stats()) for entry in service.models.entries]
    return ServerState(service.health().status == "ready", models, service.memory(), service.cache())
