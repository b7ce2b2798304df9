"""`farthing index`: the group of its commands, each imported only when it is called for."""

from __future__ import annotations

import click

from farthing.cli.common.commands import HELP_NAMES, LazyCommand, LazyGroup

COMMANDS = {
    "create": LazyCommand(
        "farthing.cli.index.create:create", "Make an empty index in STORE, for vectors of one model."
    ),
    "add": LazyCommand("farthing.cli.index.add:add", "Add the documents of FILES to the index STORE."),
    "list": LazyCommand(
        "farthing.cli.index.upkeep:list_indexes", "Say which indexes are in a folder, and what is in them."
    ),
    "info": LazyCommand("farthing.cli.index.upkeep:info", "Say what is in the index STORE."),
    "delete": LazyCommand(
        "farthing.cli.index.upkeep:delete", "Take documents out of STORE, or remove the whole index."
    ),
    "compact": LazyCommand("farthing.cli.index.upkeep:compact", "Make searches fast, and give back room."),
    "reindex": LazyCommand("farthing.cli.index.reindex:reindex", "Embed all passages of STORE with another model."),
}


class IndexGroup(LazyGroup):
    entries = COMMANDS


@click.group("index", cls=IndexGroup, context_settings=HELP_NAMES, epilog="farthing index add --help")
def index() -> None:
    """Make an index of documents, add to it, look after it. `farthing search` finds what is in it."""
