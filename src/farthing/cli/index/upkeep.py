"""`farthing index list`, `info`, `delete` and `compact`: the commands that need no model."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from farthing.cli.common.commands import Command
from farthing.cli.index.left_out import listed
from farthing.core.errors import IndexNotFoundError, IndexPlaceError, VectorIndexError
from farthing.toolkit.bulk.progress import counted

if TYPE_CHECKING:
    from farthing.toolkit.stores.database import Database


@click.command("info", cls=Command, epilog="farthing index info ./help")
@click.argument("store")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(store: str, as_json: bool) -> None:
    """Say what is in the index STORE."""
    from farthing.toolkit.index.index import VectorIndex
    from farthing.toolkit.stores.database import open_database

    index = VectorIndex.open(open_database(store))
    manifest, facts = index.info()
    space = manifest.space
    if as_json:
        click.echo(json.dumps({**json.loads(manifest.to_json()), **facts._asdict(), "space_id": space.id}))
        return
    rows = {
        "documents": f"{facts.num_documents:,}",
        "passages": f"{facts.num_passages:,}",
        "not indexed yet": f"{facts.num_unindexed:,}",
        "on disk": on_disk(facts.num_bytes),
        "model": manifest.model,
        "format": {"": "of another server", "none": "not rounded"}.get(space.format, space.format),
        "space": f"{space.id}: {space.dimensions} dimensions, {space.pooling} pooling",
        "passages of": f"at most {manifest.splitting.max_tokens} tokens, {manifest.splitting.overlap_tokens} shared",
    }
    for name, value in rows.items():
        click.echo(f"{name:<16} {value}")


@click.command("list", cls=Command, epilog="farthing index list\nfarthing index list ~/indexes")
@click.argument("folder", default=".")
def list_indexes(folder: str) -> None:
    """Say which indexes are in FOLDER (by default the working folder), and what is in them."""
    from farthing.core.files import user_path
    from farthing.toolkit.index.index import VectorIndex
    from farthing.toolkit.stores.database import MANIFEST, open_database

    place = user_path(folder)
    if not place.is_dir():
        raise IndexNotFoundError(f"There is no folder {folder}.")
    # os.path, because Path's method raises for folders that may not be read.
    stores = [path for path in (place, *sorted(place.iterdir())) if os.path.isfile(path / f"{MANIFEST}.json")]  # noqa: PTH113
    for store in stores:
        try:
            manifest, facts = VectorIndex.open(open_database(str(store))).info()
        except (VectorIndexError, IndexPlaceError) as error:
            click.echo(f"{store}: {error}", err=True)
            continue
        contents = f"{counted(facts.num_documents, 'document')}, {counted(facts.num_passages, 'passage')}"
        click.echo(f"{store}: {contents}, {on_disk(facts.num_bytes)}, vectors of {manifest.model}")
    if not stores:
        click.echo(f"No index is in {folder}. Make one: farthing index create STORE --model MODEL")


@click.command("delete", cls=Command, epilog="farthing index delete ./help docs/old.md")
@click.argument("store")
@click.argument("documents", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="The index itself, with all that is in it.")
@click.option("--yes", is_flag=True, help="Do not ask whether --all is meant.")
def delete(store: str, documents: tuple[str, ...], is_all: bool, yes: bool) -> None:
    """Take DOCUMENTS out of the index STORE, by their ids, or remove the whole index.

    Removing the index removes what Farthing made; other files in its folder stay.
    """
    from farthing.toolkit.index.index import VectorIndex
    from farthing.toolkit.stores.database import open_database

    if bool(documents) == is_all:
        raise click.UsageError("Give the ids of documents, or --all to remove the index itself.")
    database = open_database(store)
    if is_all:
        remove(database, store, is_sure=yes)
        return
    index = VectorIndex.open(database)
    held = index.store.digests(documents)
    click.echo(f"Took out {counted(index.delete(documents), 'document')}.")
    missing = [name for name in dict.fromkeys(documents) if name not in held]
    if missing:
        click.echo(f"Not in the index: {listed(missing)}.", err=True)


def remove(database: Database, store: str, *, is_sure: bool) -> None:
    from farthing.toolkit.index.index import remove_index

    what = description(database)
    if not is_sure:
        click.confirm(f"Remove the index {store} {what}?", abort=True)
    kept = remove_index(database)
    if kept:
        click.echo(f"Removed the index in {store}, but not what else is there: {listed(kept)}.")
    else:
        click.echo(f"Removed {store}.")


def description(database: Database) -> str:
    """Say what is in the index, for the question before it is removed. One that cannot be read can be removed too."""
    from farthing.toolkit.index.index import VectorIndex

    try:
        return f"with {counted(VectorIndex.open(database).info().facts.num_documents, 'document')}"
    except IndexNotFoundError:
        raise
    except VectorIndexError as error:
        click.echo(str(error), err=True)
        return "with all that is in it"


@click.command("compact", cls=Command, epilog="farthing index compact ./help")
@click.argument("store")
def compact(store: str) -> None:
    """Make searches in STORE fast, and free the room of what was replaced. `add` does this by itself when it pays."""
    from farthing.toolkit.index.index import VectorIndex
    from farthing.toolkit.stores.database import open_database

    index = VectorIndex.open(open_database(store))
    before = index.info().facts
    index.compact()
    after = index.info().facts
    click.echo(f"On disk before: {on_disk(before.num_bytes)}; now: {on_disk(after.num_bytes)}.")
    minutes = index.store.keeps_replaced_s / 60
    if minutes and (after.num_bytes or 0) > (before.num_bytes or 0):
        click.echo(
            f"What was replaced in the last {minutes:g} minutes is still there, for searches that read it. To give "
            "back its room too, compact again after that."
        )


def on_disk(num_bytes: int | None) -> str:
    return "not known here" if num_bytes is None else f"{num_bytes / 2**20:,.1f} MiB"
