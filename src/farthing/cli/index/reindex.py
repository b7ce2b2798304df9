"""`farthing index reindex`: gives the passages of an index the vectors of another model."""

from __future__ import annotations

import click

from farthing.cli.common.data_options import (
    ADD_BYTES,
    ENCODER_GROUPS,
    PROGRESS,
    index_encoder,
    opened_encoder,
    progress_shown,
)
from farthing.cli.common.options import SettingsCommand, settings_options
from farthing.cli.index.vocabulary import not_known
from farthing.core.progress import progress_bar
from farthing.core.resolve import Resolved
from farthing.toolkit.bulk.progress import counted


@click.command("reindex", cls=SettingsCommand, epilog="farthing index reindex ./help --model Qwen/Qwen3-Embedding-0.6B")
@click.argument("store")
@click.option("--model", help="Model to move to [default: the index's own, to bring it up to date].")
@click.option("--dimensions", type=click.IntRange(min=1), help="Length of the new vectors [default: the model's].")
@PROGRESS
@settings_options(*ENCODER_GROUPS)
def reindex(store: str, model: str | None, dimensions: int | None, progress: bool | None, settings: Resolved) -> None:
    """Embed all passages of the index STORE with another model.

    Until all passages are done, searches use the old vectors. When a command was stopped, the same command goes on
    where it stopped.
    """
    from farthing.toolkit.encoder import lasting_name
    from farthing.toolkit.index.index import VectorIndex, held_manifest
    from farthing.toolkit.index.reindex import reindex as move
    from farthing.toolkit.index.unknown_words import UnknownWords
    from farthing.toolkit.stores.database import open_database

    database = open_database(store)
    manifest = held_manifest(database)
    num_passages = VectorIndex(database, manifest).info().facts.num_passages
    if model is None:
        opened = index_encoder(manifest, None, settings, ADD_BYTES)
    else:
        opened = opened_encoder(lasting_name(model), settings, ADD_BYTES)
    with opened as encoder:
        shown, unknown = progress_shown(progress), UnknownWords.to(encoder)
        with progress_bar(num_passages, shown=shown, desc="Embedding", unit=" passages", dynamic_ncols=True) as bar:
            moved = move(
                database,
                encoder,
                dimensions=dimensions,
                on_batch=lambda done: bar.update(done - bar.n),
                unknown=unknown,
            )
    click.echo(
        f"{store} has vectors of {moved.manifest.model} now: {counted(num_passages, 'passage')}, "
        f"{moved.dimensions} dimensions."
    )
    for line in not_known(unknown):
        click.echo(line, err=True)
