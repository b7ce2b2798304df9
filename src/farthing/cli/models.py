"""`farthing models`: shows which models are on this machine and how large they are, and removes them."""

from __future__ import annotations

import json

import click

from farthing.cli.common.commands import HELP_NAMES, Group
from farthing.cli.common.options import SettingsCommand, settings_options
from farthing.core.errors import ModelNotFoundError
from farthing.core.resolve import Resolved
from farthing.core.settings import SourceSettings


@click.group(
    "models",
    cls=Group,
    context_settings=HELP_NAMES,
    invoke_without_command=True,
    epilog="farthing models\nfarthing models remove Qwen/Qwen3-Embedding-0.6B",
)
@click.pass_context
def models(ctx: click.Context) -> None:
    """Show which models are on this machine (`list`), or remove one.

    `farthing pull` downloads a model. The cache of the Hugging Face hub is shared with other tools.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_models)


@models.command("list", cls=SettingsCommand)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@settings_options(SourceSettings)
def list_models(as_json: bool, settings: Resolved) -> None:
    """Show which models are on this machine: name, size, origin and folder."""
    from farthing.sources.stored import stored_models

    found = stored_models(settings.group(SourceSettings))
    if as_json:
        for model in found:
            facts = {"name": model.name, "bytes": model.num_bytes, "origin": model.origin, "path": str(model.path)}
            click.echo(json.dumps(facts))
        return
    if not found:
        click.echo("No model is here yet. Download one: farthing pull starter")
    width = max((len(model.name) for model in found), default=0)
    for model in found:
        click.echo(f"{model.name:<{width}}  {size(model.num_bytes):>9}  {model.origin}")
        click.echo(f"{'':<{width}}  {'':>9}  {model.path}")


@models.command("remove", cls=SettingsCommand, epilog="farthing models remove Qwen/Qwen3-Embedding-0.6B")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@settings_options(SourceSettings)
def remove(name: str, yes: bool, settings: Resolved) -> None:
    """Remove the model NAME, as `farthing models` lists it, from this machine."""
    from farthing.sources.stored import stored_models

    found = stored_models(settings.group(SourceSettings))
    model = next((model for model in found if model.name == name), None)
    if model is None:
        here = f"Here are: {', '.join(each.name for each in found)}." if found else "There is none."
        raise ModelNotFoundError(f"There is no model {name!r} to remove. {here}", param="name")
    if not yes:
        click.confirm(f"Remove {name}, {size(model.num_bytes)}, from {model.path}?", abort=True)
    model.remove()
    click.echo(f"Removed {model.path}.")


def size(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:,.0f} MiB"
