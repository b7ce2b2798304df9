"""`farthing index info`, `delete` and `compact`: no model is needed for these."""

from __future__ import annotations

import json

import click

from farthing.cli.bulk.progress import counted


@click.command("info", epilog="Example: farthing index info ./help")
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
        "space": f"{space.id}: {space.dimensions} dimensions, {space.pooling} pooling",
        "passages of": f"at most {manifest.splitting.max_tokens} tokens, {manifest.splitting.overlap_tokens} shared",
    }
    for name, value in rows.items():
        click.echo(f"{name:<16} {value}")


@click.command("delete", epilog="Example: farthing index delete ./help docs/old.md")
@click.argument("store")
@click.argument("documents", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="The index itself, with all that is in it.")
@click.option("--yes", is_flag=True, help="Do not ask whether --all is meant.")
def delete(store: str, documents: tuple[str, ...], is_all: bool, yes: bool) -> None:
    """Take DOCUMENTS out of the index STORE, by their ids, or remove the whole index."""
    from farthing.toolkit.index.index import VectorIndex
    from farthing.toolkit.stores.database import open_database

    if bool(documents) == is_all:
        raise click.UsageError("Give the ids of documents, or --all to remove the index itself.")
    database = open_database(store)
    index = VectorIndex.open(database)
    if is_all:
        num_documents = index.info().facts.num_documents
        if not yes:
            click.confirm(f"Remove the index {store} with {counted(num_documents, 'document')}?", abort=True)
        index.remove()
        click.echo(f"Removed {store}.")
        return
    num_deleted = index.delete(documents)
    click.echo(f"Took out {counted(num_deleted, 'document')}.")
    if num_deleted < len(set(documents)):
        click.echo(f"Not in the index: {len(set(documents)) - num_deleted:,} of the ids.", err=True)


@click.command("compact", epilog="Example: farthing index compact ./help")
@click.argument("store")
def compact(store: str) -> None:
    """Make searches in STORE fast and give back the room of what was replaced. `add` does so when it pays."""
    from farthing.toolkit.index.index import VectorIndex
    from farthing.toolkit.stores.database import open_database

    index = VectorIndex.open(open_database(store))
    before = index.info().facts
    index.compact()
    after = index.info().facts
    click.echo(f"On disk before: {on_disk(before.num_bytes)}; now: {on_disk(after.num_bytes)}.")


def on_disk(num_bytes: int | None) -> str:
    return "not known here" if num_bytes is None else f"{num_bytes / 2**20:,.1f} MiB"
