"""The command `farthing dedup` and its options.

In: a file of texts, and a model or their vectors. Out: a report on standard output and, if asked for, files of the kept
and of the dropped records. `farthing.toolkit.dedup` decides which texts are duplicates.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

from farthing.cli.common.data_options import (
    ENCODER_GROUPS,
    FIELD,
    INPUT_FORMAT,
    MODEL,
    PROGRESS,
    STRICT,
    VECTORS,
    progress_shown,
    say_left_out,
)
from farthing.cli.common.options import SettingsCommand, settings_options
from farthing.cli.dedup.outputs import Outputs, as_object
from farthing.cli.dedup.search import DuplicateSearch, distance_of
from farthing.core.resolve import Resolved
from farthing.toolkit.dedup.order import KEEP, Keep
from farthing.toolkit.records.reader import format_of
from farthing.toolkit.records.skipped import Skipped

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
    "--cosine", type=click.FloatRange(-1, 1, min_open=True), help="Their least cosine, instead of --threshold."
)
@click.option("--keep", type=click.Choice(KEEP), help="Which record of a group is kept [default: first].")
@click.option("--time-field", help="Field with the time, for --keep newest: a number or an ISO 8601 date.")
@click.option("--against", type=FILE, help="Drop what this file has already, not what repeats within DATA.")
@click.option("--against-vectors", type=FILE, help="Vectors of the file of --against, where --vectors are given.")
@click.option("-o", "--output", type=FILE, help="File to write the kept records to, in the format of DATA.")
@click.option("--dropped", type=FILE, help="File to write the dropped records to, with what each repeats.")
@click.option("--report", type=FILE, help="File to write the report to, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@FIELD
@INPUT_FORMAT
@STRICT
@PROGRESS
@settings_options(*ENCODER_GROUPS)
def dedup(
    data: str,
    field: str | None,
    input_format: str | None,
    model: str | None,
    vectors: Path | None,
    exact_only: bool,
    threshold: float | None,
    cosine: float | None,
    keep: Keep | None,
    time_field: str | None,
    against: Path | None,
    against_vectors: Path | None,
    output: Path | None,
    dropped: Path | None,
    report: Path | None,
    as_json: bool,
    overwrite: bool,
    strict: bool,
    progress: bool | None,
    settings: Resolved,
) -> None:
    """Find the texts of DATA that repeat others, and write the rest.

    DATA is a .txt file (a text on each line), .jsonl, .csv, .tsv, .parquet, or - for standard input. First this finds
    texts that are the same except for case, white space and Unicode form, then texts whose vectors are near. Every
    dropped text is within the threshold of the kept text that it names. Records that cannot be read are left out and
    reported. Without -o, --dropped and --report no file is written: the distances on standard output help to choose a
    threshold.
    """
    # Imported here, so that the help comes without loading the modules that make the report.
    from farthing.toolkit.dedup.report import Side, draw, make_report
    from farthing.toolkit.text_set import read_text_set

    check(model, vectors, exact_only, keep, time_field, against, against_vectors)
    search = DuplicateSearch(
        model, vectors, against_vectors, distance_of(threshold, cosine), keep or "first", time_field
    )
    outputs = Outputs(format_of(data, input_format), kept=output, dropped=dropped, report=report)
    outputs.check(overwrite=overwrite)
    unread, unembedded, untimed = Skipped(strict), Skipped(strict), Skipped(strict)
    texts = read_text_set(data, input_format, field, unread)
    others = None if against is None else read_text_set(str(against), None, field_of(str(against), field), unread)
    found = search.run(texts, others, settings, untimed, show_progress=progress_shown(progress))
    for error in found.errors:
        unembedded.add(error)
    others = others or texts
    made = make_report(found, *(Side(part.texts.__getitem__, part.place) for part in (texts, others)))
    if as_json:
        click.echo(json.dumps(as_object(made, texts, others), ensure_ascii=False))
    else:
        for line in draw(made, shutil.get_terminal_size().columns):
            click.echo(line)
    outputs.save(found, texts, others, made)
    say_left_out(unread)
    say_left_out(unembedded, "Not embedded, and compared letter by letter")
    say_left_out(untimed, "Taken as the oldest")


def field_of(name: str, field: str | None) -> str | None:
    """Return the field to read in the second file: the field that was given, but None for plain text."""
    return None if format_of(name, None) == "txt" else field


def check(
    model: str | None,
    vectors: Path | None,
    exact_only: bool,
    keep: Keep | None,
    time_field: str | None,
    against: Path | None,
    against_vectors: Path | None,
) -> None:
    """Raise `click.UsageError` for options that contradict each other."""
    if [model is not None, vectors is not None, exact_only].count(True) != 1:
        raise click.UsageError("Give one of --model, to make the vectors, --vectors, a .npy file, and --exact-only.")
    if (keep == "newest") != (time_field is not None):
        raise click.UsageError("--keep newest and --time-field belong together.")
    if against is not None and keep is not None:
        raise click.UsageError(
            "--keep chooses among the records of one file; with --against it is always those of DATA that are dropped."
        )
    if (against_vectors is not None) != (against is not None and vectors is not None):
        raise click.UsageError("--against-vectors is needed with both --against and --vectors, and only then.")
