"""The web application: a service behind its dialects, with limits, errors and metrics around them.

In: a `Service`, started by whoever runs it, and settings. Out: an ASGI application.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from farthing import __version__
from farthing.core.settings import AccessSettings, ServerSettings
from farthing.core.settings.access import split_list
from farthing.server import admin, errors, openai, rerank
from farthing.server.access import Access
from farthing.server.body_limit import BodyLimit
from farthing.server.guard import Guard
from farthing.server.metrics import Metrics
from farthing.server.rate_headers import RateHeaders
from farthing.server.service import Service
from farthing.serving.stats import ServingStats, in_all


def create_app(service: Service, settings: ServerSettings, access: AccessSettings | None = None) -> FastAPI:
    """The application over `service`; several can live in one process. Its `state.guard` reads API keys again.

    Raises `SettingsError` when the API keys cannot be read.
    """
    access = access or AccessSettings()

    def read_stats() -> ServingStats | None:
        found = service.stats()
        return in_all(found) if found else None

    guard = Guard(access)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await guard.close()

    metrics = Metrics(read_stats, service.memory)
    # FastAPI's own pages load their scripts from a CDN; ours works without a network.
    app = FastAPI(
        title="Farthing",
        version=__version__,
        description=f"Served: {', '.join(service.models.listed_names)}. OpenAI's clients work as they are.",
        docs_url=None,
        redoc_url=None,
        dependencies=guard.dependencies,
        lifespan=lifespan,
    )
    app.state.guard = guard
    errors.install(app)
    app.include_router(openai.router(service))
    app.include_router(rerank.router(service))
    app.include_router(admin.router(service, metrics))
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    if guard.has_limits:
        app.add_middleware(RateHeaders)
    if access.cors_origins:
        # Before any route, so that a preflight, which carries no key, is answered.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=split_list(access.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["*"],
        )
    app.add_middleware(Access, metrics=metrics)  # added last: the outermost
    return app
