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
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from farthing.core.errors import SettingsError
from farthing.core.resolve import Resolved
from farthing.core.settings import ServerSettings, ServingSettings
from farthing.server.answers import Companion
from farthing.server.app import create_app
from farthing.server.drain import DrainingServer
from farthing.server.loading import Models
from farthing.server.service import Service

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)

BACKLOG = 2048


def run(model: str, resolved: Resolved) -> int:
    """Serve `model` until told to stop; return the exit status. `resolved` has every group of settings.

    Raises:
        SettingsError: the address cannot be listened on.
    """
    settings, serving = resolved.group(ServerSettings), resolved.group(ServingSettings)
    listener = listen(settings.host, settings.port)
    url = base_url(settings.host, listener)

    models = Models(model, resolved)
    names, companion = names_of(model, settings.served_model_name), None
    if settings.reranker is not None:
        companion = Companion(names_of(settings.reranker, settings.served_reranker_name), models.load_reranker)
    service = Service(
        names[0],
        models.load,
        serving,
        other_names=names[1:],
        load_fallback=models.load_fallback if serving.fallback_model else None,
        companion=companion,
    )
    server = make_server(create_app(service, settings), settings)

    def stop() -> None:
        server.should_exit = True

    # Also before uvicorn listens to them, and after.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    print(f"Listening on {url}, loading {model}", flush=True)
    service.start(on_ready=lambda: print(banner(service, url), flush=True), on_failure=stop)
    server.run(sockets=[listener])
    if not service.close():
        # A thread that still loads or computes must not be caught in C++ code by the end of the interpreter.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(service.exit_status)
    return service.exit_status


def names_of(model: str, served_name: str | None) -> tuple[str, ...]:
    """What clients may call the model; the first is what it is listed as."""
    return (served_name,) if served_name else (display_name(model), model)


def display_name(model: str) -> str:
    """The model's name as it was given; of a local folder only its last part, which says enough to clients."""
    folder = Path(model).expanduser()
    return folder.resolve().name if folder.is_dir() else model


def make_server(app: FastAPI, settings: ServerSettings) -> uvicorn.Server:
    """uvicorn with our limits and our end, and none of its own logging below warnings."""
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
        timeout_graceful_shutdown=settings.drain_timeout_s,
    )
    return DrainingServer(config, settings.drain_delay_s)


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


def banner(service: Service, url: str) -> str:
    """What is served, and commands to try it with."""
    lines = ["Ready"]
    for name, model in zip(service.listed_names, service.served, strict=True):
        if model.task == "embed":
            command = f"""curl {url}/v1/embeddings -d '{{"input": "Hello"}}'"""
        else:
            command = f"""curl {url}/v1/rerank -d '{{"query": "Hello", "documents": ["Hi", "Bye"]}}'"""
        facts = {"model" if model is service.served[0] else "reranker": name, **model.facts(), "try": command}
        lines += [f"  {label:<10}  {value}" for label, value in facts.items()]
    return "\n".join(lines)
