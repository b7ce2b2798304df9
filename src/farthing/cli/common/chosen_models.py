"""Which models a command line asks for: the model it names and those that go with it, or the config file's models."""

from __future__ import annotations

from dataclasses import replace

import click

from farthing.core.errors import SettingsError
from farthing.core.files import user_path
from farthing.core.models_file import ANY_MODEL, ModelConfig, ModelsFile, read_models
from farthing.core.resolve import Resolved
from farthing.core.settings import EngineSettings, ModelSettings, ServerSettings, ServingSettings


def chosen_models(argument: str | None, option: str | None, settings: Resolved) -> ModelsFile:
    """Return the models of the command line or of the config file.

    Raises `click.UsageError` when no model or two different ones are given, and `SettingsError` when both the command
    line and the config file name models, or the config file is wrong.
    """
    if argument and option and argument != option:
        raise click.UsageError(f"Two models were given, {argument!r} and --model-path {option!r}; give one.")
    name = argument or option
    if "models" not in settings.tables:
        if "routes" in settings.tables:
            raise SettingsError("The config file has [routes], and no [models.NAME] that they could lead to.")
        if not name:
            raise click.UsageError("No model was given. Try: farthing serve starter")
        return of_flags(name, settings)
    server, serving = settings.group(ServerSettings), settings.group(ServingSettings)
    if name or server.reranker or serving.fallback_model:
        given = name or server.reranker or serving.fallback_model
        raise SettingsError(f"The config file lists models, and {given!r} was given too; give one or the other.")
    return read_models(settings)


def of_flags(model: str, settings: Resolved) -> ModelsFile:
    """Return the model, with a reranker and a small model for requests that take any model, if these are set."""
    server, small = settings.group(ServerSettings), settings.group(ServingSettings).fallback_model
    models = [config(model, server.served_model_name, server.task, settings)]
    if server.reranker is not None:
        models.append(config(server.reranker, server.served_reranker_name, "rerank", settings))
    if small is None:
        return ModelsFile(tuple(models), {})
    # The settings of how to hold the main model were not meant for the small one.
    engine = replace(
        settings.group(EngineSettings), format="auto", residency="auto", context_length=None, max_batch_tokens=None
    )
    own = replace(settings, groups={**settings.groups, EngineSettings: engine})
    models.append(config(small, None, "embed", own))
    return ModelsFile(tuple(models), {ANY_MODEL: (models[0].name, models[-1].name)})


def config(model: str, served_name: str | None, task: str, settings: Resolved) -> ModelConfig:
    names = (served_name,) if served_name else (display_name(model), model)
    aliases = tuple(name for name in names[1:] if name != names[0])
    return ModelConfig(names[0], ModelSettings(model=model, aliases=aliases, model_task=task, preload=True), settings)


def display_name(model: str) -> str:
    """Return the model's name as it was given; for a local folder only its last part, which tells clients enough."""
    folder = user_path(model)
    return folder.resolve().name if folder.is_dir() else model
