"""`farthing index`: the group of its commands."""

from __future__ import annotations

import click

from farthing.cli.index.add import add
from farthing.cli.index.create import create
from farthing.cli.index.reindex import reindex
from farthing.cli.index.upkeep import compact, delete, info


@click.group("index", context_settings={"help_option_names": ["-h", "--help"]})
def index() -> None:
    """Make an index of documents, add to it, look after it. `farthing search` finds what is in it."""


for command in (create, add, info, delete, compact, reindex):
    index.add_command(command)
