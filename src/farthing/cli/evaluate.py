"""`farthing eval`: measures how good a model is on labelled texts and what that costs, with several settings at once.

In: a model, a folder of labelled sets, and the settings to vary. Out: a table, a report, a picture. This module varies
the weight formats, opening one model after the other; everything else is in `farthing.toolkit.evaluate`.
"""

from __future__ import annotations

import gc
import json
import platform
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from farthing.cli.common.data_options import (
    ENCODER_GROUPS,
    PROGRESS,
    STRICT,
    opened_encoder,
    progress_shown,
    say_left_out,
)
from farthing.cli.common.options import SettingsCommand, settings_options
from farthing.cli.common.terminal import terminal_width
from farthing.core.errors import InputError, SettingsError
from farthing.core.resolve import Resolved
from farthing.core.settings import UpstreamSettings
from farthing.core.version import __version__
from farthing.toolkit.records.skipped import Skipped

if TYPE_CHECKING:
    from farthing.toolkit.encoder import Encoder
    from farthing.toolkit.evaluate.embed import Embedded
    from farthing.toolkit.evaluate.grid import Memory, Row
    from farthing.toolkit.evaluate.retrieval import Search
    from farthing.toolkit.evaluate.sets.find import LabelledSet

REPORTS = (".md", ".json")


