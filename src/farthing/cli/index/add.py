"""`farthing index add`: adds the documents of files and folders to an index."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from farthing.cli.common.data_options import (
    ADD_BYTES,
    ENCODER_GROUPS,
    PROGRESS,
    STRICT,
    index_encoder,
    progress_shown,
)
from farthing.cli.common.options import SettingsCommand, settings_options
from farthing.cli.index.left_out import not_taken
from farthing.cli.index.vocabulary import not_known
from farthing.core.errors import InputError
from farthing.core.progress import progress_bar
from farthing.core.resolve import Resolved
from farthing.toolkit.bulk.progress import counted
from farthing.toolkit.records.reader import INPUT_FORMATS, STANDARD_INPUT

if TYPE_CHECKING:
    from farthing.toolkit.index.adding import Added


@click.command("add", cls=SettingsCommand, epilog="Example: farthing index add ./help articles.jsonl docs/ README.md")
@click.argument("store")
@click.argument("files", nargs=-1, required=True)
@click.option("--model", help="Another name of the index's model, such as a local folder [default: as it was created].")
@click.option("--field", help="Field of a record that holds the text [default: text, or the only one].")
@click.option("--id-field", help="Field of a record that names it [default: id or _id; else its content].")
@click.option("--title-field", help="Field of a record that holds its title [default: title].")
@click.option(
    "--input-format", type=click.Choice(INPUT_FORMATS), help="Format of FILES [default: by suffix; jsonl for -]."
)
@click.option("--exclude", multiple=True, help="Pattern, as in a .gitignore, of what to leave out; may be repeated.")
@STRICT
@click.option(
    "--prune", is_flag=True, help="Take out documents of the folders among FILES whose file is gone or empty."
)
@PROGRESS
@settings_options(*ENCODER_GROUPS)
def add(
    store: str,
    files: tuple[str, ...],
    model: str | None,
    field: str | None,
    id_field: str | None,
    title_field: str | None,
    input_format: str | None,
    exclude: tuple[str, ...],
    strict: bool,
    prune: bool,
    progress: bool | None,
    settings: Resolved,
) -> None:
    """Add the documents of FILES to the index STORE.

    FILES are records (.jsonl, .csv, .tsv, .parquet: a document each), Markdown, text, source code, folders of these, or
    - for standard input. Long documents are split where their structure allows. A document is known by its id: one that
    has not changed since it was added costs nothing, and one that has changed replaces the old one. When a command was
    stopped, the same command goes on where it stopped. What cannot be read is left out and reported at the end.
    """
    from farthing.toolkit.documents.inputs import Inputs
    from farthing.toolkit.documents.reading.records import RecordFields
    from farthing.toolkit.index.index import VectorIndex
    from farthing.toolkit.stores.database import open_database

    index = VectorIndex.open(open_database(store))
    inputs = Inputs(files, RecordFields(field, id_field, title_field), input_format, exclude)
    inputs.left_out.records.strict = strict
    with index.database.writing():
        pass  # raises before a model is loaded if another process changes the index or its files cannot be written
    with format_hinted(files, input_format):
        inputs.check()
    started = time.monotonic()
    bar = progress_bar(shown=progress_shown(progress), desc="Adding", unit=" documents", dynamic_ncols=True)

    def on_batch(added: Added) -> None:
        bar.total = inputs.num_estimated
        num_passages = added.num_passages + added.num_begun
        bar.set_postfix_str(f"{num_passages:,} passages", refresh=False)
        bar.update(added.num_documents - bar.n)
        bar.refresh()

    with (
        index_encoder(index.manifest, model, settings, ADD_BYTES) as encoder,
        bar,
        format_hinted(files, input_format),
    ):
        added = index.add(inputs, encoder, on_batch, skipped=inputs.left_out.records)
    num_gone = index.prune(inputs.folders, added.ids, inputs.left_out.files) if prune else 0
    click.echo(summary(added, num_gone, time.monotonic() - started))
    for line in [*not_taken(inputs.left_out), *plainly_split(added), *not_known(added.unknown)]:
        click.echo(line, err=True)


@contextmanager
def format_hinted(files: Sequence[str], input_format: str | None) -> Iterator[None]:
    """Add a hint to errors of standard input that is read as JSON Lines: it could be read as another format."""
    try:
        yield
    except InputError as error:
        if STANDARD_INPUT not in files or input_format is not None:
            raise
        hint = f"{str(error).rstrip('.')}. Standard input is read as JSON Lines; --input-format csv reads CSV."
        raise InputError(hint, param=error.param) from error


def summary(added: Added, num_gone: int, seconds: float) -> str:
    parts = [f"Added {counted(added.num_new, 'document')}"]
    if added.num_changed:
        parts.append(f"replaced {added.num_changed:,}")
    if added.num_unchanged:
        parts.append(f"left {added.num_unchanged:,} as they were")
    if num_gone:
        parts.append(f"took out {num_gone:,}")
    return f"{', '.join(parts)}: {counted(added.num_passages, 'passage')} embedded, {seconds:,.1f} s."


def plainly_split(added: Added) -> list[str]:
    """Say which documents were split without regard to their structure; return no lines where there are none."""
    if not added.num_plain:
        return []
    more = ["…"] if added.num_plain > len(added.plain) else []
    return [
        f"Split without regard to their structure: {counted(added.num_plain, 'document')} "
        f"({'; '.join([*added.plain, *more])})."
    ]
