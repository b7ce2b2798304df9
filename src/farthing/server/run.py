"""One server process, from settings to exit status.

In: a model's name and settings. Out: a process that listens at once, loads the model meanwhile, and on SIGTERM or
SIGINT stops accepting, finishes what runs, and closes the model. The exit status is 0 after such a stop, 1 when the
model could not be loaded, 70 when the worker died and the settings say to exit then.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from farthing.core.errors import SettingsError
from farthing.core.settings import EngineSettings, ServerSettings, ServingSettings, SourceSettings
from farthing.server.app import create_app
from farthing.server.service import Service

if TYPE_CHECKING:
    from fastapi import FastAPI

    from farthing.serving.embedder import Embedder

logger = logging.getLogger(__name__)

BACKLOG = 2048
STOP_GRACE_S = 25  # below the 30 s after which Kubernetes and systemd setups commonly kill


def run(
    model: str, source: SourceSettings, engine: EngineSettings, serving: ServingSettings, settings: ServerSettings
) -> int:
    """Serve `model` until told to stop; return the exit status.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    listener = listen(settings.host, settings.port)
    url = base_url(settings.host, listener)

    def load() -> Embedder:
        # Torch takes seconds to import; the port should answer before that.
        from farthing.engine.budget import less_memory
        from farthing.serving.embedder import Embedder

        small = service.fallback.plan if service.fallback is not None else None
        held = small.ledger.own_bytes(small.main_place) if small is not None else 0
        planned = less_memory(engine, held)
        return Embedder.from_settings(model, source, engine, serving, may_round=True, planned=planned)

    def load_fallback() -> Embedder:
        from farthing.serving.embedder import Embedder

        assert serving.fallback_model is not None
        own = replace(engine, format="auto", residency="auto", context_length=None, max_batch_tokens=None)
        return Embedder.from_settings(serving.fallback_model, source, own, replace(serving, memory_steps="off"))

    name = settings.served_model_name or display_name(model)
    service = Service(
        name,
        load,
        serving,
        other_names=() if settings.served_model_name else (model,),
        load_fallback=load_fallback if serving.fallback_model else None,
    )
    server = make_server(create_app(service, settings))

    def stop() -> None:
        server.should_exit = True

    # uvicorn raises a signal again once it has stopped, for whoever handled it before; that must not kill us.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    print(f"Listening on {url}, loading {model}", flush=True)
    service.start(on_ready=lambda embedder: print(banner(embedder, service.name, url), flush=True), on_failure=stop)
    server.run(sockets=[listener])
    if not service.close():
        # A thread that still loads or computes must not be caught in C++ code by the end of the interpreter.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(service.exit_status)
    return service.exit_status


def display_name(model: str) -> str:
    """The model's name as it was given; of a local folder only its last part, which says enough to clients."""
    folder = Path(model).expanduser()
    return folder.resolve().name if folder.is_dir() else model


def make_server(app: FastAPI) -> uvicorn.Server:
    """uvicorn with our limits and none of its own logging below warnings."""
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="off",
        workers=1,
        backlog=BACKLOG,
        timeout_graceful_shutdown=STOP_GRACE_S,
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `SettingsError` when the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsError(
            f"Cannot listen on {host} port {port}: {error.strerror or error}. "
            "Choose another address with --host and --port (0: any free port).",
            param="port",
        ) from error


def base_url(host: str, listener: socket.socket) -> str:
    """An address that a client on this machine can call."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


def banner(embedder: Embedder, name: str, url: str) -> str:
    """What is served, and a command to try it with."""
    facts = {"model": name, **embedder.facts(), "try": f"""curl {url}/v1/embeddings -d '{{"input": "Hello"}}'"""}
    return "\n".join(["Ready", *(f"  {label:<10}  {value}" for label, value in facts.items())])
