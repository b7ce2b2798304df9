"""The web application: a service behind its dialects, with limits, errors and metrics around them.

In: a `Service`, which the caller starts, and settings. Out: an ASGI application.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from farthing.core.deferred import deferred_checks

with deferred_checks():  # those of FastAPI's OpenAPI document, which hardly anybody asks for
    from fastapi import FastAPI

from farthing.core.resolve import Resolved
from farthing.core.settings import AccessSettings, ConnectionSettings, ServerSettings, TelemetrySettings
from farthing.core.settings.access import split_list
from farthing.core.version import __version__
from farthing.server import admin
from farthing.server.callers.cors import Cors
from farthing.server.callers.forwarded import Forwarded
from farthing.server.callers.guard import Guard
from farthing.server.callers.web_pages import WebPages, listened_name
from farthing.server.dialects.cohere import routes as cohere
from farthing.server.dialects.fields import FieldRules
from farthing.server.dialects.ollama import routes as ollama
from farthing.server.dialects.openai import routes as openai
from farthing.server.dialects.rerank import routes as rerank
from farthing.server.dialects.tei import routes as tei
from farthing.server.dialects.token_ids import TokenIds
from farthing.server.http import errors
from farthing.server.http.unpacking import Unpacking
from farthing.server.http.variants import Variants
from farthing.server.limits.in_flight import InFlight
from farthing.server.limits.metering import Metering
from farthing.server.limits.request_memory import RequestMemory
from farthing.server.models.service import Service
from farthing.server.observe.metrics import Metrics, ServerState, model_state
from farthing.server.observe.middleware import Access
from farthing.server.observe.tracing import NoTracing, Tracing
from farthing.server.pages import openapi

logger = logging.getLogger(__name__)


def create_app(
    service: Service, settings: Resolved, tracing: Tracing | None = None, memory: RequestMemory | None = None
) -> FastAPI:
    """Return the application over `service`; several applications can live in one process.

    Its `state.guard` can read the API keys again. `settings` has every group. `memory` is what requests may hold; where
    it is not given, it follows from the settings. Raises `SettingsError` when the API keys, or the vocabulary of
    foreign token ids, cannot be read.
    """
    access, telemetry = settings.group(AccessSettings), settings.group(TelemetrySettings)
    if telemetry.log_texts:
        logger.warning("The texts of all requests go into the log (log_texts).")
    guard = Guard(access)
    server = settings.group(ServerSettings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.disconnect()
        await guard.close()

    memory = memory or RequestMemory.of(server.request_memory)
    metrics = Metrics(lambda: server_state(service, memory))
    for entry in service.models.entries:
        entry.tell(metrics.observer(entry.name))
    # FastAPI's own pages load their scripts from a CDN; ours works without a network.
    app = FastAPI(
        title="Farthing",
        version=__version__,
        description=f"Served: {', '.join(service.models.listed_names)}. OpenAI's clients work as they are.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # see Variants
        dependencies=guard.dependencies,
        lifespan=lifespan,
        # Traces and metrics are our own (`farthing.server.observe`); FastAPI would look for others at every request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.guard = guard
    errors.install(app)
    for dialect in (openai, rerank, tei, cohere, ollama):
        # Not by include_router, with which FastAPI looks for the route of each request twice.
        app.router.routes.extend(dialect.router(service, guard.dependencies).routes)
    if server.index_folder is not None:
        from farthing.server.dialects.indexes import routes as indexes  # with the toolkit, which others do not need

        app.include_router(indexes.router(service, server.index_folder))
    app.include_router(admin.router(service, metrics))
    openapi.install(app, guard)
    app.state.max_body_values = server.max_body_values
    app.state.token_ids = TokenIds(server)
    app.state.field_rules = FieldRules(refuses_unknown=server.unknown_fields == "error")
    trusted, origins = settings.group(ConnectionSettings).trusted_proxies, access.origins()
    # Each middleware goes around those added before it.
    app.add_middleware(InFlight, max_bytes=server.max_body_bytes, memory=memory)
    if guard.has_limits:
        app.add_middleware(Metering)
    app.add_middleware(Unpacking)
    if access.cors_origins:
        # Before any route, so that a preflight, which carries no key, is answered.
        app.add_middleware(Cors, origins=origins)
    hosts = access.hosts(*listened_name(server.host))
    app.add_middleware(WebPages, needs_key=guard.has_keys, hosts=hosts, origins=origins)
    app.add_middleware(Variants)
    if trusted is not None:
        app.add_middleware(Forwarded, trusted=split_list(trusted))
    app.add_middleware(Access, metrics=metrics, tracing=tracing or NoTracing(), telemetry=telemetry)
    return app


def server_state(service: Service, requests: RequestMemory) -> ServerState:
    """Return what the metrics tell of `service` at the moment."""
    models = [model_state(entry.name, entry.backend, entry.stats()) for entry in service.models.entries]
    return ServerState(service.health().status == "ready", models, service.memory(), service.cache(), requests)
