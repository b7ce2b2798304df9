"""One server process, from settings to exit status.

In: models and settings. Out: a process that listens at once, loads the model meanwhile, and on SIGTERM or
SIGINT stops accepting, finishes what runs, and closes the model. The exit status is 0 after such a stop, 1 when the
model could not be loaded, 70 when the worker died and the settings say to exit then.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn

from farthing.core.errors import SettingsError
from farthing.core.models_file import ModelsFile
from farthing.core.resolve import Resolved
from farthing.core.settings import CacheSettings, EngineSettings, ServerSettings, ServingSettings, TelemetrySettings
from farthing.server.app import create_app
from farthing.server.directory import Directory
from farthing.server.drain import DrainingServer
from farthing.server.entry import ModelEntry
from farthing.server.loading import Models
from farthing.server.service import Service
from farthing.server.tracing import open_tracing

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)

BACKLOG = 2048


def run(chosen: ModelsFile, resolved: Resolved) -> int:
    """Serve models until told to stop; return the exit status. `resolved` has every group of settings.

    Raises:
        SettingsError: the address cannot be listened on, or names of models or routes contradict each other.
        MissingExtraError: traces are asked for and OpenTelemetry is not installed.
    """
    settings = resolved.group(ServerSettings)
    tracing = open_tracing(resolved.group(TelemetrySettings))
    models = Models(chosen.models, resolved.group(EngineSettings), resolved.group(CacheSettings))
    directory = Directory(models.entries, chosen.routes)
    listener = listen(settings.host, settings.port)
    url = base_url(settings.host, listener)
    service = Service(
        directory, resolved.group(ServingSettings), prepare=models.prepare, read_cache=lambda: models.cache
    )
    server = make_server(create_app(service, resolved, tracing), settings)

    def stop() -> None:
        server.should_exit = True

    # Also before uvicorn listens to them, and after.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    print(f"Listening on {url}, loading {', '.join(entry.name for entry in models.entries)}", flush=True)
    service.start(on_ready=lambda: print(banner(service, url), flush=True), on_failure=stop)
    server.run(sockets=[listener])
    tracing.close()
    if not service.close():
        # A thread that still loads or computes must not be caught in C++ code by the end of the interpreter.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(service.exit_status)
    return service.exit_status


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
        lifespan="on",
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
    for entry in service.models.entries:
        backend = entry.backend
        label = "model" if entry is service.default else "reranker" if entry.task == "rerank" else "and"
        facts = {label: entry.name}
        if backend is None:
            facts["state"] = "loaded when it is first asked"
        else:
            facts |= {**backend.facts(), "try": f"curl {url}{trial(entry)}"}
        lines += [f"  {label:<10}  {value}" for label, value in facts.items()]
    return "\n".join(lines)


def trial(entry: ModelEntry) -> str:
    if entry.task == "embed":
        return """/v1/embeddings -d '{"input": "Hello"}'"""
    return """/v1/rerank -d '{"query": "Hello", "documents": ["Hi", "Bye"]}'"""
