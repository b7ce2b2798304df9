"""`farthing dedup`: what in a file of texts repeats something else, and the file without it.

In: a file of texts, and a model or their vectors. Out: a report on standard output; where it is asked for, files of the
records that are kept and of those that are dropped. What is a duplicate is decided in `farthing.toolkit.dedup`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from farthing.cli.bulk.files import write_atomically
from farthing.cli.data_options import (
    ENCODER_GROUPS,
    FIELD,
    INPUT_FORMAT,
    MODEL,
    PROGRESS,
    VECTORS,
    opened_encoder,
    progress_shown,
)
from farthing.cli.options import SettingsCommand, settings_options
from farthing.core.errors import SettingsError
from farthing.core.resolve import Resolved
from farthing.toolkit.records.fields import require_field
from farthing.toolkit.records.reader import format_of

if TYPE_CHECKING:
    import numpy as np

    from farthing.toolkit.dedup.find import Duplicates
    from farthing.toolkit.dedup.report import Report
    from farthing.toolkit.text_set import TextSet

FILE = click.Path(path_type=Path)


@click.command(
    "dedup",
    cls=SettingsCommand,
    epilog="Example: farthing dedup questions.jsonl --model starter -o kept.jsonl --dropped dropped.jsonl",
)
@click.argument("data")
@MODEL
@VECTORS
@click.option("--exact-only", is_flag=True, help="Drop only what is the same text; needs neither model nor vectors.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 2, max_open=True),
    help="Greatest distance of near duplicates: L2, of unit vectors [default: 0.35].",
)
@click.option(
    "--cosine", type=click.FloatRange(-1, 1, min_open=True), help="The same as a least cosine, instead of --threshold."
)
@click.option(
    "--keep",
    type=click.Choice(("first", "longest", "newest")),
    help="Which record of a group is kept [default: first].",
)
@click.option("--time-field", help="Field with the time, for --keep newest: a number or an ISO 8601 date.")
@click.option("--against", type=FILE, help="Drop what this file has already, instead of what repeats within DATA.")
@click.option("--against-vectors", type=FILE, help="Vectors of the file of --against, where --vectors are given.")
@click.option("-o", "--output", type=FILE, help="File to write the kept records to, in the format of DATA.")
@click.option("--dropped", type=FILE, help="File to write the dropped records to, with what each repeats.")
@click.option("--report", type=FILE, help="File to write the report to, as JSON.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@FIELD
@INPUT_FORMAT
@PROGRESS
@settings_options(*ENCODER_GROUPS)
def dedup(
    data: str,
    field: str | None,
    input_format: str | None,
    against: Path | None,
    output: Path | None,
    dropped: Path | None,
    report: Path | None,
    overwrite: bool,
    progress: bool | None,
    settings: Resolved,
    **search: Any,
) -> None:
    """Find the texts of DATA that repeat others, and write the rest.

    DATA is a .txt file (a text a line), .jsonl, .csv, .parquet, or - for standard input. First come texts that are the
    same but for case, white space and Unicode form; then those whose vectors are near. Every dropped text is within the
    threshold of the kept one that it names. Without -o, --dropped and --report nothing is written: the distances on
    standard output help to choose a threshold.
    """
    from farthing.toolkit.text_set import read_text_set

    check_options(against=against, **search)
    data_format = format_of(data, input_format)
    check_output(output, data_format, overwrite)
    check_output(dropped, "jsonl" if data_format == "txt" else data_format, overwrite)
    check_output(report, "json", overwrite)
    texts = read_text_set(data, input_format, field)
    others = texts if against is None else read_text_set(str(against), None, field)
    found = find(texts, others, settings, show_progress=progress_shown(progress), **search)
    made = report_of(found, texts, others)
    show(made)
    save(found, texts, others, data_format, output=output, dropped=dropped)
    if report is not None:
        content = json.dumps({"source": texts.source, "nearest_in": others.source} | asdict(made), ensure_ascii=False)
        written(report, lambda path: path.write_text(content + "\n", encoding="utf-8"), "the report")


def check_options(
    *,
    model: str | None,
    vectors: Path | None,
    exact_only: bool,
    threshold: float | None,
    cosine: float | None,
    keep: str | None,
    time_field: str | None,
    against: Path | None,
    against_vectors: Path | None,
) -> None:
    """Raise `click.UsageError` for options that contradict each other."""
    if [model is not None, vectors is not None, exact_only].count(True) != 1:
        raise click.UsageError("Give one of --model, to make the vectors, --vectors, a .npy file, and --exact-only.")
    if threshold is not None and cosine is not None:
        raise click.UsageError("--threshold and --cosine say the same thing; give one of them.")
    if (keep == "newest") != (time_field is not None):
        raise click.UsageError("--keep newest and --time-field belong together.")
    if against is not None and keep is not None:
        raise click.UsageError(
            "--keep chooses among the records of one file; with --against those of DATA are dropped."
        )
    if (against_vectors is not None) != (against is not None and vectors is not None):
        raise click.UsageError("--against-vectors is needed with both --against and --vectors, and only then.")


def check_output(path: Path | None, wanted: str, overwrite: bool) -> None:
    """Raise `SettingsError` when `path` cannot be what is to be written."""
    if path is None:
        return
    if path.suffix.lower() != f".{wanted}":
        raise SettingsError(f"{path} will be written as {wanted}: name it {path.stem}.{wanted}.", param="output")
    if path.exists() and not overwrite:
        raise SettingsError(
            f"{path} exists already. Choose another file, or give --overwrite to replace it.", param="output"
        )
    if not path.absolute().parent.is_dir():
        raise SettingsError(f"The folder of {path} does not exist. Make it, or choose another.", param="output")


def find(
    texts: TextSet,
    others: TextSet,
    settings: Resolved,
    *,
    model: str | None,
    vectors: Path | None,
    against_vectors: Path | None,
    show_progress: bool,
    **rule: Any,
) -> Duplicates:
    """Raises what reading or making vectors raises."""
    from farthing.toolkit.text_set import embed_text_set, read_vectors

    compare = comparison(texts, others, show_progress=show_progress, **rule)
    if vectors is not None:
        return compare(read_vectors(vectors, texts), read_vectors(against_vectors, others) if against_vectors else None)
    if model is None:
        return compare(None, None)
    with opened_encoder(model, settings) as encoder:
        embed = partial(embed_text_set, encoder, show_progress=show_progress)
        return compare(lambda rows: embed(texts, indices=rows), lambda rows: embed(others, indices=rows))


def comparison(
    texts: TextSet,
    others: TextSet,
    *,
    threshold: float | None,
    cosine: float | None,
    keep: Any,
    time_field: str | None,
    show_progress: bool,
    **_: Any,
) -> Callable[[Any, Any], Duplicates]:
    """What is asked for, as a function of the vectors of both sets."""
    from farthing.toolkit.dedup.find import DEFAULT_THRESHOLD, find_duplicates, find_repeats

    if cosine is not None:
        threshold = (2 - 2 * cosine) ** 0.5
    given = {"threshold": DEFAULT_THRESHOLD if threshold is None else threshold, "show_progress": show_progress}
    if others is not texts:
        return lambda made, other_made: find_repeats(texts.texts, made, others.texts, other_made, **given)
    times = None if time_field is None else times_of(texts, time_field)
    return lambda made, _: find_duplicates(texts.texts, made, keep=keep or "first", times=times, **given)


def times_of(texts: TextSet, field: str) -> list[float]:
    """Raises `InputError` for a record without that field, or where it is no time."""
    from farthing.toolkit.dedup.order import read_times

    values = []
    for index, record in enumerate(map(json.loads, texts.json_objects())):
        require_field(record, field, texts.place(index))
        values.append(record[field])
    return read_times(values, field, texts.place)


def report_of(found: Duplicates, texts: TextSet, others: TextSet) -> Report:
    from farthing.toolkit.dedup.report import Side, make_report

    sides = (Side(data.texts.__getitem__, data.place) for data in (texts, others))
    return make_report(found, *sides)


def show(report: Report) -> None:
    from farthing.toolkit.dedup.draw import draw

    for line in draw(report, shutil.get_terminal_size().columns):
        click.echo(line)


def save(
    found: Duplicates, texts: TextSet, others: TextSet, data_format: str, *, output: Path | None, dropped: Path | None
) -> None:
    import numpy as np

    from farthing.toolkit.dedup.write import reasons, write_records

    if output is not None:
        kept = np.flatnonzero(~found.dropped)
        write = partial(write_records, texts, kept, format=data_format)
        written(output, write, records(kept))
    if dropped is not None:
        gone = np.flatnonzero(found.dropped)
        added, dropped_format = reasons(found, gone, others), "jsonl" if data_format == "txt" else data_format
        written(dropped, partial(write_records, texts, gone, format=dropped_format, added=added), records(gone))


def records(indices: np.ndarray) -> str:
    return f"{len(indices):,} record{'' if len(indices) == 1 else 's'}"


def written(path: Path, write: Callable[[Path], object], what: str) -> None:
    write_atomically(path, write)
    click.echo(f"Wrote {path}: {what}.", err=True)
