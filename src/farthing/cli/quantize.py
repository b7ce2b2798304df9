"""`farthing quantize`: writes a folder of quantised weights, and measures how close they come to the exact ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from farthing.cli.common.options import SettingsCommand, settings_options
from farthing.core.progress import SHOWN_AFTER_S, progress_bar
from farthing.core.resolve import Resolved
from farthing.core.settings import QUANTISED_FORMATS, SourceSettings
from farthing.toolkit.records.read_lines import Wanted
from farthing.toolkit.records.reader import open_reader
from farthing.toolkit.records.rows import readable

NUM_CALIBRATION_TEXTS = 4096


@click.command(
    "quantize",
    cls=SettingsCommand,
    epilog="farthing quantize Qwen/Qwen3-Embedding-0.6B ./qwen3-int8\nfarthing serve ./qwen3-int8",
)
@click.argument("model")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format",
    metavar=f"[{'|'.join(QUANTISED_FORMATS)}]",
    default=QUANTISED_FORMATS[0],
    show_default=True,
    help="Weight format.",
)
@click.option(
    "--measure/--no-measure",
    default=True,
    help="Embed a sample with the exact model too, and note how close the vectors are [default: on].",
)
@click.option(
    "--calibrate/--no-calibrate",
    default=None,
    help="Round by the inputs that matrices get from texts (nf4) [default: where it takes minutes at most].",
)
@click.option(
    "--calibration",
    metavar="FILE",
    help="Texts to calibrate with, as embed reads them (.txt, .jsonl, .csv, ...) [default: built-in ones].",
)
@click.option(
    "--task",
    type=click.Choice(("embed", "rerank")),
    help="What OUT is for; a Qwen3-Reranker needs rerank here [default: what the architecture says].",
)
@settings_options(SourceSettings)
def quantize(
    model: str,
    out: Path,
    format: str,
    measure: bool,
    calibrate: bool | None,
    calibration: str | None,
    task: Literal["embed", "rerank"] | None,
    settings: Resolved,
) -> None:
    """Write MODEL's weights, quantised, to the new folder OUT.

    OUT can be given wherever a model is asked for, and loads in the time it takes to map its file. MODEL is an id on
    the Hugging Face hub, modelscope:ID, starter, a local folder or a GGUF file.
    """
    from farthing.quant.formats import FORMATS

    quantised = [name for name, form in FORMATS.items() if form.quantises]
    if format not in quantised:
        raise click.BadParameter(f"{format!r} is not one of {', '.join(quantised)}.", param_hint="--format")

    from farthing.serving.quantising.calibration import CalibrationTexts
    from farthing.serving.quantising.closeness import in_words
    from farthing.serving.quantising.quantise import quantise_model

    texts = None if calibration is None else CalibrationTexts(Path(calibration).name, first_texts(calibration))
    with (
        progress_bar(shown=sys.stderr.isatty(), unit="B", unit_scale=True, desc=model) as bar,
        progress_bar(
            shown=sys.stderr.isatty(), unit=" texts", desc="Measuring how close", delay=SHOWN_AFTER_S
        ) as measured,
    ):

        def on_texts(num_done: int, num_texts: int) -> None:
            measured.total = num_texts
            measured.update(num_done - measured.n)

        manifest = quantise_model(
            model,
            out,
            settings.group(SourceSettings),
            format=format,
            measure=measure,
            task=task,
            calibrate=calibrate,
            calibration=texts,
            on_tensor=lambda spec: bar.update(spec.num_bytes),
            on_texts=on_texts,
        )
    sizes = [file.stat().st_size for file in out.rglob("*") if file.is_file()]
    click.echo(f"path       {out}")
    click.echo(f"size       {sum(sizes) / 2**20:.1f} MiB in {len(sizes)} files")
    if manifest.calibration is not None:
        click.echo("calibrated {texts}, {num_texts} texts, {num_tokens:,} tokens".format(**manifest.calibration))
    click.echo(f"closeness  {in_words(manifest.closeness)}")


def first_texts(file: str) -> list[str]:
    """Return the first texts of the file, more than calibration takes. Raises `InputError` when it cannot be read."""
    reader = open_reader(file, None, Wanted(None, None))
    try:
        rows = reader.take(NUM_CALIBRATION_TEXTS)
    finally:
        reader.close()
    return [] if rows is None else [rows.texts[index] for index in readable(rows)]
