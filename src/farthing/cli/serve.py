"""`farthing serve`: serve a model over HTTP until told to stop.

In: a model's name and settings. Out: where it listens, on standard output; one line a request, on standard error.
"""

from __future__ import annotations

import logging

import click

from farthing.cli.chosen_models import chosen_models
from farthing.cli.options import SettingsCommand, settings_options
from farthing.core.errors import MissingExtraError
from farthing.core.resolve import Resolved
from farthing.core.settings import GROUPS, ServerSettings

logger = logging.getLogger(__name__)


@click.command("serve", cls=SettingsCommand)
@click.argument("model", required=False)
@click.option("--model-path", "--model", help="Another way to name the model.")
@click.option("--is-embedding", is_flag=True, help="Accepted for SGLang command lines; every model here is one.")
@settings_options(*GROUPS)
def serve(model: str | None, model_path: str | None, is_embedding: bool, settings: Resolved) -> int:  # noqa: ARG001
    """Serve MODEL with OpenAI's embeddings API, or a reranker with the APIs of Cohere, Jina, vLLM.

    MODEL is an id on the Hugging Face hub (Qwen/Qwen3-Embedding-0.6B), modelscope:ID, starter, a local folder or a GGUF
    file. Without it, the models of the config file are served.
    """
    models = chosen_models(model, model_path, settings)
    configure_logging(settings.group(ServerSettings).log_level)
    log_settings(settings)
    try:
        from farthing.server.run import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("farthing"):
            raise
        raise MissingExtraError(f"farthing serve ({error.name})", "server") from error
    return run(models, settings)


def configure_logging(level: str) -> None:
    """Our lines on standard error with the time; other libraries' only from warnings on."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("farthing").setLevel(level.upper())


def log_settings(settings: Resolved) -> None:
    """Every setting for debugging, those that someone chose in any case."""
    for line in settings.lines():
        logger.log(logging.DEBUG if line.endswith("(default)") else logging.INFO, "%s", line)
