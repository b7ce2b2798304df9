"""Opens a backend that is computed elsewhere: by servers that run already, or by an engine that is started here.

Opening it takes a model's name and settings. It blocks until the first upstream is ready, so it is done in a thread
that may block: the one that loads models.
"""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import Literal

from farthing.core.errors import SettingsError
from farthing.core.settings import EngineSettings, ServingSettings, SourceSettings, UpstreamSettings
from farthing.models.spec import EmbeddingSpec
from farthing.upstream.child_engine.child import Engine
from farthing.upstream.child_engine.command import engine_command, executable, free_port
from farthing.upstream.embedder import UpstreamEmbedder
from farthing.upstream.prompts import read_prompts
from farthing.upstream.reranker import UpstreamReranker

logger = logging.getLogger(__name__)
Task = Literal["embed", "rerank"]


def open_upstream(
    name: str,
    settings: UpstreamSettings,
    source: SourceSettings,
    engine: EngineSettings,
    serving: ServingSettings,
    *,
    task: Task = "embed",
) -> UpstreamEmbedder | UpstreamReranker:
    """The backend of the model that clients call `name`.

    Args:
        settings: has either `upstream` set, or an `engine` that computes the model `name`.
        engine: only its context length is of use; a warning says what else was set.

    Raises:
        NoUpstreamError: no upstream was ready in time, or the engine does not start.
        SettingsError: the settings cannot be met; the engine is not installed.
        ModelError: the model, or the one of `upstream_prompts`, cannot be found or read.
    """
    warn_of_unused(engine)
    if settings.engine != "farthing":
        return open_engine(name, settings, source, engine, serving, task)
    if task == "rerank":
        return UpstreamReranker(name, settings.urls, settings, serving, context_length=engine.context_length)
    spec = None if settings.upstream_prompts is None else read_prompts(settings.upstream_prompts, source)
    return UpstreamEmbedder(
        name, settings.urls, settings, serving, spec=spec, context_length=context_length(engine, spec)
    )


def open_engine(
    name: str,
    settings: UpstreamSettings,
    source: SourceSettings,
    engine: EngineSettings,
    serving: ServingSettings,
    task: Task,
) -> UpstreamEmbedder:
    """As `open_upstream`, for an engine that is started here. Such an engine only makes vectors."""
    # These import torch, which a server whose models are elsewhere does not need otherwise.
    from farthing.sources.find import find_model

    if task == "rerank":
        raise SettingsError(
            f"engine is {settings.engine}, which is started for vectors alone. Start one that reranks by itself, and "
            "give its URL as upstream.",
            param="engine",
        )
    executable(settings.engine)  # before anything is downloaded
    found = find_model(name, source)
    spec = read_prompts(settings.upstream_prompts or name, source)
    port = free_port()
    child = Engine(settings.engine, engine_command(settings, found.path, name, port, engine.context_length))
    child.start()
    try:
        return UpstreamEmbedder(
            name, [f"http://127.0.0.1:{port}/v1"], settings, serving,
            spec=spec, context_length=context_length(engine, spec), starter=child,
        )  # fmt: skip
    except BaseException:
        child.close()
        raise


def context_length(engine: EngineSettings, spec: EmbeddingSpec | None) -> int | None:
    return engine.context_length or (None if spec is None else spec.max_tokens)


def warn_of_unused(engine: EngineSettings) -> None:
    chosen = [item.name for item in fields(engine) if getattr(engine, item.name) != item.default]
    unused = [name for name in chosen if name != "context_length"]
    if unused:
        logger.warning("Not used for a model that is computed elsewhere: %s", ", ".join(unused))
