"""The web application: a service behind its dialects, with limits, errors and metrics around them.

In: a `Service`, started by whoever runs it, and settings. Out: an ASGI application.
"""

from __future__ import annotations

import logging

from fastapi import FastAPI

from farthing import __version__
from farthing.core.settings import ServerSettings, TelemetrySettings
from farthing.server import admin, errors
from farthing.server.access import Access
from farthing.server.body_limit import BodyLimit
from farthing.server.dialects import openai, rerank
from farthing.server.metrics import Metrics, ServerState, model_state
from farthing.server.service import Service
from farthing.server.tracing import NoTracing, Tracing

logger = logging.getLogger(__name__)


def create_app(
    service: Service,
    settings: ServerSettings,
    telemetry: TelemetrySettings | None = None,
    tracing: Tracing | None = None,
) -> FastAPI:
    """The application over `service`; several can live in one process."""
    telemetry = telemetry or TelemetrySettings()
    if telemetry.log_texts:
        logger.warning("The texts of all requests go into the log (log_texts).")
    metrics = Metrics(lambda: server_state(service))
    # FastAPI's own pages load their scripts from a CDN; ours works without a network.
    app = FastAPI(
        title="Farthing",
        version=__version__,
        description=f"Served: {', '.join(service.listed_names)}. OpenAI's clients work as they are.",
        docs_url=None,
        redoc_url=None,
    )
    errors.install(app)
    app.include_router(openai.router(service))
    app.include_router(rerank.router(service))
    app.include_router(admin.router(service, metrics))
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    # Added last: the outermost.
    app.add_middleware(Access, metrics=metrics, tracing=tracing or NoTracing(), telemetry=telemetry)
    return app


def server_state(service: Service) -> ServerState:
    """What the metrics tell of `service` now."""
    models = [model_state(name, model) for name, model in zip(service.listed_names, service.served, strict=False)]
    return ServerState(service.health().status == "ready", models, service.memory())
