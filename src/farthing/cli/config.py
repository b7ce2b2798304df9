"""`farthing config`: checks a config file before a server is started with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from farthing.cli.common.chosen_models import chosen_models
from farthing.cli.common.commands import Group
from farthing.core.models_file import ModelsFile
from farthing.core.resolve import Resolved, read_config_file, resolve
from farthing.core.settings import GROUPS, EngineSettings


@click.group("config", cls=Group, epilog="farthing config check farthing.toml")
def config() -> None:
    """Look at config files."""


@config.command("check", epilog="farthing config check farthing.toml")
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check FILE as `farthing serve --config FILE` would, and show what it says.

    This checks the names, types and limits of all settings and models; FARTHING_* variables override those in FILE.
    Nothing is looked for, downloaded or loaded: `farthing plan MODEL` shows whether a model fits.
    """
    settings = resolve(GROUPS, file=read_config_file(file), env=os.environ)
    if settings.tables:
        for line in model_lines(chosen_models(None, None, settings)):
            click.echo(line)
    for line in chosen_lines(settings):
        click.echo(line)
    click.echo(f"{file} is valid.")


def chosen_lines(settings: Resolved) -> Iterator[str]:
    """Return the lines of the settings that do not have their default."""
    return (line for line in settings.lines() if not line.endswith("(default)"))


def model_lines(found: ModelsFile) -> Iterator[str]:
    """Yield a line for each model, and one for each route."""
    for model in found.models:
        own = model.own
        facts = [f"from {model.source}", "loaded at the start" if own.preload else "loaded when it is first asked"]
        if own.keep_alive_s is not None:
            facts.append(f"unloaded after {own.keep_alive_s:g} s")
        if model.has_own_memory:
            facts.append(f"{model.settings.group(EngineSettings).memory} of memory")
        elif own.memory_share is not None:
            facts.append(f"{own.memory_share:.0%} of the memory")
        if own.aliases:
            facts.append(f"also called {', '.join(own.aliases)}")
        yield f"model {model.name}: {', '.join(facts)}"
    for name, models in found.routes.items():
        yield f"route {name}: {', then '.join(models)}"
