"""One server process, from its settings to its exit status.

In: models and settings. Out: a process that listens at once and loads the model meanwhile. On SIGTERM or SIGINT it
stops accepting requests, finishes those in work, and closes the model. The exit status is 0 after such a stop, 1 when
the model could not be loaded, and 70 when the worker died and the settings say to exit then.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import ssl
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from farthing.core.collector import spare_the_collector
from farthing.core.errors import SettingsError
from farthing.core.models_file import ModelsFile
from farthing.core.resolve import Resolved
from farthing.core.settings import (
    CacheSettings,
    ConnectionSettings,
    EngineSettings,
    ServerSettings,
    ServingSettings,
    TelemetrySettings,
)
from farthing.core.sizes import mebibytes
from farthing.server.app import create_app
from farthing.server.http.connection import ConnectionLimits
from farthing.server.http.drain import DrainingServer
from farthing.server.http.listening import (
    BACKLOG,
    base_url,
    exposure,
    fit_connections,
    listen_unix,
    listeners_for,
    often_accepted,
)
from farthing.server.limits.request_memory import RequestMemory
from farthing.server.models.directory import Directory
from farthing.server.models.loading import Models
from farthing.server.models.service import Service
from farthing.server.observe.tracing import open_tracing
from farthing.server.pages.front import trial

if TYPE_CHECKING:
    from fastapi import FastAPI

logger = logging.getLogger(__name__)


def run(chosen: ModelsFile, resolved: Resolved) -> int:
    """Serve models until told to stop, and return the exit status. `resolved` has every group of settings.

    Raises:
        SettingsError: the server cannot listen on the address, names of models or routes contradict each other, or a
            certificate or an API key cannot be used.
        MissingExtraError: traces are asked for and OpenTelemetry is not installed.
    """
    settings = resolved.group(ServerSettings)
    connection = fit_connections(resolved.group(ConnectionSettings))
    tracing = open_tracing(resolved.group(TelemetrySettings))
    memory = RequestMemory.of(settings.request_memory)
    models = Models(chosen.models, resolved.group(EngineSettings), resolved.group(CacheSettings), memory, settings)
    directory = Directory(models.entries, chosen.routes)
    listeners = listeners_for(settings) if connection.uds is None else [listen_unix(connection.uds)]
    url = base_url(settings.host, listeners[0], connection)
    service = Service(
        directory, resolved.group(ServingSettings), prepare=models.prepare, read_cache=lambda: models.cache
    )
    app = create_app(service, resolved, tracing, memory)
    server = make_server(app, settings, connection, ends_process=True)

    def stop() -> None:
        server.should_exit = True

    # Set here so that the signals work before uvicorn captures them, and after.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, lambda *_: app.state.guard.reload())
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, pass_over)
    exposed = exposure(
        listeners[0], has_keys=app.state.guard.has_keys, takes_known_clients=connection.tls_ca is not None
    )
    if exposed:
        logger.warning("%s", exposed)
    say(f"Listening on {url}, loading {', '.join(entry.name for entry in models.entries)}")

    def on_ready() -> None:
        spare_the_collector()
        models.look_for_store()
        say(banner(service, url, memory, exposed))

    service.start(on_ready=on_ready, on_failure=stop)
    server.run(sockets=[accepting for listener in listeners for accepting in often_accepted(listener)])
    tracing.close()
    if not service.close():
        # A thread that still loads or computes must not be caught in C++ code by the end of the interpreter.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(service.exit_status)
    return service.exit_status


def pass_over(number: int, _: FrameType | None) -> None:
    """Ignore a signal that would end the process: some programs send it to all processes that they start."""
    logger.info("%s means nothing to this server and is passed over; SIGTERM stops it.", signal.Signals(number).name)


def say(text: str) -> None:
    """Print `text`. The terminal may have been closed while the model was loaded; the server goes on all the same."""
    try:
        print(text, flush=True)
    except OSError as error:
        logger.info("Standard output cannot be written to (%s): %s", error, text)


def make_server(
    app: FastAPI, server: ServerSettings, settings: ConnectionSettings, *, ends_process: bool = False
) -> uvicorn.Server:
    """Return a uvicorn server with our limits and our shutdown, which logs nothing below warnings itself.

    Raises:
        SettingsError: a certificate or key cannot be used.
    """
    config = uvicorn.Config(
        app,
        http=ConnectionLimits(settings).protocol(),
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # see `farthing.server.callers.forwarded`
        ws="none",
        lifespan="on",
        workers=1,
        backlog=BACKLOG,
        timeout_keep_alive=settings.idle_timeout_s,
        timeout_graceful_shutdown=server.drain_timeout_s,
        ssl_certfile=settings.tls_certfile,
        ssl_keyfile=settings.tls_keyfile,
        ssl_ca_certs=settings.tls_ca,
        ssl_cert_reqs=ssl.CERT_REQUIRED if settings.tls_ca else ssl.CERT_NONE,
    )
    draining = DrainingServer(config, server.drain_delay_s, ends_process=ends_process)
    try:
        config.load()
    except OSError as error:  # which ssl.SSLError is, too
        raise tls_error(settings, error) from error
    return draining


def tls_error(settings: ConnectionSettings, error: OSError) -> SettingsError:
    """Return an error that says which TLS file is wrong; OpenSSL's own errors name no file."""
    for name in ("tls_certfile", "tls_keyfile", "tls_ca"):
        path = getattr(settings, name)
        try:
            if path is not None:
                Path(path).read_bytes()
        except OSError as unreadable:
            return SettingsError(f"Cannot read {name} {path}: {unreadable.strerror}", param=name)
    key, ca = settings.tls_keyfile or "the same file", settings.tls_ca
    message = (
        f"The certificate cannot be used: {error}. {settings.tls_certfile} must hold a certificate (PEM), and {key} "
        "its private key"
    )
    return SettingsError(f"{message}, and {ca} certificates." if ca else f"{message}.", param="tls_certfile")


def banner(service: Service, url: str, memory: RequestMemory, exposed: str = "") -> str:
    """Return the lines that say what is served and how to try it, with the warning `exposed` if there is one."""
    lines = ["Ready"]
    for entry in service.models.entries:
        backend = entry.backend
        label = "model" if entry is service.default else "reranker" if entry.task == "rerank" else "and"
        facts = {label: entry.name}
        if backend is None:
            facts["state"] = "loaded when it is first asked"
        else:
            path, body = trial(entry.task)
            facts |= {**backend.facts(), "try": f"curl {url}{path} -d '{json.dumps(body)}'"}
        lines += [f"  {label:<10}  {value}" for label, value in facts.items()]
    if url.startswith("http"):
        lines.append(f"  {'browser':<10}  {url}/docs")
    lines.append(f"  {'requests':<10}  in work hold at most {mebibytes(memory.limit_bytes)} together")
    if exposed:
        lines.append(f"  {'warning':<10}  {exposed}")
    return "\n".join(lines)
