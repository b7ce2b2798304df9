"""`farthing pull`: downloads a model's files before they are needed.

In: a model's name. Out: on standard output, where the files came from, where they are and how large they are.
"""

from __future__ import annotations

import click

from farthing.cli.common.options import SettingsCommand, settings_options
from farthing.core.resolve import Resolved
from farthing.core.settings import SourceSettings
from farthing.sources.find import find_model


@click.command("pull", cls=SettingsCommand, epilog="farthing pull Qwen/Qwen3-Embedding-0.6B")
@click.argument("name")
@settings_options(SourceSettings)
def pull(name: str, settings: Resolved) -> None:
    """Download the model NAME, unless it is here already.

    NAME is an id on the Hugging Face hub (Qwen/Qwen3-Embedding-0.6B), modelscope:ID, starter, or a local folder.
    """
    source = find_model(name, settings.group(SourceSettings))
    sizes = [file.stat().st_size for file in source.path.rglob("*") if file.is_file()]
    click.echo(f"origin  {source.origin}")
    click.echo(f"path    {source.path}")
    click.echo(f"size    {sum(sizes) / 2**20:.1f} MiB in {len(sizes)} files")