class CommaList(click.ParamType[tuple[str, ...]]):
    """A list of values with commas between them."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        found = tuple(part.strip() for part in value.split(","))
        if not all(found):
            self.fail(f"{value!r} has an empty part; give values with commas between them.", param, ctx)
        return found


LIST = CommaList()


def whole(number: str) -> int:
    """Return the number as an int. Raises `click.UsageError` when it is not a whole number."""
    if not number.isdecimal():
        raise click.UsageError(f"--dimensions {number} is not a whole number.")
    return int(number)


def language_pairs(cross: tuple[str, ...] | None) -> list[tuple[str, str]]:
    """Return the pairs of languages. Raises `click.UsageError` for a value that is not two languages."""
    pairs = []
    for given in cross or ():
        first, _, second = given.partition("-")
        if not first or not second:
            raise click.UsageError(f"--cross {given} is not two languages such as en-zh.")
        pairs.append((first, second))
    return pairs


def searches_of(hybrid: tuple[str, ...] | None) -> list[Search]:
    """Return the ways to search. Raises `click.UsageError` for values other than a number from 0 to 1 or "ranks"."""
    from farthing.toolkit.evaluate.retrieval import Search
    from farthing.toolkit.index.hybrid import Blend

    if hybrid is None:
        return [Search()]
    found = []
    for given in hybrid:
        try:
            found.append(Search(Blend("ranks", 0.5) if given == "ranks" else Blend("sum", float(given))))
        except (ValueError, InputError) as error:
            raise click.UsageError(f"--hybrid {given} is neither a number from 0 to 1 nor ranks.") from error
    return found


def variants(model: str, formats: tuple[str, ...] | None, settings: Resolved) -> list[tuple[str, str, Resolved]]:
    """Return (name, model, settings) for each format.

    Raises `click.UsageError` where another server chooses the format, `SettingsError` for an unknown format.
    """
    if formats is None:
        return [("", model, settings)]
    upstream = settings.group(UpstreamSettings)
    if upstream.urls or upstream.engine != "farthing":
        raise click.UsageError("--formats was given for a model on another server, which chooses its format.")
    found = []
    for name in formats:
        folder = Path(name)
        if folder.is_dir():
            found.append((folder.name, name, settings))
        else:
            found.append((name, model, settings.with_values({"format": name}, "flag")))
    return found


@click.command(
    "eval",
    cls=SettingsCommand,
    epilog="Example: farthing eval starter ./scifact --formats fp32,int8 --dimensions 384,192 --hybrid 0,0.6,1",
)
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path), metavar="DATA_DIR")
@click.option("--sets", type=LIST, metavar="NAME,...", help="Of the folders in DATA_DIR, only these.")
@click.option(
    "--cross",
    type=LIST,
    metavar="EN-ZH,...",
    help="Of sets in several languages: queries of the first asked of the second's documents, or translations of the "
    "first to the second [default: each language by itself, all translations].",
)
@click.option("--max-queries", type=click.IntRange(min=1), help="Of each retrieval set, only its first queries.")
@click.option(
    "--formats",
    type=LIST,
    metavar="FORMAT,...",
    help="Weight formats to compare, or folders that `farthing quantize` made of MODEL [default: as --format].",
)
@click.option("--dimensions", type=LIST, metavar="N,...", help="Lengths to cut vectors to [default: the model's].")
@click.option(
    "--instruction",
    "instructions",
    multiple=True,
    help="A task in words, put before all texts but documents; several are compared, '' is none. [default: the "
    "model's own prompts]",
)
@click.option(
    "--hybrid",
    type=LIST,
    metavar="WEIGHT,...",
    help="Search by words too: weights of the vectors' part, from 0 (words alone) to 1 (vectors alone), or ranks.",
)
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="Keep vectors in DIR for the next run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the report too: .md or .json.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw quality against memory and speed: .svg or .png.")
@STRICT
@PROGRESS
@settings_options(*ENCODER_GROUPS)
def evaluate(
    model: str,
    data: Path,
    sets: tuple[str, ...] | None,
    cross: tuple[str, ...] | None,
    max_queries: int | None,
    formats: tuple[str, ...] | None,
    dimensions: tuple[str, ...] | None,
    instructions: tuple[str, ...],
    hybrid: tuple[str, ...] | None,
    keep: Path | None,
    as_json: bool,
    output: Path | None,
    plot: Path | None,
    strict: bool,
    progress: bool | None,
    settings: Resolved,
) -> None:
    """Measure how good MODEL's vectors are on labelled texts, and what that costs in memory and time.

    DATA_DIR is the folder of a labelled set, or holds several such folders. A set is one for retrieval (corpus.jsonl,
    queries.jsonl, qrels.tsv), pairs with a score (s1, s2, score), texts with labels (train.jsonl, test.jsonl), or
    translations (src, tgt). Several formats, dimensions, instructions and ways to search are compared in one table.
    """
    from farthing.toolkit.evaluate import plot as plots
    from farthing.toolkit.evaluate.grid import rows_of
    from farthing.toolkit.evaluate.report import EvaluationReport, set_lines
    from farthing.toolkit.evaluate.sets.find import find_sets
    from farthing.toolkit.evaluate.sets.records import Wanted

    # Mistakes in the command are reported before anything is computed.
    lengths, searches = [whole(number) for number in dimensions or ()], searches_of(hybrid)
    if output is not None and output.suffix.lower() not in REPORTS:
        raise SettingsError(f"A report is written to a file named .md or .json, not {output}.", param="output")
    if plot is not None:
        plots.check_suffix(plot)
    skipped = Skipped(strict)
    found = find_sets(data, sets or (), Wanted(language_pairs(cross), max_queries, skipped))
    for line in set_lines(found):
        click.echo(line, err=True)

    require(searches)
    asked = [text or None for text in instructions] or [None]
    wanted = AskedEvaluation(found, asked, lengths, keep, progress_shown(progress), skipped)
    rows: list[Row] = []
    for name, chosen, chosen_settings in variants(model, formats, settings):
        embedded, memory = embed_with(chosen, chosen_settings, wanted)
        rows += rows_of(embedded, lengths, searches, format=name, memory=memory, show_progress=wanted.show_progress)
    report = EvaluationReport(model, found, rows, about())
    rendered = json.dumps(report.as_object(), indent=2, ensure_ascii=False)
    click.echo(rendered if as_json else "\n".join(report.tables(terminal_width())), nl=as_json)
    if output is not None:
        output.write_text(f"{rendered}\n" if output.suffix.lower() == ".json" else report.as_markdown(), "utf-8")
    say_left_out(skipped)
    if plot is not None:
        plots.plot(rows, plot, Path(model).name)


def require(searches: Sequence[Search]) -> None:
    """Import the packages that the figures need.

    So a missing package is reported before anything is embedded, and no model is charged with their memory. Raises
    `MissingExtraError`.
    """
    from farthing.toolkit.optional import needed

    with needed("farthing eval", "eval"):
        for name in ("matplotlib", "pytrec_eval", "scipy.stats", "sklearn.linear_model"):
            import_module(name)
    if any(search.blend for search in searches):
        with needed("Searching by words", "search"):
            import_module("lancedb")


class AskedEvaluation(NamedTuple):
    """What every format is asked to embed, and how."""

    sets: Sequence[LabelledSet]
    instructions: Sequence[str | None]
    dimensions: Sequence[int]
    keep: Path | None
    show_progress: bool
    skipped: Skipped


def embed_with(model: str, settings: Resolved, asked: AskedEvaluation) -> tuple[list[Embedded], Memory | None]:
    """Open a model, make the vectors, and measure its memory. The model is closed before the vectors are scored.

    Raises `DimensionsError`, and the errors of opening the model and of embedding.
    """
    from farthing.toolkit.evaluate.embed import embed_sets
    from farthing.toolkit.evaluate.grid import check_dimensions

    import_module("farthing.serving.embedder")  # so that the model is not charged with torch's memory
    before = resident_bytes()
    with opened_encoder(model, settings) as encoder:
        check_dimensions(encoder, asked.dimensions)
        embedded = embed_sets(
            encoder,
            asked.sets,
            asked.instructions,
            keep=asked.keep,
            show_progress=asked.show_progress,
            skipped=asked.skipped,
        )
        return embedded, memory_of(encoder, before, embedded)


# --- what is measured -------------------------------------------------------------------------------------------------


def memory_of(encoder: Encoder, before: int, embedded: list[Embedded]) -> Memory | None:
    """Return the model's memory, None for a model on another server.

    It is not measured on a card, nor where vectors of an earlier run were used.
    """
    from farthing.serving.embedder import Embedder
    from farthing.toolkit.evaluate.grid import Memory

    if not isinstance(encoder, Embedder):
        return None
    place, after = encoder.plan.main_place, resident_bytes()
    parts = {id(part): part.rows.nbytes for found in embedded for part in found.parts.values()}
    is_measured = place == "host" and after and not any(found.num_kept for found in embedded)
    return Memory(encoder.plan.ledger.total(place), after - before - sum(parts.values()) if is_measured else None)


def resident_bytes() -> int:
    """Return this process's resident memory once free memory was given back; 0 where the system does not say."""
    from farthing.engine.memory import trim_heap
    from farthing.engine.meter import process_bytes

    gc.collect()
    trim_heap()
    return process_bytes().get("VmRSS", 0)


def about() -> dict[str, str]:
    return {"farthing": __version__, "python": platform.python_version(), "machine": platform.platform()}
