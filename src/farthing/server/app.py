"""The web application: a service behind its dialects, with limits, errors and metrics around them.

In: a `Service`, started by whoever runs it, and settings. Out: an ASGI application.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from farthing import __version__
from farthing.core.settings import ServerSettings
from farthing.server import admin, errors, openai, rerank
from farthing.server.access import Access
from farthing.server.body_limit import BodyLimit
from farthing.server.metrics import Metrics
from farthing.server.service import Service
from farthing.serving.stats import ServingStats, in_all


def create_app(service: Service, settings: ServerSettings) -> FastAPI:
    """The application over `service`; several can live in one process."""

    def read_stats() -> ServingStats | None:
        return in_all(model.stats() for model in service.served) if service.served else None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.disconnect()

    metrics = Metrics(read_stats, service.memory, service.cache)
    # FastAPI's own pages load their scripts from a CDN; ours works without a network.
    app = FastAPI(
        title="Farthing",
        version=__version__,
        description=f"Served: {', '.join(service.listed_names)}. OpenAI's clients work as they are.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    errors.install(app)
    app.include_router(openai.router(service))
    app.include_router(rerank.router(service))
    app.include_router(admin.router(service, metrics))
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(Access, metrics=metrics)  # added last: the outermost
    return app
