"""`farthing embed`: makes the vectors of a whole file, in a job that can be stopped and resumed.

In: a file of texts and the settings. Out: a file of vectors. The job itself is in `farthing.toolkit.bulk`.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from farthing.cli.common.data_options import ENCODER_GROUPS, STRICT, opened_encoder
from farthing.cli.common.flags import in_flags
from farthing.cli.common.options import SettingsCommand, settings_options
from farthing.core.resolve import Resolved
from farthing.core.settings import ServingSettings
from farthing.toolkit.records.reader import INPUT_FORMATS

STANDARD_OUTPUT = "-"
EXAMPLES = """farthing embed starter texts.txt -o vectors.npy
farthing embed starter records.csv --field body -o vectors.parquet
echo "Hello" | farthing embed starter - -o -"""


@click.command("embed", cls=SettingsCommand, epilog=EXAMPLES)
@click.argument("model")
@click.argument("input", metavar="INPUT")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write: .npy (vectors only), .jsonl or .parquet (each record with its embedding); - prints .jsonl.",
)
@click.option("--field", help="Field that holds the text [default: text, or the only one].")
@click.option(
    "--input-format", type=click.Choice(INPUT_FORMATS), help="Format of INPUT [default: by its suffix; txt for -]."
)
@click.option("--prompt", help="Literal text put before every text.")
@click.option("--prompt-name", help="A prompt stored with the model, by its name.")
@click.option("--instruction", help="A task in words, put into the model's own template.")
@click.option(
    "--input-type", type=click.Choice(("query", "document")), help="What the texts are, for the model's prompts."
)
@click.option("--dimensions", type=click.IntRange(min=1), help="Length of the vectors [default: the model's].")
@click.option("--normalize/--no-normalize", default=True, help="Scale vectors to length 1 [default: on].")
@click.option("--chunk-rows", type=click.IntRange(min=1), help="Rows saved together [default: every few seconds].")
@click.option("--restart", is_flag=True, help="Discard what an earlier run has done.")
@click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
@STRICT
@click.option("--progress/--no-progress", default=None, help="Draw a progress bar [default: on a terminal].")
@settings_options(*ENCODER_GROUPS)
def embed(
    model: str,
    input: str,
    output: Path | None,
    field: str | None,
    input_format: str | None,
    chunk_rows: int | None,
    restart: bool,
    overwrite: bool,
    strict: bool,
    progress: bool | None,
    settings: Resolved,
    **request: Any,
) -> None:
    """Embed the texts of INPUT with MODEL and write the vectors to a file.

    INPUT is a .txt file (a text on each line), .jsonl, .csv, .tsv, .parquet, or - for standard input. When a job was
    stopped, the same command goes on where it stopped. Records that cannot be read or embedded are left out (in a .npy
    their rows are zero) and listed with the reasons in a file beside the output, OUTPUT.left-out.jsonl.
    """
    # Imported here, so that the help comes without loading torch.
    from farthing.cli.common.print_vectors import print_vectors
    from farthing.serving.request import EmbedRequest
    from farthing.toolkit.bulk.job import BulkJob, run_job
    from farthing.toolkit.records.fields import EMBEDDING_FIELD
    from farthing.toolkit.records.read_lines import Wanted
    from farthing.toolkit.records.reader import open_reader

    if output is None:
        raise click.UsageError("Say where the vectors go: -o FILE, or -o - to print them.")
    load = partial(opened_encoder, model, settings, progress=progress)
    if str(output) == STANDARD_OUTPUT:
        reader = open_reader(input, input_format, Wanted(field, EMBEDDING_FIELD))
        print_vectors(reader, EmbedRequest(inputs=(), **request), load, strict=strict)
        return
    job = BulkJob(
        input=input,
        input_format=input_format,
        field=field,
        output=output,
        request=EmbedRequest(inputs=(), **request),
        serving=settings.group(ServingSettings),
        chunk_rows=chunk_rows,
        restart=restart,
        overwrite=overwrite,
        strict=strict,
        show_progress=sys.stderr.isatty() if progress is None else progress,
        say=lambda sentence: click.echo(sentence, err=True),
        reword=in_flags,
    )
    run_job(job, load)
