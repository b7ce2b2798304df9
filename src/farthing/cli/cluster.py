"""`farthing cluster`: finds clusters in a file of texts, names them, and writes them as a map and as tables.

In: a file of texts as `farthing embed` reads it, and a model or the vectors that it made. Out: a folder of files, and
the largest clusters on standard output. The work is done in `farthing.toolkit.cluster`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
    vectors_of,
)
from farthing.cli.common.options import SettingsCommand, settings_options
from farthing.core.errors import DoesNotFitError
from farthing.core.resolve import Resolved
from farthing.core.settings import EngineSettings
from farthing.core.sizes import mebibytes, parse_bytes
from farthing.toolkit.records.skipped import Skipped

if TYPE_CHECKING:
    from farthing.toolkit.cluster.clustering import Clustering

NUM_SHOWN = 20


@click.command(
    "cluster",
    cls=SettingsCommand,
    epilog="Example: farthing cluster questions.jsonl --model starter -o questions-clusters",
)
@click.argument("input", metavar="DATA")
@MODEL
@VECTORS
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder to write to [default: the name of DATA with -clusters, in the working directory].",
)
@click.option(
    "--tables",
    "formats",
    multiple=True,
    type=click.Choice(("jsonl", "parquet")),
    help="Format of records and clusters; may be repeated [default: both].",
)
@click.option(
    "--min-cluster-size", type=click.IntRange(min=2), default=5, help="Fewer texts are no cluster [default: 5]."
)
@click.option(
    "--min-samples",
    type=click.IntRange(min=1),
    default=1,
    help="Neighbours that must be near for a text to be in a cluster; more make fewer, surer clusters and more noise "
    "[default: 1].",
)
@click.option(
    "--components",
    type=click.IntRange(min=2),
    default=128,
    help="Principal components of the vectors that are kept [default: 128].",
)
@click.option(
    "--layout",
    type=click.Choice(("auto", "umap", "pca")),
    default="auto",
    help="How the map is drawn; auto: UMAP up to 250,000 texts [default: auto].",
)
@click.option(
    "--across-scripts/--no-across-scripts",
    default=True,
    help="Let texts in different scripts meet: each script's vectors are centred by themselves [default: on].",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of whatever is random [default: 0].")
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier result.")
@FIELD
@INPUT_FORMAT
@STRICT
@PROGRESS
@settings_options(*ENCODER_GROUPS)
def cluster(
    input: str,
    model: str | None,
    vectors: Path | None,
    output: Path | None,
    formats: tuple[str, ...],
    min_cluster_size: int,
    min_samples: int,
    components: int,
    layout: str,
    across_scripts: bool,
    seed: int,
    overwrite: bool,
    field: str | None,
    input_format: str | None,
    strict: bool,
    progress: bool | None,
    settings: Resolved,
) -> None:
    """Find clusters in the texts of DATA, name them, and draw a map.

    DATA is a .txt file (a text on each line), .jsonl, .csv, .tsv, .parquet, or - for standard input. The output folder
    gets map.html, which a browser opens without a network, and tables of records and clusters. Records that cannot be
    read or embedded are left out and reported.
    """
    # Imported here, so that the help comes without loading numpy.
    import numpy as np

    from farthing.toolkit.cluster.clustering import cluster as find_clusters
    from farthing.toolkit.cluster.write import FORMATS, check_folder, check_records, write_result
    from farthing.toolkit.text_set import read_text_set

    folder = output or Path(("texts" if input == "-" else Path(input).stem) + "-clusters")
    check_folder(folder, overwrite=overwrite)
    shown = progress_shown(progress)
    skipped = Skipped(strict)
    data = read_text_set(input, input_format, field, skipped)
    check_records(data, formats or FORMATS)
    memory = settings.group(EngineSettings).memory
    layout = fitting_layout(layout, len(data), memory)
    # If --memory is a size, the model runs in its own process, which ends before the clusters are found.
    made = vectors_of(data, model, vectors, settings, show_progress=shown, is_apart=parse_bytes(memory) is not None)
    for error in made.errors.values():
        skipped.add(error)
    table = made.table
    if made.errors:
        data, table = data.without(made.errors), np.delete(table, list(made.errors), axis=0)
    found = find_clusters(
        table,
        data.texts,
        min_cluster_size=min_cluster_size,
        min_samples=min_samples,
        max_components=components,
        across_scripts=across_scripts,
        layout=layout,
        seed=seed,
        show_progress=shown,
    )
    written = write_result(folder, data, found, formats or FORMATS)
    report(found, min_cluster_size, min_samples)
    click.echo(f"Wrote {', '.join(path.name for path in written)} to {folder}.")
    say_left_out(skipped)


def fitting_layout(layout: str, num_texts: int, memory: str) -> str:
    """Return the layout to use. If `memory` is a size, "auto" becomes a layout that fits into it.

    Raises `DoesNotFitError`, before a model is loaded, where no layout fits.
    """
    from farthing.toolkit.cluster.map import choose_layout, process_bytes

    budget_bytes = parse_bytes(memory)
    if budget_bytes is None:  # auto or none
        return layout
    drawn = choose_layout(layout, num_texts)
    needed_bytes, least_bytes = process_bytes(num_texts, drawn), process_bytes(num_texts, "pca")
    if needed_bytes <= budget_bytes:
        return drawn
    if layout == "auto" and least_bytes <= budget_bytes:
        click.echo(
            f"The map shows principal components: UMAP would take the process to about {mebibytes(needed_bytes)}, and "
            f"--memory {memory} is {mebibytes(budget_bytes)}.",
            err=True,
        )
        return "pca"
    raise DoesNotFitError(
        f"Clustering {num_texts:,} texts takes a process of about {mebibytes(needed_bytes)}, and --memory {memory} is "
        f"{mebibytes(budget_bytes)}.",
        param="memory",
        short_bytes=needed_bytes - budget_bytes,
        least_bytes=needed_bytes,
        or_else=" or --layout pca" if drawn == "umap" and least_bytes <= budget_bytes else "",
    )


def report(found: Clustering, min_cluster_size: int, min_samples: int) -> None:
    """Print the largest clusters and the share of texts that are in none; without clusters, what may find some."""
    from farthing.toolkit.cluster.page import summary

    for entry in found.clusters[:NUM_SHOWN]:
        click.echo(f"{entry.number:>5}  {entry.size:>7,}  {entry.label}")
    if len(found.clusters) > NUM_SHOWN:
        click.echo(f"       and {len(found.clusters) - NUM_SHOWN:,} smaller clusters.")
    click.echo(summary(found))
    if not found.clusters:
        can_be_less = {"--min-cluster-size": min_cluster_size > 2, "--min-samples": min_samples > 1}
        remedies = " or ".join(option for option, can in can_be_less.items() if can)
        click.echo(f"No cluster was found{f': a smaller {remedies} may find some' if remedies else ''}.")
