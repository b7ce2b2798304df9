"""`farthing serve`: serves a model over HTTP until it is told to stop.

In: a model's name and settings. Out: on standard output, the address it listens on; on standard error, a line for each
request.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal

import click

from farthing.cli.common.chosen_models import chosen_models
from farthing.cli.common.options import SettingsCommand, settings_options
from farthing.core.errors import MissingExtraError
from farthing.core.resolve import Resolved
from farthing.core.settings import GROUPS, ServerSettings, TelemetrySettings

logger = logging.getLogger(__name__)

M_ARENA_MAX = -8  # glibc's malloc.h
MAX_ARENAS = 1


EXAMPLES = """farthing serve starter
farthing serve Qwen/Qwen3-Embedding-0.6B --format int8 --memory 2GB
farthing serve --config farthing.toml"""


@click.command("serve", cls=SettingsCommand, epilog=EXAMPLES)
@click.argument("model", required=False)
@click.option("--model-path", "--model", help="Another way to name the model.")
@click.option("--is-embedding", is_flag=True, help="Accepted for SGLang command lines; every model here is one.")
@settings_options(*GROUPS)
def serve(model: str | None, model_path: str | None, is_embedding: bool, settings: Resolved) -> int:  # noqa: ARG001
    """Serve MODEL with OpenAI's embeddings API, or a reranker with the APIs of Cohere, Jina and vLLM.

    MODEL is an id on the Hugging Face hub (Qwen/Qwen3-Embedding-0.6B), modelscope:ID, starter, a local folder or a GGUF
    file. Without MODEL, the models of the config file are served.
    """
    share_heap()
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2"):  # none of them may end the server before `run` handles them
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    models = chosen_models(model, model_path, settings)
    try:
        from farthing.server.observe.logs import configure_logging
        from farthing.server.run import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("farthing"):
            raise
        raise MissingExtraError(f"farthing serve ({error.name})", "server") from error
    configure_logging(settings.group(ServerSettings).log_level, settings.group(TelemetrySettings).log_format)
    log_settings(settings)
    return run(models, settings)


def share_heap() -> None:
    """Have all threads allocate from few heaps (glibc), unless the environment says how many. Call it before there are
    threads.

    By default glibc makes eight heaps for each processor, and each heap keeps the memory that large requests freed: a
    server under load held 600 MiB that nobody used. Sharing hardly makes threads wait for each other, since glibc gives
    each thread a cache for small blocks.
    """
    if "MALLOC_ARENA_MAX" in os.environ or "glibc.malloc.arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    try:
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    except (OSError, TypeError):  # a static build, or Windows
        return
    if mallopt is not None:
        mallopt(M_ARENA_MAX, MAX_ARENAS)


def log_settings(settings: Resolved) -> None:
    """Log every setting: those that someone chose as information, the defaults only for debugging."""
    for line in settings.lines():
        logger.log(logging.DEBUG if line.endswith("(default)") else logging.INFO, "%s", line)
